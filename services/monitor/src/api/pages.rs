//! The pages, rendered here; the templates escape all that is put into them.
//!
//! They read and act without a script: each action is a form, whose answer is another page. The script (`assets/script.js`)
//! only asks for the same page again when something has changed, and puts what is new in its place.

pub(super) mod alerts;
pub(super) mod bulk;
pub(super) mod calendar;
mod chart;
pub(super) mod dead;
pub(super) mod files;
pub(super) mod fleet;
pub(super) mod frame;
pub(super) mod job;
pub(super) mod jobs;
pub(super) mod log;
pub(super) mod operations;
pub(super) mod overview;
pub(super) mod past;
pub(super) mod queues;
pub(super) mod report;
mod rule_words;
pub(super) mod schedule;
mod schedule_row;
pub(super) mod schedules;
pub(super) mod sign_in;
pub(super) mod sign_in_oidc;
mod span;
mod states;
mod waterfall;
mod words;
pub(super) mod workers;

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use frame::Frame;

use super::Problem;
use super::access::Viewer;
use super::problem::Refused;
use crate::access::Principal;

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    frame: Frame,
    problem: &'a Problem,
}

/// A problem for people.
pub(super) fn problem(problem: &Problem, principal: &Principal) -> Response {
    let frame = Frame::new(principal, "");
    let mut response = render(problem.status_code(), &ProblemPage { frame, problem });
    response.extensions_mut().insert(Refused(problem.detail.clone()));
    response
}

/// A page, or why there is none.
fn shown(page: Result<impl Template, Problem>, viewer: &Viewer) -> Response {
    match page {
        Ok(page) => render(StatusCode::OK, &page),
        Err(refused) => problem(&refused, &viewer.0),
    }
}

/// Where to look after an action, or why it was not done.
fn done<T>(outcome: Result<T, Problem>, to: &str, viewer: &Viewer) -> Response {
    match outcome {
        Ok(_) => Redirect::to(to).into_response(),
        Err(refused) => problem(&refused, &viewer.0),
    }
}

fn render(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
