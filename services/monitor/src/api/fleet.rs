//! Who of the fleet lives, and how it does: what its processes say of themselves on the broker, and what the jobs did.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use prost::Message as _;
use windlass_broker::presence::{self, Presence, Usage};
use windlass_broker::{Broker, kv};
use windlass_proto::{read_instant, v1};

use super::backlog::Backlog;
use super::query::{self, RawQuery};
use super::schema::{Figures, Fleet, Instance, StreamFigures};
use super::{Api, Problem};
use crate::store::{Part, Parts};

/// For all that is asked of the broker.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Of which the rates are.
const MINUTES: u32 = 5;
const SERVICES: [&str; 4] = ["dispatcher", "scheduler", "worker", "monitor"];

/// The processes of the fleet, and how it does.
///
/// Each says that it lives every few seconds, with what it takes; one that was lost is listed for half a minute longer.
#[utoipa::path(
    get, path = "/api/v1/fleet", tag = "fleet", operation_id = "getFleet",
    responses(
        (status = 200, body = Fleet),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The broker cannot be read", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(State(api): State<Api>, raw: RawQuery) -> Result<Json<Fleet>, Problem> {
    query::none(raw)?;
    let broker = api.broker.as_ref().ok_or_else(Problem::broker_away)?;
    let instances = resources(&api).await.ok_or_else(Problem::broker_away)?;
    let is_there = |service: &&str| instances.iter().any(|instance| instance.service == *service);
    let missing = SERVICES.iter().filter(|service| !is_there(service)).map(ToString::to_string).collect();
    let streams = tokio::time::timeout(TIMEOUT, broker.streams()).await;
    let streams = streams.ok().and_then(Result::ok).unwrap_or_default().into_iter();
    let streams =
        streams.map(|held| StreamFigures { name: held.name, messages: held.messages, bytes: held.bytes });
    let figures = figures(&api, Timestamp::now()).await?;
    Ok(Json(Fleet { missing, figures, streams: streams.collect(), instances }))
}

/// The processes of the fleet; none where they cannot be read.
pub(super) async fn resources(api: &Api) -> Option<Vec<Instance>> {
    match tokio::time::timeout(TIMEOUT, instances(api.broker.as_ref()?)).await {
        Ok(Ok(instances)) => Some(instances),
        Ok(Err(error)) => {
            let error = format!("{:#}", anyhow::Error::new(error));
            tracing::warn!(error, "the fleet cannot be read");
            None
        }
        Err(_) => None,
    }
}

async fn instances(broker: &Broker) -> Result<Vec<Instance>, kv::Error> {
    let mut all: Vec<Instance> = presence::list(broker).await?.into_iter().map(Instance::from).collect();
    let workers = broker.bucket(broker.names().workers_bucket()).entries().await?;
    let workers = workers.into_iter().filter_map(|entry| {
        Some(Instance::from((v1::WorkerInfo::decode(entry.value).ok()?, entry.stored_at)))
    });
    all.extend(workers);
    let place = |service: &str| SERVICES.iter().position(|known| *known == service).unwrap_or(usize::MAX);
    all.sort_by(|a, b| (place(&a.service), &a.id).cmp(&(place(&b.service), &b.id)));
    Ok(all)
}

async fn figures(api: &Api, now: Timestamp) -> Result<Figures, Problem> {
    let back = SignedDuration::from_mins(i64::from(MINUTES) - 1);
    let parts = Parts { from: now.checked_sub(back).unwrap_or(now), to: now, minutes: 1 };
    let mut sum = Part::default();
    for part in api.store.course_of(parts, None).await? {
        sum.add(&part);
    }
    let backlog = Backlog::of(&api.store.queues(now).await?);
    #[allow(clippy::cast_precision_loss, reason = "rates for people")]
    let rate = |count: u64| count as f64 / f64::from(MINUTES);
    Ok(Figures {
        minutes: MINUTES,
        accepted_per_minute: rate(sum.accepted),
        ended_per_minute: rate(sum.ended()),
        failed_share: sum.failed_share(),
        ready: backlog.ready,
        deferred: backlog.deferred,
        held: backlog.held,
        running: backlog.running,
        oldest_ready_seconds: backlog.oldest_seconds,
        lag_messages: api.progress.borrow().lag,
    })
}

// === impl Instance ===

impl From<(Presence, Timestamp)> for Instance {
    fn from((presence, seen_at): (Presence, Timestamp)) -> Self {
        Self {
            ready: presence.not_ready.is_empty(),
            resident_bytes: presence.usage.map(|usage| usage.resident_bytes),
            cpu_seconds: presence.usage.map(|usage| usage.cpu_seconds),
            cpu_cores: presence.usage.and_then(|usage| usage.cpu_cores),
            id: presence.instance,
            service: presence.service,
            version: presence.version,
            host: presence.host,
            started_at: presence.started_at,
            seen_at,
            not_ready: presence.not_ready,
            running: None,
            slots: None,
            metrics: presence.metrics,
        }
    }
}

impl From<(v1::WorkerInfo, Timestamp)> for Instance {
    fn from((info, seen_at): (v1::WorkerInfo, Timestamp)) -> Self {
        let usage = info.usage.map(Usage::from);
        let mut not_ready = Vec::new();
        if info.draining {
            not_ready.push("draining: it takes nothing more, and will end".to_owned());
        }
        if info.stuck > 0 {
            not_ready.push(format!("stuck: {} handlers ignore that they were cancelled", info.stuck));
        }
        Self {
            ready: not_ready.is_empty(),
            resident_bytes: usage.map(|usage| usage.resident_bytes),
            cpu_seconds: usage.map(|usage| usage.cpu_seconds),
            cpu_cores: usage.and_then(|usage| usage.cpu_cores),
            started_at: read_instant("started_at", info.started_at).ok().flatten(),
            id: info.id,
            service: "worker".to_owned(),
            version: info.version,
            host: info.host,
            seen_at,
            not_ready,
            running: Some(info.running),
            slots: Some(info.slots),
            metrics: std::collections::BTreeMap::new(),
        }
    }
}
