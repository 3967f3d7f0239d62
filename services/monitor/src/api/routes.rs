//! The answers of the API.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use windlass_core::history::JobView;

use super::access::Viewer;
use super::query::{self, ListQuery, RawPath, RawQuery};
use super::schema::{EventsStatus, JobList, JobStateSchema, JobViewSchema, QueueList, Status};
use super::{Api, Problem, RejectedMessage, pages, payload};
use crate::access::Principal;

/// How many gaps are told.
const GAPS: u32 = 100;

/// Lists jobs, newest first.
///
/// Newest is what the monitor heard of last; with `since` or `until`, what was accepted last. Pages neither shift nor
/// repeat while jobs come in.
#[utoipa::path(
    get, path = "/api/v1/jobs", tag = "jobs", operation_id = "listJobs",
    params(
        ("state" = Option<JobStateSchema>, Query, description = "Only jobs in this state"),
        ("kind" = Option<String>, Query, description = "Only jobs of this kind"),
        ("queue" = Option<String>, Query, description = "Only jobs of this queue"),
        ("key" = Option<String>, Query, description = "Only jobs with this key"),
        ("tenant" = Option<String>, Query, description = "Only jobs of this tenant"),
        ("fingerprint" = Option<String>, Query, description = "Only jobs whose error has this fingerprint"),
        ("schedule_id" = Option<String>, Query, description = "Only jobs that this schedule published"),
        ("parent" = Option<String>, Query, description = "Only the children of this job, as `queue/id`"),
        ("label" = Option<String>, Query, description = "Only jobs with this label, as `env=prod`"),
        ("text" = Option<String>, Query, description = "Only live and dead jobs whose payload has this text, in whatever case, as it stands in its message. At most a thousand jobs are looked at for one answer, so it may have few or none though more follow: see `next_cursor`"),
        ("since" = Option<String>, Query, description = "Only jobs accepted at this instant or later"),
        ("until" = Option<String>, Query, description = "Only jobs accepted before this instant"),
        ("q" = Option<String>, Query, description = "The same as one search, as `state:dead queue:mail since:2h`"),
        ("limit" = Option<u32>, Query, description = "How many at most, 50 unless told", minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the part before"),
    ),
    responses(
        (status = 200, body = JobList),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "With `text`: payloads are shown to others, see `monitor.access.payloads`",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "With `text`: the broker cannot be read", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list_jobs(
    State(api): State<Api>,
    viewer: Viewer,
    raw: RawQuery,
) -> Result<Json<JobList>, Problem> {
    let query = ListQuery::read(raw)?;
    Ok(Json(JobList::from(payload::list(&api, &viewer, &query, Timestamp::now()).await?)))
}

/// One job, with every transition and attempt.
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}", tag = "jobs", operation_id = "getJob",
    params(
        ("id" = String, Path, description = "The job's id, a UUID"),
        ("queue" = Option<String>, Query, description = "The job's queue, where several have the id"),
    ),
    responses(
        (status = 200, body = JobViewSchema),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No job has this id; `rejected` tells of a message that bears it, and was no valid \
            task", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Several queues have a job of this id: `queues` names them", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_job(
    State(api): State<Api>,
    path: RawPath,
    raw: RawQuery,
) -> Result<Json<JobView>, Problem> {
    Ok(Json(find(&api, path, raw).await?))
}

/// The job that a request names.
pub(super) async fn find(api: &Api, path: RawPath, raw: RawQuery) -> Result<JobView, Problem> {
    let (id, queue) = query::job(path, raw)?;
    let mut found = api.store.find(id, queue.as_ref()).await?;
    match (found.pop(), found.is_empty()) {
        (Some(job), true) => Ok(job.at(Timestamp::now())),
        (None, _) => {
            let place = queue.as_ref().map(|queue| format!(" in the queue {queue}")).unwrap_or_default();
            let detail = format!("no job {id} is known{place}");
            let Some(event) = api.store.rejected(id, queue.as_ref()).await? else {
                return Err(Problem::not_found(detail));
            };
            let detail = format!("{detail}: a message that bears this id was rejected, see {}", event.job_id);
            let reason = event.error.map(|error| error.message).unwrap_or_default();
            let (id, queue) = (event.job_id, event.queue.to_string());
            Err(Problem::rejected(detail, RejectedMessage { id, queue, reason }))
        }
        (Some(last), false) => {
            found.push(last);
            Err(Problem::ambiguous(found.into_iter().map(|job| job.queue).collect()))
        }
    }
}

/// Every queue, with how many of its jobs stand where.
#[utoipa::path(
    get, path = "/api/v1/queues", tag = "queues", operation_id = "listQueues",
    responses(
        (status = 200, body = QueueList),
        (status = 400, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list_queues(State(api): State<Api>, raw: RawQuery) -> Result<Json<QueueList>, Problem> {
    query::none(raw)?;
    Ok(Json(QueueList { queues: api.store.queues(Timestamp::now()).await? }))
}

/// How far the monitor has come with the events, and what of them it will never see.
#[utoipa::path(
    get, path = "/api/v1/status", tag = "status", operation_id = "getStatus",
    responses(
        (status = 200, body = Status),
        (status = 400, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get_status(State(api): State<Api>, raw: RawQuery) -> Result<Json<Status>, Problem> {
    query::none(raw)?;
    let progress = api.progress.borrow().clone();
    let gaps = api.store.gaps(GAPS).await?;
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        events: EventsStatus::from(&progress),
        gaps,
    }))
}

pub(super) async fn not_found(State(api): State<Api>, uri: Uri, headers: HeaderMap) -> Response {
    let problem = Problem::not_found("there is nothing under this path");
    if uri.path().starts_with("/api/") {
        return problem.into_response();
    }
    let who = api.access.who(&headers, Timestamp::now());
    pages::problem(&problem, &who.unwrap_or_else(|_| Principal::anonymous()))
}

pub(super) async fn method_not_allowed() -> Problem {
    Problem::method_not_allowed()
}
