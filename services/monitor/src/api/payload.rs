//! What jobs are to do: their payloads, as the broker has them. The monitor keeps none, and a job's goes with its end; a
//! dead one's is in its letter.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use utoipa::ToSchema;
use windlass_broker::jobs::{self, Jobs};
use windlass_broker::{Broker, locate};
use windlass_core::letter::payload_value;
use windlass_core::payload::has_text;
use windlass_core::{JobId, JobState, QueueName, Task};

use super::access::Viewer;
use super::query::{ListQuery, RawPath, RawQuery};
use super::{Api, Problem, letters, routes};
use crate::store::{JobRow, Page};

/// For what stands on the broker.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Jobs that one search looks at.
const MOST_LOOKED_AT: usize = 1000;
/// Of these at one time.
const READS: usize = 32;
/// A search begins no further part after this time.
const SEARCHES_FOR: Duration = Duration::from_secs(2);

/// What a job is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Payload)]
pub(super) struct PayloadView {
    /// JSON as itself, text as a string, anything else as base64 under `base64`. What is compressed or sealed is not
    /// opened, and an object of its own is only named.
    pub(super) payload: Value,
    /// Of the payload; empty where none is known.
    pub(super) content_type: String,
}

// === impl PayloadView ===

impl PayloadView {
    /// For people.
    pub(super) fn text(&self) -> String {
        text_of(&self.payload)
    }
}

/// A payload for people.
pub(super) fn text_of(payload: &Value) -> String {
    match payload {
        Value::String(text) => text.clone(),
        other => format!("{other:#}"),
    }
}

/// What a job is to do: its payload, as the broker has it. It goes with the job's end, unless that was its death.
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}/payload", tag = "jobs", operation_id = "getPayload",
    params(
        ("id" = String, Path, description = "The job's id, a UUID"),
        ("queue" = Option<String>, Query, description = "The job's queue, where several have the id"),
    ),
    responses(
        (status = 200, body = PayloadView),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Payloads are shown to others: `monitor.access.payloads`", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such job, or it has ended", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "Several queues have a job of this id: `queues` names them", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "The broker cannot be read", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(
    State(api): State<Api>,
    viewer: Viewer,
    path: RawPath,
    raw: RawQuery,
) -> Result<Json<PayloadView>, Problem> {
    allowed(&api, &viewer)?;
    let job = routes::find(&api, path, raw).await?;
    let queue: QueueName = job.queue.parse().map_err(|_| Problem::not_found("the job has no queue"))?;
    let found = of(&api, &queue, job.id, job.state).await?;
    let gone = "the job has ended, and its payload is gone: those of live and of dead jobs are kept";
    found.map(Json).ok_or_else(|| Problem::not_found(gone))
}

/// Refuses whoever is not shown payloads.
fn allowed(api: &Api, Viewer(who): &Viewer) -> Result<(), Problem> {
    let least = api.access.payloads();
    let name = if who.is_anonymous() { "whoever shows no token" } else { who.who() };
    if who.role < least { Err(Problem::forbidden(name, who.role, least)) } else { Ok(()) }
}

/// Whether somebody is shown payloads.
pub(super) fn is_shown(api: &Api, viewer: &Viewer) -> bool {
    allowed(api, viewer).is_ok()
}

/// In the place of a payload that is not shown.
pub(super) fn hidden(api: &Api) -> Value {
    json!({ "hidden": format!("shown to {}s", api.access.payloads()) })
}

/// The payload of a job in this state; none if it is gone.
pub(super) async fn of(
    api: &Api,
    queue: &QueueName,
    id: JobId,
    state: JobState,
) -> Result<Option<PayloadView>, Problem> {
    Ok(task(api, queue, id, state).await?.map(|task| PayloadView {
        payload: payload_value(&task.content_type, &task.payload, &task.form),
        content_type: task.content_type,
    }))
}

async fn task(
    api: &Api,
    queue: &QueueName,
    id: JobId,
    state: JobState,
) -> Result<Option<Task<Bytes>>, Problem> {
    match state {
        JobState::Dead => of_letter(api, queue, id).await,
        ended if ended.is_terminal() => Ok(None),
        _ => {
            let broker = api.broker.as_ref().ok_or_else(Problem::broker_away)?;
            read(async { jobs_of(broker, queue).await?.task(queue, id).await }).await
        }
    }
}

async fn of_letter(api: &Api, queue: &QueueName, id: JobId) -> Result<Option<Task<Bytes>>, Problem> {
    let letter = letters::letters(api)?.find(queue, id).await.map_err(letters::unread)?;
    Ok(letter.and_then(|letter| letter.task.ok()))
}

async fn jobs_of(broker: &Broker, queue: &QueueName) -> Result<Jobs, jobs::Error> {
    Ok(Jobs::new(broker, locate::serving(broker, queue).await?))
}

/// What the broker answers, in time.
async fn read<T>(reading: impl Future<Output = Result<T, jobs::Error>>) -> Result<T, Problem> {
    match timeout(TIMEOUT, reading).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => {
            let error = format!("{:#}", anyhow::Error::new(error));
            tracing::warn!(error, "payloads of live jobs cannot be read");
            Err(Problem::broker_away())
        }
        Err(_) => Err(Problem::broker_away()),
    }
}

/// The jobs that a query lists. With a text, those among them of which the payload has it: a part of the list may then
/// be short though more follows, as no more than a thousand jobs are looked at for it.
pub(super) async fn list(
    api: &Api,
    viewer: &Viewer,
    query: &ListQuery,
    now: Timestamp,
) -> Result<Page, Problem> {
    let Some(text) = &query.text else {
        return Ok(api.store.list(&query.filter, query.cursor, query.limit, now).await?);
    };
    allowed(api, viewer)?;
    let begun = Instant::now();
    let mut found = Page { jobs: Vec::new(), next_cursor: query.cursor };
    let (mut looked_at, mut served) = (0, Served::new());
    loop {
        let room = query.limit - u32::try_from(found.jobs.len()).unwrap_or(query.limit);
        let part = api.store.list(&query.filter, found.next_cursor, room, now).await?;
        looked_at += part.jobs.len();
        serve(api, &part.jobs, &mut served).await?;
        let looking =
            part.jobs.into_iter().map(async |job| Ok(has(api, &served, &job, text).await?.then_some(job)));
        let mut looking = stream::iter(looking).buffered(READS);
        while let Some(job) = looking.next().await {
            found.jobs.extend(job.map_err(|problem: Problem| problem)?);
        }
        found.next_cursor = part.next_cursor;
        let full = found.jobs.len() >= query.limit as usize || looked_at >= MOST_LOOKED_AT;
        if full || found.next_cursor.is_none() || begun.elapsed() >= SEARCHES_FOR {
            return Ok(found);
        }
    }
}

/// Where the jobs of queues are: looked up once a search.
type Served = HashMap<QueueName, Jobs>;

/// Looks up the queues of those that live.
async fn serve(api: &Api, jobs: &[JobRow], served: &mut Served) -> Result<(), Problem> {
    let live = jobs.iter().filter(|job| !job.state.is_terminal());
    for queue in live.filter_map(|job| job.queue.parse::<QueueName>().ok()) {
        if let Entry::Vacant(place) = served.entry(queue) {
            let broker = api.broker.as_ref().ok_or_else(Problem::broker_away)?;
            let jobs = read(jobs_of(broker, place.key())).await?;
            place.insert(jobs);
        }
    }
    Ok(())
}

async fn has(api: &Api, served: &Served, job: &JobRow, text: &str) -> Result<bool, Problem> {
    let Ok(queue) = job.queue.parse::<QueueName>() else { return Ok(false) };
    let task = match served.get(&queue) {
        Some(jobs) if !job.state.is_terminal() => read(jobs.task(&queue, job.id)).await?,
        _ => task(api, &queue, job.id, job.state).await?,
    };
    Ok(task.is_some_and(|task| has_text(&task.payload, &task.form, text)))
}
