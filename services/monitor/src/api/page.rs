//! The pages, rendered here; the templates escape all that is put into them.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use windlass_core::JobState;
use windlass_core::history::JobView;
use windlass_core::payload::readable;

use super::query::{ListQuery, RawPath, RawQuery};
use super::{Api, Problem, routes};
use crate::progress::Progress;
use crate::store::{Gap, JobRow, QueueCounts};

#[derive(Template)]
#[template(path = "list.html")]
struct ListPage {
    jobs: Vec<JobRow>,
    queues: Vec<QueueCounts>,
    query: ListQuery,
    older: Option<String>,
    newest: Option<String>,
    progress: Progress,
    gap: Option<Gap>,
    lost: u64,
    now: Timestamp,
}

#[derive(Template)]
#[template(path = "job.html")]
struct JobPage {
    job: JobView,
    result: Option<String>,
    trace_url: Option<String>,
    now: Timestamp,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    problem: &'a Problem,
    now: Timestamp,
}

const STYLE: &str = include_str!("../../assets/style.css");

pub(super) async fn list(State(api): State<Api>, raw: RawQuery) -> Response {
    match list_page(&api, raw).await {
        Ok(page) => render(StatusCode::OK, &page),
        Err(refused) => problem(&refused),
    }
}

async fn list_page(api: &Api, raw: RawQuery) -> Result<ListPage, Problem> {
    let query = ListQuery::read(raw)?;
    let now = Timestamp::now();
    let page = api.store.list(&query.filter, query.cursor, query.limit, now).await?;
    let queues = api.store.queues(now).await?;
    let gap = api.store.gaps(1).await?.pop();
    let lost = api.store.count_lost().await?.values().sum();
    let progress = api.progress.borrow().clone();
    Ok(ListPage {
        jobs: page.jobs,
        queues,
        older: page.next_cursor.map(|cursor| query.to_text(Some(cursor))),
        newest: query.cursor.map(|_| query.to_text(None)),
        query,
        progress,
        gap,
        lost,
        now,
    })
}

pub(super) async fn job(State(api): State<Api>, path: RawPath, raw: RawQuery) -> Response {
    match routes::find(&api, path, raw).await {
        Ok(job) => {
            let result = job.result.as_ref().map(|value| readable_result(&job, value));
            let job = readable_errors(job);
            let trace_url = api.trace_url.as_ref().zip(job.trace_id.as_ref()).map(|(url, id)| url.of(id));
            render(StatusCode::OK, &JobPage { job, result, trace_url, now: Timestamp::now() })
        }
        Err(refused) => problem(&refused),
    }
}

/// What is sealed is told in words.
fn readable_result(job: &JobView, value: &serde_json::Value) -> String {
    match job.result_form.as_ref().and_then(|form| form.encoding.key_id.as_ref()) {
        Some(key_id) => format!("sealed with the key `{key_id}`"),
        None => format!("{value:#}"),
    }
}

pub(super) fn readable_errors(mut job: JobView) -> JobView {
    let attempts = job.attempts.iter_mut().filter_map(|attempt| attempt.error.as_mut());
    for error in attempts.chain(job.error.as_mut()) {
        error.message = readable(&error.message).into_owned();
    }
    job
}

/// A problem for people.
pub(super) fn problem(problem: &Problem) -> Response {
    render(problem.status_code(), &ProblemPage { problem, now: Timestamp::now() })
}

pub(super) async fn style() -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600")),
    ];
    (headers, STYLE).into_response()
}

pub(super) fn render(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// An instant for people, to the millisecond; the page says that all are in UTC.
pub(super) fn instant(at: &Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// Seconds for people.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
pub(super) fn duration(seconds: &f64) -> String {
    match *seconds {
        short if short < 1.0 => format!("{:.0} ms", short * 1000.0),
        some if some < 60.0 => format!("{some:.1} s"),
        many => SignedDuration::try_from_secs_f64(many.round())
            .map_or_else(|_| "for ever".to_owned(), |duration| format!("{duration:#}")),
    }
}
