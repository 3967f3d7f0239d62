//! What happened within a time: the report of `/api/v1/report`, for people; and the reports that were made by themselves.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::super::access::Viewer;
use super::super::query::{self, RawPath, RawQuery};
use super::super::{Api, reports};
use super::chart::Chart;
use super::frame::Frame;
use super::overview::charts;
use super::span::{SPANS, Span};
use super::{shown, words};
use crate::store::{StoredReport, Summary};

#[derive(Template)]
#[template(path = "report.html")]
struct ReportPage {
    frame: Frame,
    span: Span,
    report: Summary,
    charts: Vec<Chart>,
    /// That were made by themselves.
    stored: Vec<StoredReport>,
}

/// One that was made by itself.
#[derive(Template)]
#[template(path = "stored_report.html")]
struct StoredPage {
    frame: Frame,
    stored: StoredReport,
    /// HTML in which all that jobs bring is escaped (`report/html.rs`).
    body: String,
}

/// So many are listed.
const MOST_STORED: u32 = 100;

pub(in crate::api) async fn page(State(api): State<Api>, viewer: Viewer, raw: RawQuery) -> Response {
    let page = async {
        let span = Span::read_or(raw, "24h")?;
        let frame = Frame::new(&viewer.0, "/reports");
        let parts = span.parts(frame.now);
        let from = parts.beginnings().first().copied().unwrap_or(frame.now);
        let soon = frame.now.checked_add(jiff::SignedDuration::from_mins(1)).unwrap_or(frame.now);
        let (course, report, stored) = tokio::try_join!(
            api.store.course_of(parts, None),
            api.store.summary(from, soon),
            api.store.reports(None, MOST_STORED)
        )?;
        Ok(ReportPage { span, report, charts: charts(&course, parts.minutes), stored, frame })
    };
    shown(Box::pin(page).await, &viewer)
}

pub(in crate::api) async fn stored(
    State(api): State<Api>,
    viewer: Viewer,
    path: RawPath,
    raw: RawQuery,
) -> Response {
    let page = async {
        query::none(raw)?;
        let (stored, bundle) = reports::find(&api, path).await?;
        Ok(StoredPage { frame: Frame::new(&viewer.0, "/reports"), stored, body: bundle.to_body() })
    };
    shown(page.await, &viewer)
}
