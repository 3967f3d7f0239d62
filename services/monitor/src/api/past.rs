//! The fleet as it was at an earlier instant.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use windlass_core::history::JobView;
use windlass_core::{JobId, JobState, QueueName};

use super::query::{self, INSTANT_FORM, KIND_FORM, Parameters, QUEUE_FORM, RawPath, RawQuery};
use super::schema::{JobList, JobStateSchema, JobViewSchema};
use super::{Api, Problem};
use crate::store::{Cursor, Gap, Page, Past, PastFilter};

/// How many gaps are told.
const MOST_GAPS: u32 = 100;

/// Where the jobs stood at an instant, and how much of that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct PastState {
    /// Where they stood.
    #[serde(flatten)]
    pub(super) past: Past,
    /// Events that were gone before they were read, the latest first: what they told is not counted.
    pub(super) gaps: Vec<Gap>,
    /// Messages of events that are not yet stored: of the last seconds not all is known before it is 0. Null until the
    /// broker said.
    #[schema(required)]
    pub(super) lag: Option<u64>,
}

/// What is asked for of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PastQuery {
    pub(super) at: Timestamp,
    pub(super) filter: PastFilter,
    pub(super) limit: u32,
    pub(super) cursor: Option<Cursor>,
}

// === impl PastQuery ===

impl PastQuery {
    pub(super) fn read(mut parameters: Parameters, at: Option<Timestamp>) -> Result<Self, Problem> {
        let at = passed(match at {
            Some(at) => at,
            None => required(&mut parameters)?,
        })?;
        let states = JobState::ALL.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(", ");
        let filter = PastFilter {
            state: parameters.take("state", &format!("one of {states}"))?,
            kind: parameters.take("kind", KIND_FORM)?,
            queue: parameters.take("queue", QUEUE_FORM)?,
        };
        let limit = parameters.limit()?;
        let cursor = parameters.take("cursor", "the `next_cursor` of an earlier answer")?;
        parameters.end("at, state, kind, queue, limit, cursor")?;
        Ok(Self { at, filter, limit, cursor })
    }
}

/// Where all jobs stood at an instant, or those of one queue.
///
/// Told from the histories that are kept. `known_since` says from when on nothing is missing.
#[utoipa::path(
    get, path = "/api/v1/past", tag = "past", operation_id = "getPast",
    params(
        ("at" = String, Query, description = "The instant, which must have passed"),
        ("queue" = Option<String>, Query, description = "Only jobs of this queue"),
    ),
    responses(
        (status = 200, body = PastState),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many jobs lived then to be told in time: name a queue", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(State(api): State<Api>, raw: RawQuery) -> Result<Json<PastState>, Problem> {
    let mut parameters = Parameters::new(raw)?;
    let at = passed(required(&mut parameters)?)?;
    let queue: Option<QueueName> = parameters.take("queue", QUEUE_FORM)?;
    parameters.end("at, queue")?;
    Ok(Json(state(&api, at, queue.as_ref()).await?))
}

/// Lists jobs as they stood at an instant: by their acceptance, the latest first.
///
/// A part may be shorter than `limit` and still have another after it: where few jobs match, it ends when enough have
/// been looked at.
#[utoipa::path(
    get, path = "/api/v1/past/jobs", tag = "past", operation_id = "listPastJobs",
    params(
        ("at" = String, Query, description = "The instant, which must have passed"),
        ("state" = Option<JobStateSchema>, Query, description = "Only jobs that stood in this state"),
        ("kind" = Option<String>, Query, description = "Only jobs of this kind"),
        ("queue" = Option<String>, Query, description = "Only jobs of this queue"),
        ("limit" = Option<u32>, Query, description = "How many at most, 50 unless told", minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the part before"),
    ),
    responses(
        (status = 200, body = JobList),
        (status = 400, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(State(api): State<Api>, raw: RawQuery) -> Result<Json<JobList>, Problem> {
    let query = PastQuery::read(Parameters::new(raw)?, None)?;
    Ok(Json(JobList::from(page(&api, &query).await?)))
}

/// One job as it was at an instant.
#[utoipa::path(
    get, path = "/api/v1/past/jobs/{id}", tag = "past", operation_id = "getPastJob",
    params(
        ("id" = String, Path, description = "The job's id, a UUID"),
        ("at" = String, Query, description = "The instant, which must have passed"),
        ("queue" = Option<String>, Query, description = "The job's queue, where several have the id"),
    ),
    responses(
        (status = 200, body = JobViewSchema),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No job has this id, or it was accepted later", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "Several queues have a job of this id: `queues` names them", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn job(
    State(api): State<Api>,
    path: RawPath,
    raw: RawQuery,
) -> Result<Json<JobView>, Problem> {
    let mut parameters = Parameters::new(raw)?;
    let at = passed(required(&mut parameters)?)?;
    let queue = parameters.take("queue", QUEUE_FORM)?;
    parameters.end("at, queue")?;
    Ok(Json(find(&api, at, query::id(path)?, queue.as_ref()).await?))
}

pub(super) async fn state(api: &Api, at: Timestamp, queue: Option<&QueueName>) -> Result<PastState, Problem> {
    let past = api.store.past(at, queue).await.map_err(|error| match error {
        crate::store::Error::TimedOut(_) => {
            Problem::unavailable("too many jobs lived then to be told in time: name a queue")
        }
        other => other.into(),
    })?;
    let lag = api.progress.borrow().lag;
    Ok(PastState { past, gaps: api.store.gaps(MOST_GAPS).await?, lag })
}

pub(super) async fn page(api: &Api, query: &PastQuery) -> Result<Page, Problem> {
    Ok(api.store.past_list(query.at, &query.filter, query.cursor, query.limit).await?)
}

pub(super) async fn find(
    api: &Api,
    at: Timestamp,
    id: JobId,
    queue: Option<&QueueName>,
) -> Result<JobView, Problem> {
    let (mut found, known) = api.store.past_job(at, id, queue).await?;
    match (found.pop(), found.is_empty()) {
        (Some(job), true) => Ok(job),
        (Some(last), false) => {
            found.push(last);
            Err(Problem::ambiguous(found.into_iter().map(|job| job.queue).collect()))
        }
        (None, _) if known > 0 => Err(Problem::not_found(format!("the job {id} was accepted after {at}"))),
        (None, _) => Err(Problem::not_found(format!("no job {id} is known, or it was removed for its age"))),
    }
}

fn required(parameters: &mut Parameters) -> Result<Timestamp, Problem> {
    let at = parameters.take("at", INSTANT_FORM)?;
    at.ok_or_else(|| Problem::bad("at", "at: is missing", INSTANT_FORM))
}

pub(super) fn passed(at: Timestamp) -> Result<Timestamp, Problem> {
    if at > Timestamp::now() {
        return Err(Problem::bad("at", "at: has not passed yet", "an instant that has passed"));
    }
    Ok(at)
}
