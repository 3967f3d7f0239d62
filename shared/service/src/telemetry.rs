//! Logs always, OpenTelemetry traces where the standard variables ask for them.
//!
//! Traces are on when `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set, or
//! `OTEL_TRACES_EXPORTER=otlp`; off with `OTEL_TRACES_EXPORTER=none` or `OTEL_SDK_DISABLED=true`. While they are off,
//! no layer is installed and the global tracer does nothing.
//! Rules: <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>.

use std::io::IsTerminal;
use std::time::Duration;

use opentelemetry::trace::{SpanId, TraceId, TracerProvider};
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{BatchSpanProcessor, IdGenerator, RandomIdGenerator, SdkTracerProvider};
use tracing::Metadata;
use tracing_subscriber::filter::{EnvFilter, ParseError, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;
use windlass_broker::trace::ids;

use crate::config::{Log, LogFormat};
use crate::export::{Counted, OnRuntime};

/// Logs and traces of this process; spans that are not sent yet are lost unless it is shut down.
#[derive(Debug, Default)]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// What the standard variables ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Export {
    /// Nothing.
    Off,
    /// OTLP.
    Otlp(Protocol),
    /// Something that we cannot do; what, in words.
    Unsupported(&'static str),
}

/// A layer of the process's one subscriber.
type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// What the broker's client has to say, our own lines say.
const DEFAULT_FILTER: &str = "info,async_nats=off";
/// What sends spans must not make spans, and the rest is noise.
const SPANLESS: [&str; 10] = [
    "async_nats",
    "h2",
    "hyper",
    "hyper_util",
    "opentelemetry",
    "reqwest",
    "rustls",
    "sqlx",
    "tonic",
    "tower",
];

// === impl Telemetry ===

impl Telemetry {
    /// Starts logs to standard error, and traces if asked for, under `windlass-<service>` unless `OTEL_SERVICE_NAME`
    /// says otherwise. Within a Tokio runtime; the first start in a process installs the subscriber.
    ///
    /// Traces that cannot be started are reported in the log; they stop nothing.
    pub fn start(service: &str, instance: &str, log: &Log) -> Self {
        let export = Export::from_variables(|name| std::env::var(name).ok());
        let (provider, failure) = match export {
            Export::Off => (None, None),
            Export::Otlp(protocol) => match build_provider(protocol, service, instance) {
                Ok(provider) => (Some(provider), None),
                Err(error) => (None, Some(error.to_string())),
            },
            Export::Unsupported(what) => (None, Some(what.to_owned())),
        };
        let mut layers = vec![log_layer(log)];
        if let Some(provider) = &provider {
            opentelemetry::global::set_tracer_provider(provider.clone());
            opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
            let tracer = provider.tracer("windlass");
            layers.push(
                tracing_opentelemetry::layer().with_tracer(tracer).with_filter(filter_fn(is_traced)).boxed(),
            );
        }
        // A second start in one process (a test) keeps the first subscriber.
        if tracing_subscriber::registry().with(layers).try_init().is_err() {
            tracing::debug!("the subscriber was installed before");
        }
        if let Some(error) = failure {
            tracing::error!(error, "traces are off: cannot start their export");
        }
        Self { provider }
    }

    /// Whether spans are exported.
    pub fn exports_traces(&self) -> bool {
        self.provider.is_some()
    }

    /// Sends the spans that wait, within a bound.
    pub async fn shutdown(self, limit: Duration) {
        let Some(provider) = self.provider else { return };
        let flush = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(limit));
        // The thread has the same bound; this one also holds if the blocking threads are all taken.
        match tokio::time::timeout(limit + Duration::from_secs(1), flush).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the last spans were not sent"),
            _ => tracing::warn!("the last spans were not sent in time"),
        }
    }
}

// === impl Export ===

impl Export {
    /// Reads the standard variables; an empty one counts as unset (specification, "Parsing empty value").
    pub(crate) fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let get =
            |name: &str| variable(name).map(|v| v.trim().to_ascii_lowercase()).filter(|v| !v.is_empty());
        if get("OTEL_SDK_DISABLED").as_deref() == Some("true") {
            return Self::Off;
        }
        let endpoint = get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            .or_else(|| get("OTEL_EXPORTER_OTLP_ENDPOINT"))
            .is_some();
        match get("OTEL_TRACES_EXPORTER").as_deref() {
            None if !endpoint => return Self::Off,
            None | Some("otlp") => {}
            Some("none") => return Self::Off,
            Some(_) => return Self::Unsupported("OTEL_TRACES_EXPORTER: expected otlp or none"),
        }
        let protocol =
            get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| get("OTEL_EXPORTER_OTLP_PROTOCOL"));
        match protocol.as_deref() {
            None | Some("http/protobuf") => Self::Otlp(Protocol::HttpBinary),
            Some("grpc") => Self::Otlp(Protocol::Grpc),
            Some(_) => Self::Unsupported("OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf or grpc"),
        }
    }
}

/// Reads the directives of a log filter.
pub(crate) fn parse_filter(directives: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(directives)
}

fn log_layer(log: &Log) -> BoxedLayer {
    let from_environment = || std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let directives =
        log.filter.clone().or_else(from_environment).unwrap_or_else(|| DEFAULT_FILTER.to_owned());
    // The configuration's filter was checked; a bad RUST_LOG is no reason to stop.
    let filter = parse_filter(&directives).unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let terminal = std::io::stderr().is_terminal();
    let json = match log.format {
        LogFormat::Auto => !terminal,
        LogFormat::Json => true,
        LogFormat::Pretty => false,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if json {
        lines.json().flatten_event(true).with_filter(filter).boxed()
    } else {
        lines.with_ansi(terminal).with_filter(filter).boxed()
    }
}

/// What becomes a span, or an event on a span: ours, and the user's from INFO up.
fn is_traced(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let within =
        |name: &str| target.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    if target.starts_with("windlass") && metadata.is_span() {
        return true;
    }
    *metadata.level() <= tracing::Level::INFO && !SPANLESS.into_iter().any(within)
}

fn build_provider(
    protocol: Protocol,
    service: &str,
    instance: &str,
) -> Result<SdkTracerProvider, ExporterBuildError> {
    // Endpoint, headers, time-out and compression come from the standard variables.
    let exporter = match protocol {
        Protocol::Grpc => {
            // For an `https` endpoint; the certificates that this machine trusts.
            let tls = ClientTlsConfig::new().with_enabled_roots();
            SpanExporter::builder().with_tonic().with_protocol(protocol).with_tls_config(tls).build()?
        }
        _ => SpanExporter::builder().with_http().with_protocol(protocol).build()?,
    };
    let exporter = OnRuntime::new(exporter, tokio::runtime::Handle::current());
    ids::install();
    Ok(SdkTracerProvider::builder()
        .with_id_generator(Ids::default())
        .with_resource(resource(service, instance))
        .with_span_processor(Counted::new(BatchSpanProcessor::builder(exporter).build()))
        .build())
}

/// Random ones, except for a trace that has its id already.
#[derive(Debug, Default)]
struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        ids::take().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}

/// Who we are in a trace; what the standard variables say comes first.
fn resource(service: &str, instance: &str) -> Resource {
    let given = Resource::builder().build();
    let ours = [
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", instance.to_owned()),
    ];
    let missing = ours.into_iter().filter(|attribute| given.get(&attribute.key).is_none());
    let builder = Resource::builder().with_attributes(missing);
    let name = given.get(&Key::from_static_str("service.name")).map(|name| name.to_string());
    // The SDK's own default says that nobody gave a name.
    if name.is_none_or(|name| name.starts_with("unknown_service")) {
        return builder.with_service_name(format!("windlass-{service}")).build();
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Span, Tracer};

    use super::*;

    #[test]
    fn traces_are_exported_only_when_asked_for() {
        let http = Export::Otlp(Protocol::HttpBinary);
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        for (variables, expected) in [
            (&[][..], Export::Off),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")], Export::Off),
            (&[("OTEL_SERVICE_NAME", "x")], Export::Off),
            (&[endpoint], http),
            (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://a")], http),
            (&[("OTEL_TRACES_EXPORTER", "otlp")], http),
            (&[endpoint, ("OTEL_TRACES_EXPORTER", "none")], Export::Off),
            (&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")], Export::Off),
            (&[endpoint, ("OTEL_SDK_DISABLED", "no")], http),
            (&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], Export::Otlp(Protocol::Grpc)),
            (
                &[
                    endpoint,
                    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
                ],
                http,
            ),
        ] {
            let get = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            assert_eq!(Export::from_variables(get), expected, "{variables:?}");
        }
        let json = |name: &str| (name != "OTEL_SDK_DISABLED").then(|| "http/json".to_owned());
        assert!(matches!(Export::from_variables(json), Export::Unsupported(_)));
    }

    #[tokio::test]
    async fn off_by_default() {
        let telemetry = Telemetry::start("tester", "tester-1", &Log::default());
        assert!(!telemetry.exports_traces());
        let span = opentelemetry::global::tracer("test").start("a span");
        assert!(!span.span_context().is_valid());
        telemetry.shutdown(Duration::from_secs(1)).await;
    }

    #[test]
    fn our_spans_are_traced_and_the_transport_is_not() {
        fn check(span: &tracing::Span, expected: bool) {
            let metadata = span.metadata().expect("is enabled");
            assert_eq!(is_traced(metadata), expected, "{metadata:?}");
        }
        tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            check(&tracing::debug_span!(target: "windlass_broker::jobs", "a"), true);
            check(&tracing::info_span!(target: "shop::orders", "a"), true);
            check(&tracing::debug_span!(target: "shop::orders", "a"), false);
            check(&tracing::info_span!(target: "hyper::proto", "a"), false);
            check(&tracing::info_span!(target: "sqlx", "a"), false);
            check(&tracing::info_span!(target: "tower_of_mine", "a"), true);
        });
    }
}
