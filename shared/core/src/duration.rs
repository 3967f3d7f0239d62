//! Durations as people and headers write them.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// What is expected, for an error.
pub const EXPECTED: &str = "a duration as 250ms, 30s, 1h 30m, 2days or PT30S";

/// Reads a duration of zero or more: the friendly form of jiff, or ISO 8601. A day has 24 hours here; months and years
/// have no length.
pub fn parse(text: &str) -> Option<Duration> {
    let span: Span = text.trim().parse().ok()?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_durations_in_many_ways() {
        for (text, seconds) in [
            ("30s", 30.0),
            ("250ms", 0.25),
            ("1h 30m", 5400.0),
            ("1h30m", 5400.0),
            ("PT30S", 30.0),
            ("2days", 172_800.0),
            ("2d", 172_800.0),
            ("1 day", 86_400.0),
            ("P1D", 86_400.0),
            ("1week", 604_800.0),
            ("366days", 31_622_400.0),
            ("0s", 0.0),
        ] {
            assert_eq!(parse(text).map(|d| d.as_secs_f64()), Some(seconds), "{text}");
        }
        for text in ["", "7", "-1s", "1 month", "1y", "soon", "1s ago", "99999999999999w"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
