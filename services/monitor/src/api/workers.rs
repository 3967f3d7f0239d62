//! The workers that live.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use prost::Message as _;
use windlass_proto::{read_instant, v1};

use super::query::{self, RawQuery};
use super::schema::{Worker, WorkerList};
use super::{Api, Problem};

/// To read the bucket.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Lists the workers that live, by id.
///
/// A worker says that it lives every few seconds; one that was lost is listed for a moment longer.
#[utoipa::path(
    get, path = "/api/v1/workers", tag = "workers", operation_id = "listWorkers",
    responses(
        (status = 200, body = WorkerList),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(State(api): State<Api>, raw: RawQuery) -> Result<Json<WorkerList>, Problem> {
    query::none(raw)?;
    let broker = api.broker.ok_or_else(Problem::broker_away)?;
    let bucket = broker.bucket(broker.names().workers_bucket());
    let entries = match tokio::time::timeout(READ_TIMEOUT, bucket.entries()).await {
        Ok(Ok(entries)) => entries,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the workers cannot be read");
            return Err(Problem::broker_away());
        }
        Err(_) => return Err(Problem::broker_away()),
    };
    let workers = entries.into_iter().filter_map(|entry| v1::WorkerInfo::decode(entry.value).ok());
    let mut workers: Vec<Worker> = workers.map(Worker::from).collect();
    workers.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(Json(WorkerList { workers }))
}

impl From<v1::WorkerInfo> for Worker {
    fn from(info: v1::WorkerInfo) -> Self {
        let started_at = read_instant("started_at", info.started_at).ok().flatten();
        let v1::WorkerInfo {
            id, pool, queues, kinds, slots, running, version, host, draining, stuck, ..
        } = info;
        Self { id, pool, queues, kinds, slots, running, stuck, version, host, started_at, draining }
    }
}
