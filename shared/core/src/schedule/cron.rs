//! Instants by the calendar and the clock of a zone.
//!
//! The dialect is our own, because no library has it exactly, and because when a schedule fires is what this service
//! is for. The text is read in `parse`, and `pattern` matches it against the civil calendar, without a zone. How civil
//! times become instants is decided here, because it is where schedulers differ:
//!
//! - A pattern with fixed hours and minutes (numbers, lists, ranges) means civil times. One that a change of the clock
//!   skips fires at the end of the gap, once for all that fall into it. One that comes twice fires the first time.
//! - A pattern with `*` or a step in its hours or minutes follows elapsed time: it fires at each instant whose civil
//!   time matches, so in both passes of a repeated hour, and never in a gap.
//!
//! If both day fields are restricted, a day matches by either; if one of them starts with `*` (as `*/2`), by both.

mod parse;
mod pattern;

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

use super::Error;
use pattern::Pattern;

/// A cron expression in a zone.
#[derive(Debug, Clone)]
pub struct Cron {
    expression: String,
    zone: Zone,
    pattern: Arc<Pattern>,
    /// Hours and minutes are civil times, not a rhythm.
    fixed: bool,
}

/// A time zone with the name that it was given by.
#[derive(Debug, Clone)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

/// A change of the clock is a day long at most; a search through it, or over all changes there are, must end.
const MAX_STEPS: usize = 200_000;

// === impl Zone ===

impl Zone {
    /// Takes an IANA name; an empty one means UTC.
    ///
    /// The zones are those compiled in, so that every scheduler knows the same ones.
    pub fn new(name: &str) -> Result<Self, Error> {
        if name.is_empty() {
            return Ok(Self { name: "UTC".to_owned(), zone: TimeZone::UTC });
        }
        let zone = TimeZoneDatabase::bundled()
            .get(name)
            .map_err(|_| Error::new("zone", name, "the IANA name of a time zone, as Europe/Berlin"))?;
        Ok(Self { name: name.to_owned(), zone })
    }

    /// As it was given; UTC if it was empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// To show instants in.
    pub const fn time_zone(&self) -> &TimeZone {
        &self.zone
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

// === impl Cron ===

impl Cron {
    /// Takes five fields (minute, hour, day of month, month, day of week), six with the second first, seven with the
    /// year last, or a name as `@daily`; and the IANA name of a zone, of which an empty one means UTC. The zone may
    /// also stand before the expression, as `TZ=Europe/Berlin` or `CRON_TZ=Europe/Berlin`.
    pub fn new(expression: &str, zone: &str) -> Result<Self, Error> {
        let (own_zone, from) = split_zone(expression);
        let zone = match (own_zone, zone) {
            (Some(own), zone) if !zone.is_empty() && zone != own => {
                return Err(Error::new("zone", zone, format!("one zone: the expression names {own}")));
            }
            (Some(own), _) => Zone::new(own)
                .map_err(|e| e.at_character(expression.find('=').unwrap_or_default() + 2, expression))?,
            (None, zone) => Zone::new(zone)?,
        };
        let parsed = parse::parse(expression, from)?;
        let written = expression.get(from..).unwrap_or_default();
        Ok(Self {
            expression: written.split_whitespace().collect::<Vec<_>>().join(" "),
            zone,
            pattern: Arc::new(parsed.pattern),
            fixed: parsed.fixed,
        })
    }

    /// As it was written, with single spaces.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// In which it is read.
    pub const fn zone(&self) -> &Zone {
        &self.zone
    }

    pub(super) fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        if self.fixed { self.next_fixed(instant) } else { self.next_elapsed(instant) }
    }

    /// The instants of the civil times never go backwards from one civil time to the next, so the first that lies
    /// after `instant` is the answer; those up to the civil time of `instant` lie before it or at it.
    fn next_fixed(&self, instant: Timestamp) -> Option<Timestamp> {
        let mut civil = self.zone.zone.to_datetime(instant);
        for _ in 0..MAX_STEPS {
            civil = self.pattern.next(civil, false)?;
            let at = self.instant_of(civil)?;
            if at > instant {
                return Some(at);
            }
        }
        None
    }

    /// The first of two, or the end of the gap.
    fn instant_of(&self, civil: DateTime) -> Option<Timestamp> {
        let ambiguous = self.zone.zone.to_ambiguous_timestamp(civil);
        let AmbiguousOffset::Gap { before, after } = ambiguous.offset() else {
            return ambiguous.earlier().ok();
        };
        // By the offset before the gap, a time in the gap lies after its end, and no further than its length.
        let inside = before.to_timestamp(civil).ok()?;
        let changes = self.zone.zone.preceding(inside.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?);
        changes
            .map(|change| (change.timestamp(), change.offset()))
            .find(|(_, to)| *to == after)
            .map(|(at, _)| at)
    }

    /// Between two changes of the clock the offset is constant, and civil times are instants.
    fn next_elapsed(&self, instant: Timestamp) -> Option<Timestamp> {
        let zone = &self.zone.zone;
        let (mut from, mut inclusive) = (instant, false);
        for _ in 0..MAX_STEPS {
            let offset = zone.to_offset(from);
            let end = zone.following(from).next().map(|change| change.timestamp());
            let civil = self.pattern.next(offset.to_datetime(from), inclusive)?;
            let at = offset.to_timestamp(civil).ok();
            match end {
                Some(end) if at.is_none_or(|at| at >= end) => (from, inclusive) = (end, true),
                _ => return at,
            }
        }
        None
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.expression == other.expression && self.zone == other.zone
    }
}

impl Eq for Cron {}

/// The zone before an expression, and where the expression begins.
fn split_zone(text: &str) -> (Option<&str>, usize) {
    let start = text.len() - text.trim_start().len();
    let trimmed = text.trim_start();
    let Some(named) = ["TZ=", "CRON_TZ="].iter().find_map(|prefix| trimmed.strip_prefix(prefix)) else {
        return (None, 0);
    };
    let zone = named.split(char::is_whitespace).next().unwrap_or_default();
    (Some(zone), start + trimmed.len() - named.len() + zone.len())
}

#[cfg(test)]
mod independent;
#[cfg(test)]
mod others;
#[cfg(test)]
mod tests;
