//! Instants by the calendar and the clock of a zone.
//!
//! The pattern is matched against the civil calendar, without a zone; how civil times become instants is decided
//! here, because it is where schedulers differ:
//!
//! - A pattern with fixed hours and minutes (numbers, lists, ranges) means civil times. One that a change of the clock
//!   skips fires at the end of the gap, once for all that fall into it. One that comes twice fires the first time.
//! - A pattern with `*` or a step in its hours or minutes follows elapsed time: it fires at each instant whose civil
//!   time matches, so in both passes of a repeated hour, and never in a gap.
//!
//! If both day fields are restricted, a day matches by either; if one of them starts with `*` (as `*/2`), by both.

use std::sync::Arc;

use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

use super::Error;

/// A cron expression in a zone.
#[derive(Debug, Clone)]
pub struct Cron {
    expression: String,
    zone_name: String,
    zone: TimeZone,
    pattern: Arc<croner::Cron>,
    /// Hours and minutes are civil times, not a rhythm.
    fixed: bool,
}

/// What each field is, and its form.
const FIELDS: [(&str, &str); 6] = [
    ("cron.second", "0 to 59, `*`, lists, ranges, steps"),
    ("cron.minute", "0 to 59, `*`, lists, ranges, steps"),
    ("cron.hour", "0 to 23, `*`, lists, ranges, steps"),
    ("cron.day_of_month", "1 to 31, `*`, `?`, `L`, `15W`, `LW`, lists, ranges, steps"),
    ("cron.month", "1 to 12 or JAN to DEC, `*`, lists, ranges, steps"),
    ("cron.day_of_week", "0 to 7 or SUN to SAT, `*`, `?`, `5L`, `1#2`, lists, ranges, steps"),
];

const NAMES: &[(usize, &[&str])] = &[
    (4, &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]),
    (5, &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]),
];

/// A year from which a pattern is tried for a first match.
const FIRST_YEAR: i16 = 2000;

/// A repeated range or a gap has at most a day of seconds; a search through it must end.
const MAX_STEPS: usize = 200_000;

// === impl Cron ===

impl Cron {
    /// Takes five fields (minute, hour, day of month, month, day of week), or six with the second first, and the IANA
    /// name of a zone; an empty one means UTC.
    pub fn new(expression: &str, zone: &str) -> Result<Self, Error> {
        let upper = expression.to_ascii_uppercase();
        let mut fields: Vec<&str> = upper.split_ascii_whitespace().collect();
        if fields.len() == 5 {
            fields.insert(0, "0");
        }
        if fields.len() != FIELDS.len() {
            return Err(Error::new("cron", expression, "five fields, or six with the second first"));
        }
        for (place, field) in fields.iter().enumerate() {
            check_field(place, field)?;
        }
        // By both days where one of them starts with `*`; the parser knows only a plain `*`.
        let by_both = fields[3].starts_with('*') || fields[5].starts_with('*');
        let pattern = parser(by_both)
            .parse(&fields.join(" "))
            .map_err(|e| Error::new("cron", expression, format!("a cron expression ({e})")))?;
        let rhythm = |field: &str| field.contains(['*', '/']);
        let cron = Self {
            expression: expression.split_ascii_whitespace().collect::<Vec<_>>().join(" "),
            zone: find_zone(zone)?,
            zone_name: if zone.is_empty() { "UTC".to_owned() } else { zone.to_owned() },
            pattern: Arc::new(pattern),
            fixed: !rhythm(fields[1]) && !rhythm(fields[2]),
        };
        // A day that no month has.
        if cron.next_civil(DateTime::constant(FIRST_YEAR, 1, 1, 0, 0, 0, 0), true).is_none() {
            return Err(Error::new("cron", expression, "a date that exists"));
        }
        Ok(cron)
    }

    /// As it was written, with single spaces.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The IANA name of the zone.
    pub fn zone(&self) -> &str {
        &self.zone_name
    }

    /// The zone, to show instants in.
    pub const fn time_zone(&self) -> &TimeZone {
        &self.zone
    }

    pub(super) fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        if self.fixed { self.next_fixed(instant) } else { self.next_elapsed(instant) }
    }

    fn next_civil(&self, from: DateTime, inclusive: bool) -> Option<DateTime> {
        self.pattern.find_next_occurrence(&from, inclusive).ok()
    }

    /// The instants of the civil times never go backwards from one civil time to the next, so the first that lies
    /// after `instant` is the answer; those up to the civil time of `instant` lie before it or at it.
    fn next_fixed(&self, instant: Timestamp) -> Option<Timestamp> {
        let mut civil = self.zone.to_datetime(instant);
        for _ in 0..MAX_STEPS {
            civil = self.next_civil(civil, false)?;
            let at = self.instant_of(civil)?;
            if at > instant {
                return Some(at);
            }
        }
        None
    }

    /// The first of two, or the end of the gap.
    fn instant_of(&self, civil: DateTime) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(civil);
        let AmbiguousOffset::Gap { before, .. } = ambiguous.offset() else {
            return ambiguous.earlier().ok();
        };
        // By the offset before the gap, a time in the gap lies after its end, and no further than its length.
        let inside = before.to_timestamp(civil).ok()?;
        let changes = self.zone.preceding(inside.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?);
        changes.map(|change| change.timestamp()).next()
    }

    /// Between two changes of the clock the offset is constant, and civil times are instants.
    fn next_elapsed(&self, instant: Timestamp) -> Option<Timestamp> {
        let (mut from, mut inclusive) = (instant, false);
        for _ in 0..MAX_STEPS {
            let offset = self.zone.to_offset(from);
            let end = self.zone.following(from).next().map(|change| change.timestamp());
            let civil = self.next_civil(offset.to_datetime(from), inclusive)?;
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
        self.expression == other.expression && self.zone_name == other.zone_name
    }
}

impl Eq for Cron {}

fn parser(by_both: bool) -> CronParser {
    CronParser::builder().seconds(Seconds::Required).year(Year::Disallowed).dom_and_dow(by_both).build()
}

/// Checks one field alone, so that the error names it; the parser names no field, and takes a name in any of them.
fn check_field(place: usize, field: &str) -> Result<(), Error> {
    let (name, expected) = FIELDS[place];
    let invalid = || Error::new(name, field, expected);
    let names = NAMES.iter().find(|(of, _)| *of == place).map_or(&[][..], |(_, names)| *names);
    let is_word = |word: &str| {
        names.contains(&word)
            || !word.contains(|c: char| c.is_ascii_alphabetic())
            || (place == 3 && matches!(word.trim_matches(|c: char| c.is_ascii_digit()), "L" | "W" | "LW"))
            || (place == 5 && word.strip_suffix('L').is_some_and(|w| w.is_empty() || is_number_or(w, names)))
    };
    let in_form = field.split(',').all(|item| {
        !item.is_empty()
            && !item.contains('+')
            && item.split(['-', '/', '#']).all(|w| !w.is_empty() && is_word(w))
    });
    if !in_form {
        return Err(invalid());
    }
    let mut alone = ["0", "0", "0", "*", "*", "*"];
    alone[place] = field;
    parser(false).parse(&alone.join(" ")).map(|_| ()).map_err(|_| invalid())
}

fn is_number_or(word: &str, names: &[&str]) -> bool {
    word.bytes().all(|b| b.is_ascii_digit()) || names.contains(&word)
}

/// From the zones compiled in, so that every scheduler knows the same ones.
fn find_zone(name: &str) -> Result<TimeZone, Error> {
    if name.is_empty() {
        return Ok(TimeZone::UTC);
    }
    TimeZoneDatabase::bundled()
        .get(name)
        .map_err(|_| Error::new("zone", name, "the IANA name of a time zone, as Europe/Berlin"))
}

#[cfg(test)]
mod tests;
