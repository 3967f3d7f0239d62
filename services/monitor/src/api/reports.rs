//! Reports that were made by themselves, and what a report is made of.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use windlass_core::{JobId, JobState};
use windlass_schedules::review::{Review, last_jobs, review};
use windlass_schedules::store::Listing;
use windlass_schedules::{ScheduleStore, view};

use super::query::{self, Parameters, RawPath, RawQuery};
use super::schema::StoredReportList;
use super::{Api, Problem, alerts, audit, fleet, routes, workers};
use crate::report::{Bundle, Form, Now, ScheduleLine, WHATS, What};
use crate::store::StoredReport;

const FORM_FORM: &str = "json, markdown or html";
const ID_FORM: &str = "an id as daily-20260131T060000Z";
/// Longer ids are none of ours.
const MOST_ID: usize = 64;
/// Of a report.
const MOST_SCHEDULES: usize = 1000;
/// That are looked at for one.
const MOST_REVIEWED: usize = 10_000;
/// Of each, whose outcomes are looked at.
const LAST_JOBS: usize = 5;

/// Lists the reports that the monitor has made by itself, the latest first.
#[utoipa::path(
    get, path = "/api/v1/reports/stored", tag = "reports", operation_id = "listReports",
    params(
        ("what" = Option<What>, Query, description = "Only these"),
        ("limit" = Option<u32>, Query, description = "How many at most, 50 unless told", minimum = 1, maximum = 500),
    ),
    responses(
        (status = 200, body = StoredReportList),
        (status = 400, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(State(api): State<Api>, raw: RawQuery) -> Result<Json<StoredReportList>, Problem> {
    let mut parameters = Parameters::new(raw)?;
    let what: Option<What> = parameters.take("what", WHATS)?;
    let limit = parameters.limit()?;
    parameters.end("what, limit")?;
    Ok(Json(StoredReportList { reports: api.store.reports(what, limit).await? }))
}

/// A report that the monitor has made by itself.
///
/// As Markdown or HTML it is a file to be kept.
#[utoipa::path(
    get, path = "/api/v1/reports/stored/{id}", tag = "reports", operation_id = "getReportStored",
    params(
        ("id" = String, Path, description = "The report's id, as `daily-20260131T060000Z`"),
        ("format" = Option<String>, Query, description = "`json`, unless told; `markdown` or `html`"),
    ),
    responses(
        (status = 200, content((Bundle = "application/json"), (String = "text/markdown; charset=utf-8"),
            (String = "text/html; charset=utf-8"))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(State(api): State<Api>, path: RawPath, raw: RawQuery) -> Result<Response, Problem> {
    let mut parameters = Parameters::new(raw)?;
    let form: Option<Form> = parameters.take("format", FORM_FORM)?;
    parameters.end("format")?;
    let (stored, bundle) = find(&api, path).await?;
    let form = form.unwrap_or(Form::Json);
    if form == Form::Json {
        return Ok(Json(bundle).into_response());
    }
    let name = format!("attachment; filename=\"{}.{}\"", stored.id, form.ending());
    let headers = [(header::CONTENT_TYPE, form.media_type().to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, bundle.write(form)).into_response())
}

/// The report that a request names.
pub(super) async fn find(api: &Api, path: RawPath) -> Result<(StoredReport, Bundle), Problem> {
    let id = path.map_err(|error| query::bad("id", &error, ID_FORM))?.0;
    let plain = id.len() <= MOST_ID && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let found = if plain { api.store.stored_report(&id).await? } else { None };
    found.ok_or_else(|| {
        Problem::not_found("no report of this id is kept: GET /api/v1/reports/stored lists them")
    })
}

/// Makes a report of the time up to this instant.
pub(crate) async fn bundle(api: &Api, what: What, until: Timestamp) -> Result<Bundle, Problem> {
    let earlier = |at: Timestamp, spans: SignedDuration| at.checked_sub(spans).unwrap_or(at);
    let since = earlier(until, what.spans());
    let report = api.store.report(since, until).await?;
    let before = if what.compares() {
        Some(api.store.report(earlier(since, what.spans()), since).await?)
    } else {
        None
    };
    let now = if what.tells_now() { Some(now(api).await?) } else { None };
    let resources = if what.tells_resources() { fleet::resources(api).await } else { None };
    let review = if what.reviews_schedules() { Some(review_schedules(api, what).await?) } else { None };
    Ok(Bundle { what, made_at: Timestamp::now(), report, before, now, resources, review })
}

/// What schedules did up to now, and what they will in as long a time as the report's.
async fn review_schedules(api: &Api, what: What) -> Result<Review, Problem> {
    let (mut all, mut from) = (Vec::new(), Some(0));
    while let Some(next) = from.filter(|_| all.len() < MOST_REVIEWED) {
        let (listing, more) = schedules_from(api, next).await?;
        all.extend(listing.schedules);
        from = more;
    }
    let jobs: Vec<_> = all.iter().flat_map(|stored| last_jobs(stored).take(LAST_JOBS)).collect();
    let states = api.store.states(&jobs, Timestamp::now()).await?;
    let outcomes: HashMap<JobId, JobState> = states.into_iter().map(|(_, id, state)| (id, state)).collect();
    Ok(review(&all, &outcomes, Timestamp::now(), what.spans()).worst(MOST_SCHEDULES))
}

/// A part of the schedules, and where the next begins.
async fn schedules_from(api: &Api, from: u64) -> Result<(Listing, Option<u64>), Problem> {
    let broker = api.broker.as_ref().ok_or_else(Problem::broker_away)?;
    ScheduleStore::new(broker).page(from, MOST_SCHEDULES).await.map_err(|error| {
        tracing::warn!(%error, "the schedules cannot be read");
        Problem::broker_away()
    })
}

async fn now(api: &Api) -> Result<Now, Problem> {
    let nothing = || Ok(Query(Vec::new()));
    let Json(queues) = routes::list_queues(State(api.clone()), nothing()).await?;
    let Json(workers) = workers::list(State(api.clone()), nothing()).await?;
    let Json(alerts) = alerts::list(State(api.clone()), nothing()).await?;
    let Json(audit) = audit::get(State(api.clone()), nothing()).await?;
    let broker = api.broker.as_ref().ok_or_else(Problem::broker_away)?;
    let (listing, _) = schedules_from(api, 0).await?;
    let shown = view::listing(&listing, broker.now());
    let mut schedules: Vec<_> =
        shown["schedules"].as_array().into_iter().flatten().map(ScheduleLine::of).collect();
    schedules.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(Now { queues, workers, alerts, audit, schedules })
}
