//! Schedules: what they are, when they fire, and what became of their instants. All of it comes from the broker.

mod apply;
mod change;
mod states;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_broker::Broker;
use windlass_core::{Kind, QueueName, ScheduleId};
use windlass_schedules::store::{self, Stored};
use windlass_schedules::{ScheduleStore, view};

pub(super) use apply::{__path_apply, MOST_BYTES as MOST_APPLIED_BYTES, apply};
pub(super) use change::{
    __path_backfill, __path_delete, __path_pause, __path_resume, __path_trigger, backfill, delete, pause,
    resume, trigger,
};

use super::query::{self, INSTANT_FORM, KIND_FORM, Parameters, QUEUE_FORM, RawPath, RawQuery, bad};
use super::schema::{ScheduleHistory, ScheduleList, ScheduleNext, ScheduleSchema};
use super::{Api, Problem};
use crate::operations::Operations;

const ID_FORM: &str = QUEUE_FORM;
const FLAG_FORM: &str = "true or false";
/// Of the next instants, so many are told unless asked for otherwise.
const NEXT: u32 = 5;
/// So many may be asked for.
const MOST_NEXT: u32 = 1000;

/// Schedules, in the order of their last change, in parts.
///
/// A part is read first and then filtered, so it may be shorter than `limit`, or empty, and others follow.
#[utoipa::path(
    get, path = "/api/v1/schedules", tag = "schedules", operation_id = "listSchedules",
    params(
        ("queue" = Option<String>, Query, description = "Only those whose tasks go there"),
        ("kind" = Option<String>, Query, description = "Only those of this kind of task"),
        ("paused" = Option<bool>, Query, description = "Only those that are paused, or only the others"),
        ("contains" = Option<String>, Query, description = "Only those whose id has this in it"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500, description = "50, if not given"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the part before"),
    ),
    responses(
        (status = 200, body = ScheduleList),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The broker cannot be read", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(State(api): State<Api>, raw: RawQuery) -> Result<Json<Value>, Problem> {
    let mut parameters = Parameters::new(raw)?;
    let queue: Option<QueueName> = parameters.take("queue", QUEUE_FORM)?;
    let kind: Option<Kind> = parameters.take("kind", KIND_FORM)?;
    let paused: Option<bool> = parameters.take("paused", FLAG_FORM)?;
    let contains: Option<String> = parameters.take("contains", "a part of an id")?;
    let limit = parameters.limit()?;
    let from: Option<u64> = parameters.take("cursor", "the `next_cursor` of an earlier answer")?;
    parameters.end("queue, kind, paused, contains, limit, cursor")?;
    let broker = broker(&api)?;
    let now = broker.now();
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let page = ScheduleStore::new(broker).page(from.unwrap_or_default(), most).await;
    let (mut listing, next) = page.map_err(refused)?;
    listing.schedules.retain(|Stored { schedule, .. }| {
        queue.as_ref().is_none_or(|queue| schedule.queue == *queue)
            && kind.as_ref().is_none_or(|kind| schedule.task.kind == *kind)
            && paused.is_none_or(|paused| schedule.is_paused(now) == paused)
            && contains.as_ref().is_none_or(|text| schedule.id.as_str().contains(text.as_str()))
    });
    let mut shown = view::listing(&listing, now);
    shown["next_cursor"] = json!(next.map(|next| next.to_string()));
    states::add(&api, &mut shown).await?;
    Ok(Json(shown))
}

/// A schedule: its definition, how far it has come, its next instants, and who changed it.
#[utoipa::path(
    get, path = "/api/v1/schedules/{id}", tag = "schedules", operation_id = "getSchedule",
    params(("id" = String, Path, description = "The schedule's id")),
    responses(
        (status = 200, body = ScheduleSchema),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The broker cannot be read, or what stands there is no schedule", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(
    State(api): State<Api>,
    path: RawPath,
    raw: RawQuery,
) -> Result<Json<Value>, Problem> {
    query::none(raw)?;
    let (broker, stored) = find(&api, path).await?;
    let mut shown = view::whole(&stored, broker.now());
    states::add(&api, &mut shown).await?;
    Ok(Json(shown))
}

/// The next instants that a schedule is going to fire as it stands, and why there are no more.
///
/// None of a pause, none outside of its start and end, and no more than its limit still allows.
#[utoipa::path(
    get, path = "/api/v1/schedules/{id}/next", tag = "schedules", operation_id = "nextOfSchedule",
    params(
        ("id" = String, Path, description = "The schedule's id"),
        ("after" = Option<String>, Query, description = "The instants after this one; now, if not given"),
        ("count" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "5, if not given"),
    ),
    responses(
        (status = 200, body = ScheduleNext),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The broker cannot be read", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn next(
    State(api): State<Api>,
    path: RawPath,
    raw: RawQuery,
) -> Result<Json<Value>, Problem> {
    let mut parameters = Parameters::new(raw)?;
    let after: Option<Timestamp> = parameters.take("after", INSTANT_FORM)?;
    let form = format!("a whole number from 1 to {MOST_NEXT}");
    let count: u32 = parameters.take("count", &form)?.unwrap_or(NEXT);
    if !(1..=MOST_NEXT).contains(&count) {
        return Err(Problem::bad("count", format!("count: `{count}` is out of range"), form));
    }
    parameters.end("after, count")?;
    let (broker, stored) = find(&api, path).await?;
    let now = broker.now();
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let upcoming = stored.schedule.upcoming(stored.cursor.as_ref(), now, after.unwrap_or(now), count);
    Ok(Json(view::upcoming(&stored, &upcoming)))
}

/// What became of a schedule's last instants: the job of each that fired, those that were missed or passed over.
#[utoipa::path(
    get, path = "/api/v1/schedules/{id}/history", tag = "schedules", operation_id = "historyOfSchedule",
    params(("id" = String, Path, description = "The schedule's id")),
    responses(
        (status = 200, body = ScheduleHistory),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The broker cannot be read", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn history(
    State(api): State<Api>,
    path: RawPath,
    raw: RawQuery,
) -> Result<Json<Value>, Problem> {
    query::none(raw)?;
    let (_, stored) = find(&api, path).await?;
    let mut shown = view::history(&stored);
    states::add(&api, &mut shown).await?;
    Ok(Json(shown))
}

pub(super) fn broker(api: &Api) -> Result<&Broker, Problem> {
    api.operations.as_ref().map(Operations::broker).ok_or_else(Problem::broker_away)
}

fn id(path: RawPath) -> Result<ScheduleId, Problem> {
    let text = path.map(|path| path.0).unwrap_or_default();
    text.parse().map_err(|error| bad("id", &error, ID_FORM))
}

async fn find(api: &Api, path: RawPath) -> Result<(&Broker, Stored), Problem> {
    let (id, broker) = (id(path)?, broker(api)?);
    let stored = ScheduleStore::new(broker).get(&id).await.map_err(refused)?;
    Ok((broker, stored.ok_or_else(|| refused(store::Error::None(id)))?))
}

/// What the store says, as an answer.
pub(super) fn refused(error: store::Error) -> Problem {
    match error {
        error @ store::Error::None(_) => Problem::not_found(error.to_string()),
        error @ (store::Error::Conflict(_) | store::Error::Revision { .. } | store::Error::Busy { .. }) => {
            Problem::conflict(error.to_string())
        }
        error @ store::Error::NeverFires { .. } => Problem::bad(
            "schedules",
            error.to_string(),
            "a rule that names an instant to come, within its bounds",
        ),
        store::Error::Task { id, source } => {
            let detail = format!("schedule {id}: {}: {}", source.field, source.reason);
            Problem::bad(source.field, detail, "a task that is accepted")
        }
        error @ (store::Error::Bucket(_) | store::Error::Malformed { .. }) => {
            let error = format!("{:#}", anyhow::Error::new(error));
            tracing::error!(error, "schedules were not read or changed");
            Problem::unavailable(
                "the schedule was not read or changed, or it is not known whether it was: look at it and try again",
            )
        }
    }
}
