//! Schedules: the list of them.

use askama::Template;
use axum::Json;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

use super::super::access::Viewer;
use super::super::query::{Parameters, RawQuery, encoded};
use super::super::{Api, Problem, schedules};
use super::frame::Frame;
use super::schedule_row::ScheduleRow;
use super::{shown, words};

/// Of a page.
const PAGE: usize = 100;
/// Of a search, in one request.
const PART: usize = 500;
/// Parts that one search looks through.
const MOST_PARTS: usize = 40;
/// What the form asks by.
const FIELDS: [&str; 4] = ["contains", "queue", "kind", "paused"];

#[derive(Template)]
#[template(path = "schedules.html")]
struct SchedulesPage {
    frame: Frame,
    part: Part,
    /// What is looked for.
    filter: Vec<(String, String)>,
    /// The page does not begin with the first.
    is_later: bool,
}

/// A part of the list, as the API answers.
#[derive(Debug, Deserialize)]
struct Part {
    schedules: Vec<ScheduleRow>,
    malformed: Vec<Malformed>,
    next_cursor: Option<String>,
}

/// What stands there and is no schedule.
#[derive(Debug, Deserialize)]
struct Malformed {
    id: String,
    field: String,
    reason: String,
}

pub(in crate::api) async fn page(State(api): State<Api>, viewer: Viewer, raw: RawQuery) -> Response {
    shown(list(&api, &viewer, raw).await, &viewer)
}

async fn list(api: &Api, viewer: &Viewer, raw: RawQuery) -> Result<SchedulesPage, Problem> {
    let (frame, raw) = Frame::new(&viewer.0, "/schedules").noticing(raw);
    let mut parameters = Parameters::new(raw)?;
    let mut filter = Vec::new();
    for name in FIELDS {
        let value: Option<String> = parameters.take(name, "text")?;
        filter.extend(value.map(|value| (name.to_owned(), value.trim().to_owned())));
    }
    let mut cursor: Option<String> = parameters.take("cursor", "the place of a page")?;
    parameters.end("contains, queue, kind, paused, cursor")?;
    filter.retain(|(_, value)| !value.is_empty());
    let is_later = cursor.is_some();
    let (mut found, mut malformed) = (Vec::new(), Vec::new());
    // A part is read and then filtered, so a search may take many.
    let limit = if filter.is_empty() { PAGE } else { PART };
    for _ in 0..MOST_PARTS {
        let part = part(api, &filter, limit, cursor.as_deref()).await?;
        found.extend(part.schedules);
        malformed.extend(part.malformed);
        cursor = part.next_cursor;
        if cursor.is_none() || found.len() >= PAGE || filter.is_empty() {
            break;
        }
    }
    if cursor.is_none() && !is_later {
        found.sort_by(|a, b| a.id.cmp(&b.id));
    }
    let part = Part { schedules: found, malformed, next_cursor: cursor };
    Ok(SchedulesPage { frame: frame.every(10), part, filter, is_later })
}

async fn part(
    api: &Api,
    filter: &[(String, String)],
    limit: usize,
    cursor: Option<&str>,
) -> Result<Part, Problem> {
    let mut pairs = filter.to_vec();
    pairs.push(("limit".to_owned(), limit.to_string()));
    pairs.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor.to_owned())));
    let Json(answer) = schedules::list(State(api.clone()), Ok(Query(pairs))).await?;
    read(answer)
}

/// The API's answer as a page shows it.
pub(super) fn read<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, Problem> {
    serde_json::from_value(answer).map_err(|error| {
        tracing::error!(%error, "an answer is not what its page expects");
        Problem::unavailable("this cannot be shown: ask the API for it")
    })
}

// === impl SchedulesPage ===

impl SchedulesPage {
    /// The value of a field of the search.
    fn value(&self, name: &str) -> &str {
        self.filter.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }

    /// The query of the page that begins there.
    fn at(&self, cursor: &str) -> String {
        format!("{}cursor={cursor}", self.first())
    }

    /// The query of the first page, as far as a further parameter.
    fn first(&self) -> String {
        let parts: Vec<_> =
            self.filter.iter().map(|(name, value)| format!("{name}={}&", encoded(value))).collect();
        parts.concat()
    }
}
