//! The time that a page tells of, chosen by `?range=`.

use jiff::{SignedDuration, Timestamp};

use super::super::Problem;
use super::super::query::{Parameters, RawQuery};
use crate::store::Parts;

/// How far a page looks back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// As in the address.
    pub(super) word: &'static str,
    /// For people.
    pub(super) name: &'static str,
    hours: i64,
    /// Of a part of a chart.
    part_minutes: i64,
}

/// All that can be chosen.
pub(super) const SPANS: [Span; 5] = [
    Span { word: "1h", name: "1 hour", hours: 1, part_minutes: 1 },
    Span { word: "6h", name: "6 hours", hours: 6, part_minutes: 5 },
    Span { word: "24h", name: "24 hours", hours: 24, part_minutes: 60 },
    Span { word: "7d", name: "7 days", hours: 24 * 7, part_minutes: 60 * 6 },
    Span { word: "30d", name: "30 days", hours: 24 * 30, part_minutes: 60 * 24 },
];

// === impl Span ===

impl Span {
    /// What a query asks for; the first, if for nothing.
    pub(super) fn read(raw: RawQuery) -> Result<Self, Problem> {
        Self::read_or(raw, SPANS[0].word)
    }

    /// What a query asks for, or this one.
    pub(super) fn read_or(raw: RawQuery, otherwise: &str) -> Result<Self, Problem> {
        let mut parameters = Parameters::new(raw)?;
        let word: Option<String> = parameters.take("range", "a range")?;
        parameters.end("range")?;
        let word = word.unwrap_or_else(|| otherwise.to_owned());
        let found = SPANS.into_iter().find(|span| span.word == word);
        found.ok_or_else(|| {
            let all = SPANS.map(|span| span.word).join(", ");
            Problem::bad("range", "range: is not known", format!("one of {all}"))
        })
    }

    /// The parts of its charts, up to now.
    pub(super) fn parts(self, now: Timestamp) -> Parts {
        let back = SignedDuration::from_hours(self.hours) - SignedDuration::from_mins(self.part_minutes);
        Parts { from: now.checked_sub(back).unwrap_or(now), to: now, minutes: self.part_minutes }
    }
}
