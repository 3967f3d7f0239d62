//! What an operator does about one schedule. Each change stands on the broker when it is answered, and who made it stands
//! in the schedule; jobs that are asked for are made by the scheduler that leads.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_broker::Broker;
use windlass_core::schedule::{Overlap, Pause, Wish};
use windlass_core::{JobId, ScheduleId, duration};
use windlass_schedules::backfill::{Asked, MOST_LIVE, Which};
use windlass_schedules::store::{self, Author, pause_until};
use windlass_schedules::{Invalid, ScheduleStore, view};

use super::{INSTANT_FORM, broker, find, id, refused};
use crate::api::access::Operator;
use crate::api::body::Body;
use crate::api::query::{self, Parameters, RawPath, RawQuery, bad};
use crate::api::schema::{
    ActionProblems, BackfillSchedule, Backfilled, DeletedSchedule, PauseSchedule, PausedSchedule,
    ResumeSchedule, TriggerSchedule, TriggeredSchedule,
};
use crate::api::{Api, Problem};

/// Lets a schedule fire nothing but what is asked for, for some time or until it is resumed.
#[utoipa::path(
    post, path = "/api/v1/schedules/{id}/pause", tag = "schedules", operation_id = "pauseSchedule",
    params(("id" = String, Path, description = "The schedule's id")),
    request_body = PauseSchedule,
    responses(
        (status = 200, body = PausedSchedule),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has another revision than expected, or somebody changes it now", body = Problem,
            content_type = "application/problem+json"),
        ActionProblems,
    ),
    security(("operator" = [])),
)]
pub(in crate::api) async fn pause(
    State(api): State<Api>,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    headers: HeaderMap,
    Body(mut body): Body,
) -> Result<Json<Value>, Problem> {
    query::none(raw)?;
    let (id, broker) = (id(path)?, broker(&api)?);
    let note = body.reason()?;
    let length: Option<Length> = body.take("for", duration::EXPECTED)?;
    let until: Option<Timestamp> = body.take("until", INSTANT_FORM)?;
    let revision = revision(&mut body)?;
    body.end("reason, for, until, expected_revision")?;
    // The reason stands in the pause.
    let author = author(broker, &operator, &headers, String::new()).await;
    let until = pause_until(author.at, length.map(|length| length.0), until).map_err(invalid)?;
    told(&operator, "pause", &id, &note);
    let pause = Pause { note, until };
    let paused = ScheduleStore::new(broker).pause(&id, revision, pause, &author).await;
    Ok(Json(view::pause(&paused.map_err(refused)?)))
}

/// Ends a pause. Instants that it passed over are not made up for.
#[utoipa::path(
    post, path = "/api/v1/schedules/{id}/resume", tag = "schedules", operation_id = "resumeSchedule",
    params(("id" = String, Path, description = "The schedule's id")),
    request_body = ResumeSchedule,
    responses(
        (status = 200, body = PausedSchedule),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has another revision than expected, or somebody changes it now", body = Problem,
            content_type = "application/problem+json"),
        ActionProblems,
    ),
    security(("operator" = [])),
)]
pub(in crate::api) async fn resume(
    State(api): State<Api>,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    headers: HeaderMap,
    Body(mut body): Body,
) -> Result<Json<Value>, Problem> {
    query::none(raw)?;
    let (id, broker) = (id(path)?, broker(&api)?);
    let reason = body.reason()?;
    let revision = revision(&mut body)?;
    body.end("reason, expected_revision")?;
    told(&operator, "resume", &id, &reason);
    let author = author(broker, &operator, &headers, reason).await;
    let resumed = ScheduleStore::new(broker).resume(&id, revision, &author).await;
    Ok(Json(view::pause(&resumed.map_err(refused)?)))
}

/// Makes a job of a schedule now: paused or not, and whatever its policy for overlaps says.
///
/// The request is stored with the schedule when this is answered; the scheduler that leads makes the job.
#[utoipa::path(
    post, path = "/api/v1/schedules/{id}/trigger", tag = "schedules", operation_id = "triggerSchedule",
    params(("id" = String, Path, description = "The schedule's id")),
    request_body = TriggerSchedule,
    responses(
        (status = 202, description = "The request is stored", body = TriggeredSchedule),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has another revision than expected, somebody changes it now, or too many requests of it wait", body = Problem,
            content_type = "application/problem+json"),
        ActionProblems,
    ),
    security(("operator" = [])),
)]
pub(in crate::api) async fn trigger(
    State(api): State<Api>,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    headers: HeaderMap,
    Body(mut body): Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    query::none(raw)?;
    let reason = body.reason()?;
    let revision = revision(&mut body)?;
    body.end("reason, expected_revision")?;
    let (broker, stored) = find(&api, path).await?;
    let id = &stored.schedule.id;
    told(&operator, "trigger", id, &reason);
    let author = author(broker, &operator, &headers, reason).await;
    let request = ScheduleStore::new(broker).request(id, revision, Wish::Trigger, &author).await;
    let request = request.map_err(refused)?;
    // Said, because it may be meant to protect something.
    let overlap = stored.schedule.policy.overlap;
    let answer = json!({
        "id": id,
        "job_id": JobId::of_trigger(id, request.at),
        "queue": stored.schedule.queue,
        "requested_at": request.at,
        "passes_over_overlap": (overlap != Overlap::AllowAll).then_some(overlap),
    });
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// Makes jobs of instants of the past, by the schedule's rule as it is now.
///
/// What an instant has had, this monitor's database says. The request is stored with the schedule when this is answered
/// with 202; the scheduler that leads carries it out, one backfill at a time.
#[utoipa::path(
    post, path = "/api/v1/schedules/{id}/backfill", tag = "schedules", operation_id = "backfillSchedule",
    params(("id" = String, Path, description = "The schedule's id")),
    request_body = BackfillSchedule,
    responses(
        (status = 200, description = "A dry run, or there is no such instant: nothing is stored", body = Backfilled),
        (status = 202, description = "The request is stored", body = Backfilled),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has another revision than expected, somebody changes it now, or a backfill of it \
            goes on", body = Problem,
            content_type = "application/problem+json"),
        ActionProblems,
    ),
    security(("operator" = [])),
)]
pub(in crate::api) async fn backfill(
    State(api): State<Api>,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    headers: HeaderMap,
    Body(mut body): Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    query::none(raw)?;
    let from: Option<Timestamp> = body.take("from", INSTANT_FORM)?;
    let until: Option<Timestamp> = body.take("until", INSTANT_FORM)?;
    let words = format!("one of {}", Which::WORDS.join(", "));
    let which: Option<Which> = body.take("which", &words)?;
    let concurrency = body.number("concurrency", 1, u32::try_from(MOST_LIVE).unwrap_or(u32::MAX))?;
    let reverse = body.flag("reverse")?;
    let dry_run = body.flag("dry_run")?;
    let reason = body.reason()?;
    let revision = revision(&mut body)?;
    body.end("from, until, which, concurrency, reverse, dry_run, reason, expected_revision")?;
    let from = from.ok_or_else(|| Problem::bad("from", "from: is missing", INSTANT_FORM))?;
    let (broker, stored) = find(&api, path).await?;
    let (schedule, id) = (&stored.schedule, &stored.schedule.id);
    // What is previewed is by the rule that is shown.
    if let Some(expected) = revision.filter(|expected| *expected != stored.revision) {
        return Err(refused(store::Error::Revision { id: id.clone(), expected, found: stored.revision }));
    }
    let asked = Asked {
        from,
        until,
        which: which.unwrap_or(Which::Missing),
        concurrency: concurrency.and_then(|count| usize::try_from(count).ok()).unwrap_or(1),
        reverse,
    };
    let author = author(broker, &operator, &headers, reason.clone()).await;
    let (database, queue) = (&api.store, &schedule.queue);
    let state_of = |job: JobId| async move {
        let found = database.find(job, Some(queue)).await?;
        Ok::<_, Problem>(found.first().map(|job| job.state))
    };
    let backfill = asked.plan(schedule, author.at, state_of).await?;
    let mut answer = json!({
        "id": id,
        "count": backfill.instants.len(),
        "instants": backfill.instants,
        "dry_run": dry_run,
        "requested_at": null,
    });
    if dry_run || backfill.instants.is_empty() {
        return Ok((StatusCode::OK, Json(answer)));
    }
    told(&operator, "backfill", id, &reason);
    let request = ScheduleStore::new(broker).request(id, revision, Wish::Backfill(backfill), &author).await;
    answer["requested_at"] = json!(request.map_err(refused)?.at);
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// Removes a schedule. Jobs that it has made go on.
#[utoipa::path(
    delete, path = "/api/v1/schedules/{id}", tag = "schedules", operation_id = "deleteSchedule",
    params(
        ("id" = String, Path, description = "The schedule's id"),
        ("expected_revision" = Option<u64>, Query, description = "Only if it still has this revision"),
    ),
    responses(
        (status = 200, body = DeletedSchedule),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has another revision than expected, or somebody changes it now", body = Problem,
            content_type = "application/problem+json"),
        ActionProblems,
    ),
    security(("operator" = [])),
)]
pub(in crate::api) async fn delete(
    State(api): State<Api>,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
) -> Result<Json<Value>, Problem> {
    let mut parameters = Parameters::new(raw)?;
    let expected: Option<u64> = parameters.take("expected_revision", "a revision: a whole number")?;
    parameters.end("expected_revision")?;
    let (id, broker) = (id(path)?, broker(&api)?);
    let store = ScheduleStore::new(broker);
    // What is malformed must be removable.
    let found = store.revision(&id).await.map_err(refused)?;
    let found = found.ok_or_else(|| refused(store::Error::None(id.clone())))?;
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        return Err(refused(store::Error::Revision { id, expected, found }));
    }
    told(&operator, "delete", &id, "");
    store.delete_revision(&id, found).await.map_err(refused)?;
    Ok(Json(json!({ "id": id, "deleted": true, "revision": found })))
}

/// Who asks, by the broker's clock, and in which trace.
pub(super) async fn author(
    broker: &Broker,
    operator: &Operator,
    headers: &HeaderMap,
    reason: String,
) -> Author {
    let trace = headers.get("traceparent").and_then(|value| value.to_str().ok()?.parse().ok());
    Author { reason, ..Author::now(broker, operator.who(), trace).await }
}

/// Before: whoever asks may be gone when it is stored, and this with them.
pub(super) fn told(operator: &Operator, action: &'static str, schedule: &ScheduleId, reason: &str) {
    tracing::info!(who = operator.who(), action, %schedule, reason, "an operator's action");
}

fn revision(body: &mut Parameters) -> Result<Option<u64>, Problem> {
    Ok(body.number("expected_revision", 0, u32::MAX)?.map(u64::from))
}

fn invalid(Invalid { field, reason }: Invalid) -> Problem {
    let expected = reason.split_once("expected ").map_or("another value", |(_, expected)| expected);
    bad(field, &reason, expected)
}

impl From<Invalid> for Problem {
    fn from(error: Invalid) -> Self {
        invalid(error)
    }
}

/// As `2h`.
struct Length(Duration);

impl std::str::FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let length = duration::parse(text).filter(|length| !length.is_zero());
        length.map(Self).ok_or_else(|| format!("`{text}` is not a duration, or 0"))
    }
}
