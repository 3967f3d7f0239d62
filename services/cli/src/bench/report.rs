//! Percentiles, and how they are shown.

use std::time::Duration;

use serde::Serialize;

use super::Error;
use super::usage::Share;
use crate::output::{self, Format};

/// Of many durations, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Percentiles {
    #[serde(rename = "p50_ms")]
    pub(super) p50: f64,
    #[serde(rename = "p99_ms")]
    pub(super) p99: f64,
    #[serde(rename = "p999_ms")]
    pub(super) p999: f64,
    #[serde(rename = "max_ms")]
    pub(super) max: f64,
}

// === impl Percentiles ===

impl Percentiles {
    /// Of these, exactly; zero of none.
    pub(super) fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        let at = |per_mille: usize| {
            // The nearest rank.
            let rank = (durations.len() * per_mille).div_ceil(1000);
            durations.get(rank.saturating_sub(1)).map_or(0.0, |duration| duration.as_secs_f64() * 1000.0)
        };
        Self { p50: at(500), p99: at(990), p999: at(999), max: at(1000) }
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { p50, p99, p999, max } = self;
        write!(f, "p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms, max {max:.2} ms")
    }
}

/// Prints one object, or what it says for people.
pub(super) fn show<R: Serialize>(
    report: &R,
    format: Format,
    for_people: impl FnOnce(&R) -> String,
) -> Result<(), Error> {
    let shown = if format == Format::Json { output::json(report) } else { output::text(&for_people(report)) };
    shown.map_err(Error::Print)
}

/// A table of what processes used, for so many jobs.
pub(super) fn of_processes(processes: &[Share], jobs: u64) -> String {
    let mut text = "process             CPU s  us/job  peak MB\n".to_owned();
    for Share { process, cpu_seconds, peak_memory_mb, .. } in processes {
        let each = cpu_seconds * 1e6 / jobs as f64;
        text = format!("{text}{process:<18}{cpu_seconds:>7.2}{each:>8.1}{peak_memory_mb:>9.1}\n");
    }
    text
}

/// The middle of these.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (Some(value), 1) => *value,
        (Some(value), _) => f64::midpoint(*value, values[middle - 1]),
        (None, _) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rank_is_the_nearest() {
        let of = |count: u64| Percentiles::of((1..=count).rev().map(Duration::from_millis).collect());
        assert_eq!(of(100), Percentiles { p50: 50.0, p99: 99.0, p999: 100.0, max: 100.0 });
        assert_eq!(of(1), Percentiles { p50: 1.0, p99: 1.0, p999: 1.0, max: 1.0 });
        assert_eq!(of(0), Percentiles { p50: 0.0, p99: 0.0, p999: 0.0, max: 0.0 });
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(vec![4.0, 1.0]).to_bits(), 2.5_f64.to_bits());
        assert_eq!(median(Vec::new()).to_bits(), 0.0_f64.to_bits());
    }
}
