//! The log of actions.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::super::Api;
use super::super::access::Viewer;
use super::super::log::{self, ActionList};
use super::super::query::RawQuery;
use super::frame::Frame;
use super::{shown, words};

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage {
    frame: Frame,
    list: ActionList,
}

pub(in crate::api) async fn page(State(api): State<Api>, viewer: Viewer, raw: RawQuery) -> Response {
    let listed = log::page(&api, raw).await;
    shown(listed.map(|list| LogPage { frame: Frame::new(&viewer.0, "/log"), list }), &viewer)
}
