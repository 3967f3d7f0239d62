//! One trace from the publisher to the monitor, across processes, in a receiver of the test's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use windlass_testkit::{Fleet, PATIENCE};

use crate::support::hex;

/// An OTLP receiver. Spans come with the name of the service that made them.
struct Receiver {
    url: String,
    spans: watch::Receiver<Vec<(String, Span)>>,
}

// === impl Receiver ===

impl Receiver {
    async fn start() -> Result<Self> {
        let (received, spans) = watch::channel(Vec::new());
        let received = Arc::new(received);
        let routes = Router::new().route(
            "/v1/traces",
            post(move |body: Bytes| {
                let received = Arc::clone(&received);
                async move {
                    if let Ok(request) = ExportTraceServiceRequest::decode(body) {
                        received.send_modify(|all| all.extend(read(request)));
                    }
                }
            }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { url, spans })
    }

    /// Waits for a span of this operation with this attribute.
    async fn span(&self, operation: &str, key: &str, value: &str) -> Result<Span> {
        let is = |span: &Span| {
            span.name == operation
                && attribute(span, key).is_some_and(|found| format!("{found:?}").contains(value))
        };
        let mut spans = self.spans.clone();
        let all = timeout(PATIENCE, spans.wait_for(|all| all.iter().any(|(_, span)| is(span)))).await;
        let all = all.with_context(|| format!("there is no span {operation} whose {key} is {value}"))??;
        all.iter().map(|(_, span)| span).find(|span| is(span)).cloned().context("just seen")
    }

    /// Waits for spans of all these operations in one trace.
    async fn trace(&self, trace_id: &str, operations: &[&str]) -> Result<BTreeMap<String, (String, Span)>> {
        let of = |all: &Vec<(String, Span)>| -> BTreeMap<String, (String, Span)> {
            all.iter()
                .filter(|(_, span)| hex(&span.trace_id) == trace_id)
                .map(|(service, span)| (span.name.clone(), (service.clone(), span.clone())))
                .collect()
        };
        let mut spans = self.spans.clone();
        let waited =
            timeout(PATIENCE, spans.wait_for(|all| operations.iter().all(|o| of(all).contains_key(*o))))
                .await;
        let all = waited.with_context(|| {
            format!(
                "not all of {operations:?} came: {:?}",
                of(&self.spans.borrow()).keys().collect::<Vec<_>>()
            )
        })??;
        Ok(of(&all))
    }
}

fn read(request: ExportTraceServiceRequest) -> Vec<(String, Span)> {
    let mut spans = Vec::new();
    for resource in request.resource_spans {
        let service = resource
            .resource
            .iter()
            .flat_map(|r| &r.attributes)
            .find(|a| a.key == "service.name")
            .and_then(|a| a.value.clone())
            .map(|v| format!("{:?}", v.value))
            .unwrap_or_default();
        spans.extend(resource.scope_spans.into_iter().flat_map(|s| s.spans).map(|s| (service.clone(), s)));
    }
    spans
}

fn attribute<'a>(span: &'a Span, key: &str) -> Option<&'a opentelemetry_proto::tonic::common::v1::AnyValue> {
    span.attributes.iter().find(|a| a.key == key)?.value.as_ref()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_one_trace_across_four_programs() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut fleet = Fleet::start().await?;
    fleet.set_env("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url);
    fleet.set_env("OTEL_BSP_SCHEDULE_DELAY", "100");
    for service in ["dispatcher", "worker", "monitor"] {
        fleet.service(service).await?;
    }
    let submitted = fleet.cli(&["submit", "command.run", r#"{"argv": ["true"]}"#, "-o", "json"]).await?;
    let submitted: serde_json::Value = serde_json::from_str(&submitted)?;
    let trace_id = submitted["trace_id"].as_str().context("no trace id")?;
    let id = submitted["id"].as_str().context("no id")?;
    let operations = [
        "send default",
        "admit default",
        "wait default",
        "process default",
        "settle default",
        "record default",
    ];
    let trace = receiver.trace(trace_id, &operations).await?;

    let parent = |child: &str, parent: &str| {
        assert_eq!(
            hex(&trace[child].1.parent_span_id),
            hex(&trace[parent].1.span_id),
            "{child} is not a child of {parent}"
        );
    };
    parent("admit default", "send default");
    parent("wait default", "admit default");
    parent("process default", "admit default");
    parent("settle default", "process default");
    for operation in operations {
        let span = &trace[operation].1;
        for key in [
            "windlass.job.id",
            "windlass.job.kind",
            "windlass.job.queue",
            "windlass.job.attempt",
            "messaging.system",
        ] {
            assert!(attribute(span, key).is_some(), "{operation} has no {key}");
        }
        assert!(
            format!("{:?}", attribute(span, "windlass.job.id")).contains(id),
            "{operation} names another job"
        );
    }
    let services: std::collections::BTreeSet<_> = trace.values().map(|(service, _)| service).collect();
    assert_eq!(services.len(), 4, "{services:?}");
    Ok(())
}

/// Whoever submits without an exporter leaves it to the fleet what is recorded: its ratio holds, and a trace is recorded
/// by all of its programs or by none.
#[tokio::test(flavor = "multi_thread")]
async fn the_fleets_ratio_holds_for_publishers_that_record_nothing() -> Result<()> {
    const JOBS: usize = 60;
    let receiver = Receiver::start().await?;
    let mut fleet = Fleet::start().await?;
    fleet.set_env("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url);
    fleet.set_env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio");
    fleet.set_env("OTEL_TRACES_SAMPLER_ARG", "0.5");
    fleet.service("dispatcher").await?;
    fleet.service("worker").await?;
    let mut traces = BTreeSet::new();
    for _ in 0..JOBS {
        let submitted = crate::support::command(&["true"]).into_submission(&fleet).submit().await?;
        fleet.result(submitted.id).await?;
        traces.insert(submitted.trace_id);
    }
    // They send what they have before they end.
    for label in ["worker", "dispatcher"] {
        fleet.take(label)?.stop().await?;
    }
    let spans = receiver.spans.borrow().clone();
    let of = |operation: &str| -> BTreeSet<String> {
        spans.iter().filter(|(_, s)| s.name == operation).map(|(_, s)| hex(&s.trace_id)).collect()
    };
    let admitted = of("admit default");
    assert!((1..JOBS).contains(&admitted.len()), "{} of {JOBS}", admitted.len());
    assert!(admitted.is_subset(&traces), "the id that the publisher was told is another");
    assert_eq!(of("process default"), admitted);
    let roots = spans.iter().filter(|(_, span)| span.parent_span_id.is_empty()).count();
    assert_eq!(roots, admitted.len(), "each trace begins with its admission");
    Ok(())
}

/// A job that is started again has a trace of its own, which names the one in which it died.
#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_names_the_trace_of_the_death() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut fleet = Fleet::start().await?;
    fleet.set_env("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url);
    fleet.set_env("OTEL_BSP_SCHEDULE_DELAY", "100");
    for service in ["dispatcher", "worker"] {
        fleet.service(service).await?;
    }
    let (ids, _) = crate::dead_letters::die(&fleet, 1).await?;
    let dead_id = ids[0].to_string();
    let died = receiver.span("admit default", "windlass.job.id", &dead_id).await?;
    let letters = windlass_broker::dead::Letters::new(&fleet.operator);
    let letter = letters.find(&windlass_core::QueueName::default(), ids[0]).await?.context("no letter")?;
    crate::dead_letters::order(&fleet, windlass_broker::commands::Verb::Redrive, ids[0], letter.dead_at)
        .await?;
    let redrive = receiver.span("redrive default", "windlass.job.redriven_from", &dead_id).await?;
    assert_ne!(hex(&redrive.trace_id), hex(&died.trace_id));
    let linked: Vec<_> = redrive.links.iter().map(|link| hex(&link.trace_id)).collect();
    assert_eq!(linked, [hex(&died.trace_id)]);
    // And the new job is part of the new trace.
    let new_id = letter.redriven_id().to_string();
    let process = receiver.span("process default", "windlass.job.id", &new_id).await?;
    assert_eq!(hex(&process.trace_id), hex(&redrive.trace_id));
    Ok(())
}

/// Each fire is a trace of its own, which leads to the trace in which its schedule was changed last.
#[tokio::test(flavor = "multi_thread")]
async fn a_fire_names_the_trace_of_its_schedules_last_change() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut fleet = Fleet::start().await?;
    fleet.set_env("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url);
    fleet.set_env("OTEL_BSP_SCHEDULE_DELAY", "100");
    for service in ["dispatcher", "worker", "scheduler"] {
        fleet.service(service).await?;
    }
    let file = fleet.folder.path().join("traced.json");
    let file = file.to_str().context("no text")?;
    let mut traces = BTreeSet::new();
    for (every, change) in [(1, "0af7651916cd43dd8448eb211c80319c"), (2, "4bf92f3577b34da6a3ce929d0e0e4736")]
    {
        let schedule = serde_json::json!({
            "id": "traced", "kind": "command.run", "payload": {"argv": ["true"]}, "every": format!("{every}s"),
        });
        std::fs::write(file, schedule.to_string())?;
        // As a pipeline that traces itself does it.
        let mut apply = fleet.command(&["schedule", "apply", "-f", file]).await?;
        let applied = apply.env("TRACEPARENT", format!("00-{change}-b7ad6b7169203331-01")).output().await?;
        assert!(applied.status.success(), "{applied:?}");
        let shown: serde_json::Value =
            serde_json::from_str(&fleet.cli(&["schedule", "show", "traced", "-o", "json"]).await?)?;
        let since: jiff::Timestamp = shown["edits"]
            .as_array()
            .and_then(|edits| edits.last()?["at"].as_str())
            .context("no edit")?
            .parse()?;
        // The first fire after the change.
        let instant = jiff::Timestamp::from_second((since.as_second() / every + 1) * every)?;
        let send = receiver.span("send default", "windlass.schedule.instant", &instant.to_string()).await?;
        for (key, value) in [("id", "traced"), ("cause", "rule")] {
            let found = attribute(&send, &format!("windlass.schedule.{key}")).context("no attribute")?;
            assert!(format!("{found:?}").contains(value), "{key}: {found:?}");
        }
        let linked: Vec<_> = send.links.iter().map(|link| hex(&link.trace_id)).collect();
        assert_eq!(linked, [change], "at {instant}");
        assert!(send.parent_span_id.is_empty() && hex(&send.trace_id) != change, "it is a trace of its own");
        traces.insert(hex(&send.trace_id));
        // The job is part of it.
        let job = windlass_core::JobId::of_fire(&"traced".parse()?, instant).to_string();
        let process = receiver.span("process default", "windlass.job.id", &job).await?;
        assert_eq!(hex(&process.trace_id), hex(&send.trace_id));
    }
    assert_eq!(traces.len(), 2, "each fire is another trace");
    Ok(())
}

/// A collector that is not there harms nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_collector_harms_nothing() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    // Nothing listens on a port that was just given back.
    let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
    fleet.set_env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}"));
    fleet.service("dispatcher").await?;
    fleet.service("worker").await?;
    for _ in 0..20 {
        let id = crate::support::submit(&fleet, crate::support::command(&["true"])).await?;
        fleet.result(id).await?;
    }
    for label in ["dispatcher", "worker"] {
        assert_eq!(fleet.take(label)?.stop().await?.code(), Some(0), "{label}");
    }
    Ok(())
}
