//! One schedule, and what an operator does about it.

use askama::Template;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::super::access::{Fields, Operator, Viewer};
use super::super::body::Body;
use super::super::payload::text_of;
use super::super::query::{Parameters, RawPath, RawQuery, encoded};
use super::super::{Api, Problem, schedules};
use super::frame::Frame;
use super::past::instant_of_field;
use super::schedule_row::{Entry, ScheduleRow};
use super::schedules::read;
use super::{done, shown, words};

/// Next instants that can be chosen.
const COUNTS: [u32; 4] = [10, 25, 50, 100];
/// Instants of a preview that are shown.
const MOST_SHOWN: usize = 20;

#[derive(Template)]
#[template(path = "schedule.html")]
struct SchedulePage {
    frame: Frame,
    row: ScheduleRow,
    next: Next,
    count: u32,
    /// The newest first.
    history: Vec<Entry>,
    waiting: Vec<Timestamp>,
    zone: TimeZone,
}

/// The next instants, as the API answers.
#[derive(Debug, Deserialize)]
struct Next {
    instants: Vec<NextInstant>,
    note: Option<String>,
}

#[derive(Debug, Deserialize)]
struct NextInstant {
    instant: Timestamp,
    fires_at: Timestamp,
}

#[derive(Debug, Deserialize)]
struct History {
    waiting: Vec<Timestamp>,
    history: Vec<Entry>,
}

#[derive(Template)]
#[template(path = "schedule_backfill.html")]
struct BackfillPage {
    frame: Frame,
    id: String,
    planned: Planned,
    /// What was asked for, to be asked for again.
    fields: Vec<(String, String)>,
}

/// What a backfill would do, as the API answers.
#[derive(Debug, Deserialize)]
struct Planned {
    count: u64,
    instants: Vec<Timestamp>,
}

pub(in crate::api) async fn page(
    State(api): State<Api>,
    viewer: Viewer,
    path: RawPath,
    raw: RawQuery,
) -> Response {
    shown(one(&api, &viewer, path, raw).await, &viewer)
}

async fn one(api: &Api, viewer: &Viewer, path: RawPath, raw: RawQuery) -> Result<SchedulePage, Problem> {
    let (frame, raw) = Frame::new(&viewer.0, "/schedules").noticing(raw);
    let mut parameters = Parameters::new(raw)?;
    let count: u32 = parameters.take("next", "how many of the next instants")?.unwrap_or(COUNTS[0]);
    parameters.end("next")?;
    let asked = |pairs: Vec<(String, String)>| (State(api.clone()), Ok(Path(named(&path))), Ok(Query(pairs)));
    let (state, id, none) = asked(Vec::new());
    let Json(row) = schedules::get(state, id, none).await?;
    let (state, id, some) = asked(vec![("count".to_owned(), count.to_string())]);
    let Json(next) = schedules::next(state, id, some).await?;
    let (state, id, none) = asked(Vec::new());
    let Json(history) = schedules::history(state, id, none).await?;
    let row: ScheduleRow = read(row)?;
    let History { waiting, mut history } = read(history)?;
    history.reverse();
    let zone = row.time_zone();
    Ok(SchedulePage { frame: frame.every(5), next: read(next)?, count, history, waiting, zone, row })
}

pub(in crate::api) async fn pause(
    State(api): State<Api>,
    viewer: Viewer,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    headers: HeaderMap,
    fields: Fields,
) -> Response {
    let to = back(&path, "pause-schedule");
    let outcome = match instants(&fields, &["until"]) {
        Ok(fields) => {
            schedules::pause(State(api), operator, path, raw, headers, Body((&fields).into())).await
        }
        Err(refused) => Err(refused),
    };
    done(outcome, &to, &viewer)
}

pub(in crate::api) async fn resume(
    State(api): State<Api>,
    viewer: Viewer,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    headers: HeaderMap,
    fields: Fields,
) -> Response {
    let to = back(&path, "resume");
    let outcome = schedules::resume(State(api), operator, path, raw, headers, Body((&fields).into())).await;
    done(outcome, &to, &viewer)
}

pub(in crate::api) async fn trigger(
    State(api): State<Api>,
    viewer: Viewer,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    headers: HeaderMap,
    fields: Fields,
) -> Response {
    let to = back(&path, "trigger");
    let outcome = schedules::trigger(State(api), operator, path, raw, headers, Body((&fields).into())).await;
    done(outcome, &to, &viewer)
}

/// First shown, then asked for.
pub(in crate::api) async fn backfill(
    State(api): State<Api>,
    viewer: Viewer,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    headers: HeaderMap,
    fields: Fields,
) -> Response {
    let (to, id) = (back(&path, "backfill"), named(&path));
    let is_preview = fields.0.iter().any(|(name, value)| name == "dry_run" && value == "true");
    let fields = match instants(&fields, &["from", "until"]) {
        Ok(fields) => fields,
        Err(refused) => return super::problem(&refused, &viewer.0),
    };
    let fields = if is_preview { up_to_now(fields) } else { fields };
    let asked = schedules::backfill(State(api), operator, path, raw, headers, Body((&fields).into()));
    let outcome = asked.await;
    if !is_preview {
        return done(outcome, &to, &viewer);
    }
    let page = outcome.and_then(|(_, Json(planned))| {
        let shown = |name: &str| !matches!(name, "dry_run" | "reason");
        let given = fields.0.iter().filter(|(name, value)| shown(name) && !value.trim().is_empty());
        let frame = Frame::new(&viewer.0, "/schedules");
        Ok(BackfillPage { frame, id, planned: read(planned)?, fields: given.cloned().collect() })
    });
    shown(page, &viewer)
}

pub(in crate::api) async fn delete(
    State(api): State<Api>,
    viewer: Viewer,
    operator: Operator,
    path: RawPath,
    fields: Fields,
) -> Response {
    let revision = fields.0.iter().filter(|(name, _)| name == "expected_revision");
    let outcome = schedules::delete(State(api), operator, path, Ok(Query(revision.cloned().collect()))).await;
    done(outcome, "/schedules?done=delete-schedule", &viewer)
}

fn back(path: &RawPath, done: &str) -> String {
    format!("/schedules/{}?done={done}", encoded(&named(path)))
}

/// What the path names; what cannot be read is no id.
fn named(path: &RawPath) -> String {
    path.as_ref().map(|path| path.0.clone()).unwrap_or_default()
}

/// A form's fields, with these as instants.
fn instants(fields: &Fields, names: &[&str]) -> Result<Fields, Problem> {
    let read = |(name, value): &(String, String)| {
        let is_instant = names.contains(&name.as_str()) && !value.trim().is_empty();
        let value =
            if is_instant { instant_of_field(name, value.trim())?.to_string() } else { value.clone() };
        Ok((name.clone(), value))
    };
    let read: Result<Vec<_>, Problem> = fields.0.iter().map(read).collect();
    Ok(Fields(read?.into()))
}

/// What is shown is what is done: instants that come meanwhile are not in it.
fn up_to_now(fields: Fields) -> Fields {
    let is_open = !fields.0.iter().any(|(name, value)| name == "until" && !value.trim().is_empty());
    if !is_open {
        return fields;
    }
    let others = fields.0.iter().filter(|(name, _)| name != "until").cloned();
    let all: Vec<_> = others.chain([("until".to_owned(), Timestamp::now().to_string())]).collect();
    Fields(all.into())
}

// === impl SchedulePage ===

impl SchedulePage {
    /// An instant by the clock of the schedule's zone.
    fn there(&self, at: &Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%a %Y-%m-%d %H:%M:%S %Z").to_string()
    }

    fn has_jitter(&self) -> bool {
        self.row.jitter.is_some()
    }

    /// The definition, in the words of a file.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let row = &self.row;
        let moment = |at: Option<Timestamp>| at.map(|at| format!("{} UTC", words::moment(&at)));
        let facts = [
            ("Starts", moment(row.start)),
            ("Ends", moment(row.end)),
            ("Excluded", Some(row.excluded().join(", ")).filter(|text| !text.is_empty())),
            ("Jitter", row.jitter.as_ref().map(|jitter| format!("up to {jitter} later"))),
            ("Overlap", Some(row.overlap.clone())),
            ("Misfire", Some(row.misfire.clone())),
            ("Catch-up window", row.catch_up_window.clone()),
            ("Pace", row.pace.clone()),
            ("Pause on failure", row.pause_on_failure.then(|| "yes".to_owned())),
            ("Limit", row.limit.map(|limit| format!("{} of {limit} fires", row.fires))),
            ("Priority", Some(row.priority.clone())),
            ("Max attempts", row.max_attempts.map(|most| most.to_string())),
            ("Attempt time-out", row.attempt_timeout.clone()),
            ("Max wait", row.max_wait.clone()),
            ("Counts from", moment(Some(row.created_at))),
            ("Revision", Some(row.revision.to_string())),
        ];
        facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    fn payload(&self) -> String {
        text_of(&self.row.payload)
    }
}

// === impl BackfillPage ===

impl BackfillPage {
    fn some(&self) -> &[Timestamp] {
        &self.planned.instants[..self.planned.instants.len().min(MOST_SHOWN)]
    }

    fn others(&self) -> u64 {
        self.planned.count.saturating_sub(MOST_SHOWN as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forms_times_are_utc() {
        let given = [("from", "2026-11-01T00:30"), ("until", ""), ("which", "2026-11-01T00:30")];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let read = instants(&Fields(given.clone().into()), &["from", "until"]).unwrap();
        assert_eq!(read.0[0].1, "2026-11-01T00:30:00Z");
        assert_eq!((&read.0[1], &read.0[2]), (&given[1], &given[2]));
        let wrong = Fields(vec![("from".to_owned(), "noon".to_owned())].into());
        assert_eq!(instants(&wrong, &["from"]).unwrap_err().field.as_deref(), Some("from"));
    }
}
