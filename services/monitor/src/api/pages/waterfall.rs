//! A job's attempts over time: how long each waited, and how long it ran.

use jiff::Timestamp;
use windlass_core::history::{AttemptView, JobView};

/// An attempt, with its place in the whole time in hundredths of it.
#[derive(Debug, Clone)]
pub(super) struct Bar<'a> {
    pub(super) attempt: &'a AttemptView,
    pub(super) wait_seconds: Option<f64>,
    pub(super) run_seconds: Option<f64>,
    /// Where it begins to wait, to run, and ends.
    wait_at: f64,
    run_at: f64,
    end_at: f64,
}

/// The attempts of a job; those of which neither beginning nor end is known are left out.
pub(super) fn of(job: &JobView, now: Timestamp) -> Vec<Bar<'_>> {
    let begins = job.accepted_at.or_else(|| job.attempts.iter().find_map(|attempt| attempt.started_at));
    let Some(begins) = begins else { return Vec::new() };
    let ends = job.ended_at.unwrap_or(now).max(begins);
    let whole = ends.duration_since(begins).as_secs_f64().max(0.001);
    let place = |at: Timestamp| (at.duration_since(begins).as_secs_f64() / whole * 100.0).clamp(0.0, 100.0);
    let mut ready = begins;
    let mut bars = Vec::with_capacity(job.attempts.len());
    for attempt in &job.attempts {
        let Some(from) = attempt.started_at.or(attempt.ended_at) else { continue };
        let to = attempt.ended_at.unwrap_or(ends).max(from);
        bars.push(Bar {
            attempt,
            wait_seconds: attempt.started_at.map(|from| from.duration_since(ready).as_secs_f64().max(0.0)),
            run_seconds: attempt.started_at.map(|from| to.duration_since(from).as_secs_f64()),
            wait_at: place(ready),
            run_at: place(from),
            end_at: place(to),
        });
        ready = to;
    }
    bars
}

// === impl Bar ===

impl Bar<'_> {
    /// The class of its colour.
    pub(super) fn class(&self) -> &'static str {
        self.attempt.outcome.map_or("running", |outcome| outcome.as_str())
    }

    /// The drawing: numbers only, in parts of its place.
    pub(super) fn svg(&self) -> String {
        let width = |from: f64, to: f64, least: f64| (to - from).max(least);
        format!(
            "<svg class=\"lane\" width=\"100%\" height=\"16\" aria-hidden=\"true\">\
             <rect class=\"waits\" x=\"{:.2}%\" y=\"6\" width=\"{:.2}%\" height=\"4\"/>\
             <rect class=\"runs {}\" x=\"{:.2}%\" y=\"2\" width=\"{:.2}%\" height=\"12\" rx=\"2\"/></svg>",
            self.wait_at,
            width(self.wait_at, self.run_at, 0.0),
            self.class(),
            self.run_at.min(99.4),
            width(self.run_at, self.end_at, 0.6)
        )
    }
}
