//! The page of the past: where the jobs stood at an instant.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use windlass_core::JobState;
use windlass_core::history::JobView;

use super::super::access::Viewer;
use super::super::past::{self, PastQuery, PastState};
use super::super::query::{self, Parameters, QUEUE_FORM, RawPath, RawQuery};
use super::super::{Api, Problem};
use super::frame::Frame;
use super::job::readable_errors;
use super::{shown, words};
use crate::store::JobRow;

const AT_FORM: &str = "an instant as 2026-01-31T09:00:00Z, in UTC where it has no offset";
/// What is shown unless told.
const AGO: SignedDuration = SignedDuration::from_hours(1);

#[derive(Template)]
#[template(path = "past.html")]
struct PastPage {
    frame: Frame,
    state: PastState,
    query: PastQuery,
    /// In what a field of a form takes.
    field: String,
    jobs: Vec<JobRow>,
    older: Option<String>,
}

#[derive(Template)]
#[template(path = "past_job.html")]
struct PastJobPage {
    frame: Frame,
    job: JobView,
    at: Timestamp,
}

pub(in crate::api) async fn page(State(api): State<Api>, viewer: Viewer, raw: RawQuery) -> Response {
    shown(past_page(&api, &viewer, raw).await, &viewer)
}

async fn past_page(api: &Api, viewer: &Viewer, raw: RawQuery) -> Result<PastPage, Problem> {
    let frame = Frame::new(&viewer.0, "/past");
    let now = frame.now;
    let mut parameters = Parameters::new(raw)?;
    let at = moment(&mut parameters)?.unwrap_or_else(|| now.checked_sub(AGO).unwrap_or(now));
    let query = PastQuery::read(parameters, Some(at))?;
    let state = past::state(api, query.at, query.filter.queue.as_ref()).await?;
    let page = past::page(api, &query).await?;
    Ok(PastPage {
        frame,
        state,
        field: at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        jobs: page.jobs,
        older: page.next_cursor.map(|cursor| format!("{}&cursor={cursor}", query.to_text())),
        query,
    })
}

pub(in crate::api) async fn job(
    State(api): State<Api>,
    viewer: Viewer,
    path: RawPath,
    raw: RawQuery,
) -> Response {
    shown(job_page(&api, &viewer, path, raw).await, &viewer)
}

async fn job_page(api: &Api, viewer: &Viewer, path: RawPath, raw: RawQuery) -> Result<PastJobPage, Problem> {
    let mut parameters = Parameters::new(raw)?;
    let at = moment(&mut parameters)?.ok_or_else(|| Problem::bad("at", "at: is missing", AT_FORM))?;
    let queue = parameters.take("queue", QUEUE_FORM)?;
    parameters.end("at, queue")?;
    let job = past::find(api, past::passed(at)?, query::id(path)?, queue.as_ref()).await?;
    Ok(PastJobPage { frame: Frame::new(&viewer.0, "/past"), job: readable_errors(job), at })
}

/// With an offset, or as a form sends it.
fn moment(parameters: &mut Parameters) -> Result<Option<Timestamp>, Problem> {
    let text = parameters.take::<String>("at", AT_FORM)?;
    text.map(|text| instant_of_field("at", &text)).transpose()
}

/// What a form's field says: with an offset, or in UTC.
pub(super) fn instant_of_field(name: &str, text: &str) -> Result<Timestamp, Problem> {
    let at = text.parse::<Timestamp>().or_else(|error| {
        let civil = text.parse::<DateTime>().map_err(|_| error)?;
        civil.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp())
    });
    at.map_err(|error| query::bad(name, &error, AT_FORM))
}

// === impl PastQuery ===

impl PastQuery {
    /// The query that asks for the same from the beginning.
    fn to_text(&self) -> String {
        let mut parts = vec![format!("at={}", self.at)];
        parts.extend(self.filter.state.map(|state| format!("state={state}")));
        parts.extend(self.filter.kind.as_ref().map(|kind| format!("kind={kind}")));
        parts.extend(self.filter.queue.as_ref().map(|queue| format!("queue={queue}")));
        parts.join("&")
    }

    /// Whether only jobs in this state are asked for.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    fn asks_for(&self, state: &JobState) -> bool {
        self.filter.state == Some(*state)
    }
}
