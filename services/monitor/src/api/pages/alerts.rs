//! Alerts and silences.

use askama::Template;
use axum::Json;
use axum::extract::{Query, State};
use axum::response::Response;

use super::super::access::{Fields, Operator, Viewer};
use super::super::body::Body;
use super::super::query::{RawPath, RawQuery};
use super::super::schema::AlertList;
use super::super::{Api, alerts};
use super::frame::Frame;
use super::{shown, words};
use crate::alerts::Options;

#[derive(Template)]
#[template(path = "alerts.html")]
struct AlertsPage {
    frame: Frame,
    list: AlertList,
    rules: Vec<&'static str>,
}

pub(in crate::api) async fn page(State(api): State<Api>, viewer: Viewer, raw: RawQuery) -> Response {
    let (frame, raw) = Frame::new(&viewer.0, "/alerts").noticing(raw);
    let listed = alerts::list(State(api), raw).await;
    let rules = Options::default().rules().map(|(name, _)| name).to_vec();
    shown(listed.map(|Json(list)| AlertsPage { frame: frame.every(5), list, rules }), &viewer)
}

pub(in crate::api) async fn silence(
    State(api): State<Api>,
    viewer: Viewer,
    operator: Operator,
    fields: Fields,
) -> Response {
    let outcome = alerts::silence(State(api), operator, Ok(Query(Vec::new())), Body((&fields).into())).await;
    super::done(outcome, "/alerts?done=silence", &viewer)
}

pub(in crate::api) async fn end_silence(
    State(api): State<Api>,
    viewer: Viewer,
    operator: Operator,
    path: RawPath,
) -> Response {
    let outcome = alerts::end_silence(State(api), operator, path, Ok(Query(Vec::new()))).await;
    super::done(outcome, "/alerts?done=end-silence", &viewer)
}
