//! What happened within a time: the report of `/api/v1/report`, for people.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::super::Api;
use super::super::access::Viewer;
use super::super::query::RawQuery;
use super::chart::Chart;
use super::frame::Frame;
use super::overview::charts;
use super::span::{SPANS, Span};
use super::{shown, words};
use crate::store::Report;

#[derive(Template)]
#[template(path = "report.html")]
struct ReportPage {
    frame: Frame,
    span: Span,
    report: Report,
    charts: Vec<Chart>,
}

pub(in crate::api) async fn page(State(api): State<Api>, viewer: Viewer, raw: RawQuery) -> Response {
    let page = async {
        let span = Span::read_or(raw, "24h")?;
        let frame = Frame::new(&viewer.0, "/reports");
        let parts = span.parts(frame.now);
        let from = parts.beginnings().first().copied().unwrap_or(frame.now);
        let course = api.store.course_of(parts, None).await?;
        let soon = frame.now.checked_add(jiff::SignedDuration::from_mins(1)).unwrap_or(frame.now);
        Ok(ReportPage {
            span,
            report: api.store.report(from, soon).await?,
            charts: charts(&course, parts.minutes),
            frame,
        })
    };
    shown(page.await, &viewer)
}
