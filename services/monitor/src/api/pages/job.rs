//! One job.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use windlass_core::flow::{Cause, Why};
use windlass_core::history::JobView;
use windlass_core::payload::readable;
use windlass_core::{JobId, JobState};

use super::super::access::{Fields, Operator, Viewer};
use super::super::body::Body;
use super::super::payload::{self, PayloadView};
use super::super::query::{RawPath, RawQuery, encoded};
use super::super::related::{self, Related};
use super::super::{Api, Problem, actions, queues, routes, search};
use super::frame::Frame;
use super::states::{self, Stay};
use super::waterfall::{self, Bar};
use super::{problem, render, words};

#[derive(Template)]
#[template(path = "job.html")]
struct JobPage<'a> {
    frame: Frame,
    job: &'a JobView,
    stays: Vec<Stay>,
    bars: Vec<Bar<'a>>,
    result: Option<String>,
    trace_url: Option<String>,
    why: Option<Why>,
    others: Vec<Other>,
    /// None where it cannot be told just now.
    related: Option<Related>,
    /// None where it is not shown, or cannot be just now.
    payload: Option<PayloadView>,
}

/// Another job that this one has to do with.
struct Other {
    what: &'static str,
    id: JobId,
    queue: String,
}

pub(in crate::api) async fn page(
    State(api): State<Api>,
    viewer: Viewer,
    path: RawPath,
    raw: RawQuery,
) -> Response {
    let (frame, raw) = Frame::new(&viewer.0, "/jobs").noticing(raw);
    let job = match routes::find(&api, path, raw).await {
        Ok(job) => readable_errors(job),
        Err(Problem { rejected: Some(message), .. }) => {
            let to = format!("/jobs/{}?queue={}", message.id, message.queue);
            return Redirect::to(&to).into_response();
        }
        Err(refused) => return problem(&refused, &viewer.0),
    };
    let (why, related, payload) = tokio::join!(
        why(&api, &job),
        async { related::related(&api, &job).await.ok() },
        payload(&api, &viewer, &job)
    );
    let page = JobPage {
        frame: if job.state.is_terminal() {
            frame.every(60)
        } else {
            frame.follows(format!("id={}", job.id))
        },
        stays: states::of(&job, jiff::Timestamp::now()),
        bars: waterfall::of(&job, jiff::Timestamp::now()),
        result: job.result.as_ref().map(|value| readable_result(&job, value)),
        trace_url: api.trace_url.as_ref().zip(job.trace_id.as_ref()).map(|(url, id)| url.of(id)),
        others: others(&job, why.as_ref()),
        related,
        payload,
        why,
        job: &job,
    };
    render(axum::http::StatusCode::OK, &page)
}

pub(in crate::api) async fn cancel(
    State(api): State<Api>,
    viewer: Viewer,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    fields: Fields,
) -> Response {
    let to = back(&path, &raw, "cancel");
    let outcome = actions::cancel(State(api), operator, path, raw, Body((&fields).into())).await;
    super::done(outcome, &to, &viewer)
}

pub(in crate::api) async fn release(
    State(api): State<Api>,
    viewer: Viewer,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    fields: Fields,
) -> Response {
    let to = back(&path, &raw, "release");
    let outcome = actions::release(State(api), operator, path, raw, Body((&fields).into())).await;
    super::done(outcome, &to, &viewer)
}

/// The job's page, after something was done to it. What is asked for is an id and a queue, or it was refused.
pub(super) fn back(path: &RawPath, raw: &RawQuery, done: &str) -> String {
    let id = path.as_ref().map(|path| path.0.as_str()).unwrap_or_default();
    let queue = raw.as_ref().ok().and_then(|query| query.0.iter().find(|(name, _)| name == "queue"));
    let queue =
        queue.map(|(_, queue)| format!("queue={}&", super::super::query::encoded(queue))).unwrap_or_default();
    format!("/jobs/{id}?{queue}done={done}")
}

/// What it is to do; none where that is not shown, or cannot be just now. A dead one's stands in its letter, to which the
/// page leads.
async fn payload(api: &Api, viewer: &Viewer, job: &JobView) -> Option<PayloadView> {
    if job.state.is_terminal() || !payload::is_shown(api, viewer) {
        return None;
    }
    payload::of(api, &job.queue.parse().ok()?, job.id, job.state).await.ok().flatten()
}

/// Why it waits; none where it does not, or that is not known just now.
async fn why(api: &Api, job: &JobView) -> Option<Why> {
    if job.state.is_terminal() || job.state == JobState::Running {
        return None;
    }
    let query = vec![("queue".to_owned(), job.queue.clone())];
    let path = axum::extract::Path(job.id.to_string());
    let asked = queues::why_job(State(api.clone()), Ok(path), Ok(axum::extract::Query(query))).await;
    asked.ok().map(|why| why.0)
}

fn others(job: &JobView, why: Option<&Why>) -> Vec<Other> {
    let same = |what, id| Other { what, id, queue: job.queue.clone() };
    let mut others: Vec<Other> =
        job.other_id.map(|id| same("the job in its place", id)).into_iter().collect();
    match why.map(|why| &why.cause) {
        // Of a job whose acceptance did not tell them.
        Some(Cause::Dependencies { on, .. }) if job.relations.after.is_empty() => {
            let waits = |on: &windlass_core::flow::On| Other {
                what: "waits for",
                id: on.job_id,
                queue: on.queue.to_string(),
            };
            others.extend(on.iter().map(waits));
        }
        Some(Cause::KeyLimit { holders, .. } | Cause::QueueLimit { holders, .. }) => {
            others.extend(holders.iter().map(|holder| same("holds the place", holder.job_id)));
        }
        Some(Cause::KeyOrder { behind: Some(holder), .. }) => {
            others.push(same("stands before it", holder.job_id));
        }
        _ => {}
    }
    others
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

// === impl JobPage ===

impl JobPage<'_> {
    fn can_cancel(&self) -> bool {
        self.frame.is_operator() && !self.job.state.is_terminal()
    }

    /// The search for its children, in this state or in any.
    fn children(&self, state: &str) -> String {
        let state = if state.is_empty() { String::new() } else { format!(" state:{state}") };
        format!("/jobs?q={}", encoded(&format!("parent:{}/{}{state}", self.job.queue, self.job.id)))
    }

    /// The search for all jobs with this label.
    fn labelled(label: &str) -> String {
        let words = [("label".to_owned(), label.to_owned())].into();
        format!("/jobs?q={}", encoded(&search::write(&words)))
    }

    fn can_release(&self) -> bool {
        self.frame.is_operator() && actions::is_releasable(self.job.state)
    }
}
