//! What all schedules are going to fire on some days.

use axum::Json;
use axum::extract::State;
use jiff::civil::Date;
use windlass_core::schedule::Zone;
use windlass_core::{Kind, QueueName};
use windlass_schedules::ScheduleStore;
use windlass_schedules::calendar::{Calendar, MOST_DAYS, calendar};
use windlass_schedules::store::Stored;

use super::query::{KIND_FORM, Parameters, QUEUE_FORM, RawQuery};
use super::schedules::{broker, refused};
use super::{Api, Problem, schema};

const DATE_FORM: &str = "a day, as 2026-01-31";
const ZONE_FORM: &str = "the IANA name of a time zone, as Europe/Berlin";
const DAYS: u32 = 7;
/// Schedules that are read.
const MOST_READ: usize = 20_000;
/// In one request to the broker.
const PART: usize = 500;

/// What all schedules are going to fire on some days, as they stand: how many in each hour, and which at one instant.
///
/// What has come already is not counted, and nothing of a pause. Of a single day every instant is told.
#[utoipa::path(
    get, path = "/api/v1/calendar", tag = "schedules", operation_id = "getCalendar",
    params(
        ("from" = Option<String>, Query, description = "The first day, as 2026-01-31; today, if not given"),
        ("days" = Option<u32>, Query, minimum = 1, maximum = 42, description = "7, if not given"),
        ("zone" = Option<String>, Query, description = "Of the days and hours: an IANA name; UTC, if not given"),
        ("queue" = Option<String>, Query, description = "Only schedules whose tasks go there"),
        ("kind" = Option<String>, Query, description = "Only schedules of this kind of task"),
    ),
    responses(
        (status = 200, body = schema::Calendar),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The broker cannot be read", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(State(api): State<Api>, raw: RawQuery) -> Result<Json<Calendar>, Problem> {
    let mut parameters = Parameters::new(raw)?;
    let from: Option<Date> = parameters.take("from", DATE_FORM)?;
    let form = format!("a whole number from 1 to {MOST_DAYS}");
    let days: u32 = parameters.take("days", &form)?.unwrap_or(DAYS);
    let zone: Option<ZoneName> = parameters.take("zone", ZONE_FORM)?;
    let queue: Option<QueueName> = parameters.take("queue", QUEUE_FORM)?;
    let kind: Option<Kind> = parameters.take("kind", KIND_FORM)?;
    parameters.end("from, days, zone, queue, kind")?;
    if !(1..=MOST_DAYS).contains(&days) {
        return Err(Problem::bad("days", format!("days: `{days}` is out of range"), form));
    }
    let zone = match zone {
        Some(ZoneName(zone)) => zone,
        None => Zone::new("").map_err(|error| Problem::bad("zone", error.to_string(), ZONE_FORM))?,
    };
    let broker = broker(&api)?;
    let now = broker.now();
    let from = from.unwrap_or_else(|| now.to_zoned(zone.time_zone().clone()).date());
    let (mut all, unread) = read(&ScheduleStore::new(broker)).await?;
    all.retain(|Stored { schedule, .. }| {
        queue.as_ref().is_none_or(|queue| schedule.queue == *queue)
            && kind.as_ref().is_none_or(|kind| schedule.task.kind == *kind)
    });
    // It may take a moment, and whoever else asks is not to wait for it.
    let computing = tokio::task::spawn_blocking(move || calendar(&all, now, from, days, &zone));
    let mut found =
        computing.await.map_err(|_| Problem::unavailable("the calendar was not made: try again"))?;
    found.left_out += unread;
    Ok(Json(found))
}

/// The schedules, and how many at least were not read.
async fn read(store: &ScheduleStore) -> Result<(Vec<Stored>, u64), Problem> {
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let (listing, next) = store.page(from, PART).await.map_err(refused)?;
        all.extend(listing.schedules);
        match next {
            Some(_) if all.len() >= MOST_READ => return Ok((all, 1)),
            Some(next) => from = next,
            None => return Ok((all, 0)),
        }
    }
}

/// A zone by its name.
struct ZoneName(Zone);

impl std::str::FromStr for ZoneName {
    type Err = windlass_core::schedule::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Zone::new(name).map(Self)
    }
}
