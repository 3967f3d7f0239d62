//! The first page: how the fleet does.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::super::access::Viewer;
use super::super::backlog::Backlog;
use super::super::query::RawQuery;
use super::super::{Api, Problem};
use super::chart::{Chart, Form, Unit};
use super::frame::Frame;
use super::span::{SPANS, Span};
use super::{shown, words};
use crate::progress::Progress;
use crate::store::{Failure, FiredAlert, Gap, Part, QueueCounts};

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    span: Span,
    totals: Part,
    minutes: f64,
    backlog: Backlog,
    queues: Vec<QueueCounts>,
    charts: Vec<Chart>,
    failures: Vec<Failure>,
    firing: Vec<FiredAlert>,
    progress: Progress,
    gap: Option<Gap>,
    lost: u64,
}

/// Errors on this page.
const MOST_FAILURES: usize = 8;
const MOST_ALERTS: u32 = 20;

pub(in crate::api) async fn page(State(api): State<Api>, viewer: Viewer, raw: RawQuery) -> Response {
    shown(overview(&api, &viewer, raw).await, &viewer)
}

async fn overview(api: &Api, viewer: &Viewer, raw: RawQuery) -> Result<OverviewPage, Problem> {
    let span = Span::read(raw)?;
    let frame = Frame::new(&viewer.0, "/").follows("");
    let parts = span.parts(frame.now);
    let beginning = parts.beginnings().first().copied().unwrap_or(frame.now);
    let course = api.store.course_of(parts, None).await?;
    let mut failures = api.store.failures(beginning, frame.now).await?;
    failures.truncate(MOST_FAILURES);
    let queues = api.store.queues(frame.now).await?;
    let progress = api.progress.borrow().clone();
    let mut totals = Part::default();
    for part in &course {
        totals.add(part);
    }
    Ok(OverviewPage {
        span,
        totals,
        minutes: frame.now.duration_since(beginning).as_secs_f64() / 60.0,
        backlog: Backlog::of(&queues),
        charts: charts(&course, parts.minutes),
        queues,
        failures,
        firing: api.store.alerts(false, MOST_ALERTS).await?,
        progress,
        gap: api.store.gaps(1).await?.pop(),
        lost: api.store.count_lost().await?.values().sum(),
        frame,
    })
}

/// Of what happened in each part.
pub(super) fn charts(course: &[Part], minutes: i64) -> Vec<Chart> {
    #[allow(clippy::cast_precision_loss, reason = "a drawing")]
    let some = |count: u64| Some(count as f64);
    let chart = |title,
                 series: &[(&'static str, &'static str)],
                 form,
                 unit,
                 values: &dyn Fn(&Part) -> Vec<Option<f64>>| Chart {
        title,
        series: series.to_vec(),
        points: course.iter().map(|part| (part.at, values(part))).collect(),
        form,
        unit,
        minutes,
    };
    let percentiles = [("p50", "first"), ("p95", "second"), ("p99", "third")];
    vec![
        chart(
            "Jobs that ended",
            &[("succeeded", "good"), ("dead", "bad"), ("cancelled or expired", "dim")],
            Form::Bars,
            Unit::Count,
            &|part| vec![some(part.succeeded), some(part.dead), some(part.dropped)],
        ),
        chart(
            "Accepted jobs and failed attempts",
            &[("accepted", "first"), ("failed attempts", "bad")],
            Form::Lines,
            Unit::Count,
            &|part| vec![some(part.accepted), some(part.failed_attempts)],
        ),
        chart("Wait in the queue", &percentiles, Form::Lines, Unit::Seconds, &|part| {
            [500, 950, 990].map(|rank| part.wait.seconds_at(rank)).to_vec()
        }),
        chart("Run of an attempt", &percentiles, Form::Lines, Unit::Seconds, &|part| {
            [500, 950, 990].map(|rank| part.run.seconds_at(rank)).to_vec()
        }),
    ]
}

// === impl OverviewPage ===

impl OverviewPage {
    /// Jobs that ended in a minute, on average.
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    fn per_minute(&self) -> f64 {
        self.totals.ended() as f64 / self.minutes.max(1.0)
    }
}
