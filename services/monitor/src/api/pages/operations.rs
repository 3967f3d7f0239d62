//! Operations, and one of them.

use askama::Template;
use axum::Json;
use axum::extract::{Query, State};
use axum::response::Response;

use super::super::access::{Operator, Viewer};
use super::super::query::{RawPath, RawQuery};
use super::super::{Api, operations};
use super::frame::Frame;
use super::{shown, words};
use crate::operations::{Operation, OperationState};

#[derive(Template)]
#[template(path = "operations.html")]
struct OperationsPage {
    frame: Frame,
    operations: Vec<Operation>,
}

#[derive(Template)]
#[template(path = "operation.html")]
struct OperationPage {
    frame: Frame,
    operation: Operation,
}

pub(in crate::api) async fn list(State(api): State<Api>, viewer: Viewer, raw: RawQuery) -> Response {
    let listed = operations::list(State(api), raw).await;
    let frame = Frame::new(&viewer.0, "/operations").every(3);
    shown(listed.map(|Json(list)| OperationsPage { frame, operations: list.operations }), &viewer)
}

pub(in crate::api) async fn one(
    State(api): State<Api>,
    viewer: Viewer,
    path: RawPath,
    raw: RawQuery,
) -> Response {
    let (frame, raw) = Frame::new(&viewer.0, "/operations").noticing(raw);
    let asked = operations::get(State(api), path, raw).await;
    let page = asked.map(|Json(operation)| {
        let runs = operation.state == OperationState::Running;
        OperationPage { frame: frame.every(runs.into()), operation }
    });
    shown(page, &viewer)
}

pub(in crate::api) async fn abort(
    State(api): State<Api>,
    viewer: Viewer,
    operator: Operator,
    path: RawPath,
) -> Response {
    let id = path.as_ref().map(|path| path.0.clone()).unwrap_or_default();
    let outcome = operations::abort(State(api), operator, path, Ok(Query(Vec::new()))).await;
    super::done(outcome, &format!("/operations/{}?done=abort", super::super::query::encoded(&id)), &viewer)
}

/// How many, as the templates count.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
fn number(count: &usize) -> String {
    words::count(&u64::try_from(*count).unwrap_or(u64::MAX))
}
