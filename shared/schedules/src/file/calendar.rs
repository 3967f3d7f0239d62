//! The events of a file in iCalendar's form (RFC 5545), as times to leave out.
//!
//! What is read: `DTSTART`, `DTEND` or `DURATION` of each `VEVENT`, days or times in UTC, in a named zone or without
//! one; recurrence by `FREQ` with `INTERVAL`, `COUNT` and `UNTIL`; `EXDATE`; cancelled events are passed over. A rule
//! that cannot be followed is an error, because a holiday that is left out by mistake fires.

use std::collections::HashMap;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan as _};

/// Times to leave out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calendar {
    /// From a first to a last day.
    pub days: Vec<(Date, Date)>,
    /// From an instant to another, which does not belong to it.
    pub spans: Vec<(Timestamp, Timestamp)>,
}

/// A line of the file is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct Error {
    /// From 1.
    pub line: usize,
    /// What it is, and what was expected.
    pub reason: String,
}

/// A property of an event: `NAME;PARAMETER=…:value`.
#[derive(Debug, Clone)]
struct Property {
    line: usize,
    parameters: String,
    value: String,
}

/// A day, or a time of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    Day(Date),
    /// As the clock of the zone shows it.
    Civil(DateTime),
}

/// Of one event.
const MAX_OCCURRENCES: usize = 5000;

// === impl Calendar ===

impl Calendar {
    /// Takes these as well.
    pub fn join(&mut self, other: Self) {
        self.days.extend(other.days);
        self.spans.extend(other.spans);
    }
}

/// Reads the events between two days; times without a zone are of this one.
pub fn read(text: &str, zone: &TimeZone, (first, last): (Date, Date)) -> Result<Calendar, Error> {
    let mut calendar = Calendar::default();
    let mut event: Option<HashMap<String, Property>> = None;
    let mut excluded = Vec::new();
    // Components within an event, as alarms.
    let mut within = 0;
    let mut is_calendar = false;
    for (line, text) in unfold(text) {
        let error = |reason: &str| Error { line, reason: reason.to_owned() };
        let (head, value) =
            text.split_once(':').ok_or_else(|| error("expected a name and a value with `:` between"))?;
        let (name, parameters) = head.split_once(';').unwrap_or((head, ""));
        let (name, value) = (name.to_ascii_uppercase(), value.trim());
        match (name.as_str(), value.to_ascii_uppercase().as_str()) {
            ("BEGIN", "VCALENDAR") => is_calendar = true,
            ("BEGIN", "VEVENT") => (event, within) = (Some(HashMap::new()), 0),
            ("BEGIN", _) if event.is_some() => within += 1,
            ("END", "VEVENT") => {
                if let Some(event) = event.take() {
                    add(&mut calendar, &event, &std::mem::take(&mut excluded), zone, (first, last))?;
                }
            }
            ("END", _) if event.is_some() => within -= 1,
            _ => {}
        }
        if let Some(event) = event.as_mut().filter(|_| within == 0) {
            let property = Property { line, parameters: parameters.to_owned(), value: value.to_owned() };
            if name == "EXDATE" {
                excluded.push(property);
            } else {
                event.insert(name, property);
            }
        }
    }
    if !is_calendar {
        return Err(Error { line: 1, reason: "expected an iCalendar file, with BEGIN:VCALENDAR".into() });
    }
    Ok(calendar)
}

/// Lines with their number; what begins with a space goes on with the line before.
fn unfold(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(rest), Some((_, before))) => before.push_str(rest),
            _ if line.trim().is_empty() => {}
            _ => lines.push((number + 1, line.to_owned())),
        }
    }
    lines
}

fn add(
    calendar: &mut Calendar,
    event: &HashMap<String, Property>,
    excluded: &[Property],
    zone: &TimeZone,
    (first, last): (Date, Date),
) -> Result<(), Error> {
    if event.get("STATUS").is_some_and(|status| status.value.eq_ignore_ascii_case("CANCELLED")) {
        return Ok(());
    }
    let Some(start) = event.get("DTSTART") else { return Ok(()) };
    let (begin, own_zone) = time(start, zone)?;
    let mut without = Vec::new();
    for property in excluded {
        for value in property.value.split(',') {
            without.push(time(&Property { value: value.to_owned(), ..property.clone() }, zone)?.0);
        }
    }
    let length = length(event, begin, &own_zone, zone)?;
    for at in occurrences(event, begin, last)? {
        if without.contains(&at) {
            continue;
        }
        let failed = |_| Error { line: start.line, reason: "a time beyond the calendar".into() };
        match at {
            Time::Day(day) => {
                let end = day.checked_add(length).and_then(jiff::civil::Date::yesterday).map_err(failed)?;
                if end >= first {
                    calendar.days.push((day, end.max(day)));
                }
            }
            Time::Civil(civil) => {
                let from = own_zone.to_zoned(civil).map_err(failed)?;
                let until = from.checked_add(length).map_err(failed)?.timestamp();
                if until > from.timestamp() && civil.date() >= first {
                    calendar.spans.push((from.timestamp(), until));
                }
            }
        }
    }
    Ok(())
}

/// How long an event is.
fn length(
    event: &HashMap<String, Property>,
    begin: Time,
    own_zone: &TimeZone,
    zone: &TimeZone,
) -> Result<Span, Error> {
    if let Some(duration) = event.get("DURATION") {
        let wrong = |_| Error {
            line: duration.line,
            reason: format!("`{}` is not a duration: expected as P1D or PT2H", duration.value),
        };
        return duration.value.parse().map_err(wrong);
    }
    let Some(property) = event.get("DTEND") else {
        return Ok(if matches!(begin, Time::Day(_)) { 1.day() } else { Span::new() });
    };
    let wrong = |reason: &str| Error { line: property.line, reason: reason.to_owned() };
    let (end, end_zone) = time(property, zone)?;
    let length = match (begin, end) {
        (Time::Day(begin), Time::Day(end)) => begin.until(end).ok().filter(|length| !length.is_negative()),
        (Time::Civil(begin), Time::Civil(end)) => {
            let at = |civil, zone: &TimeZone| zone.to_zoned(civil).map(|at| at.timestamp());
            let pair = at(begin, own_zone).and_then(|from| Ok((from, at(end, &end_zone)?)));
            pair.ok().map(|(from, until)| until - from).filter(|length| !length.is_negative())
        }
        _ => return Err(wrong("a day where DTSTART has a time, or the other way round")),
    };
    length.ok_or_else(|| wrong("an end before its start"))
}

/// A day or a time, and its zone.
fn time(property: &Property, zone: &TimeZone) -> Result<(Time, TimeZone), Error> {
    let wrong = |reason: String| Error { line: property.line, reason };
    let value = property.value.trim();
    let not_a_time =
        || wrong(format!("`{value}` is no time: expected as 20261224, 20261224T180000 or 20261224T180000Z"));
    if value.len() == 8 {
        return Ok((Time::Day(value.parse().map_err(|_| not_a_time())?), zone.clone()));
    }
    let (civil, is_utc) = value.strip_suffix('Z').map_or((value, false), |civil| (civil, true));
    let civil = Time::Civil(civil.parse().map_err(|_| not_a_time())?);
    let named = property.parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.eq_ignore_ascii_case("TZID").then(|| value.trim_matches('"'))
    });
    match named.filter(|_| !is_utc) {
        _ if is_utc => Ok((civil, TimeZone::UTC)),
        None => Ok((civil, zone.clone())),
        Some(name) => {
            let named = windlass_core::schedule::Zone::new(name).map_err(|error| wrong(error.to_string()))?;
            Ok((civil, named.time_zone().clone()))
        }
    }
}

/// When an event begins, each time, up to this day.
fn occurrences(event: &HashMap<String, Property>, begin: Time, last: Date) -> Result<Vec<Time>, Error> {
    let Some(rule) = event.get("RRULE") else { return Ok(vec![begin]) };
    let wrong = |part: &str| Error {
        line: rule.line,
        reason: format!("`{part}` cannot be followed: expected FREQ with INTERVAL, COUNT and UNTIL alone"),
    };
    let date = |time| match time {
        Time::Day(day) => day,
        Time::Civil(civil) => civil.date(),
    };
    let first = date(begin);
    let (mut step, mut interval, mut count, mut until) = (None, 1_i64, MAX_OCCURRENCES, last);
    for part in rule.value.to_ascii_uppercase().split(';').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').ok_or_else(|| wrong(part))?;
        match (name, value) {
            ("FREQ", "YEARLY") => step = Some(1.year()),
            ("FREQ", "MONTHLY") => step = Some(1.month()),
            ("FREQ", "WEEKLY") => step = Some(1.week()),
            ("FREQ", "DAILY") => step = Some(1.day()),
            ("INTERVAL", value) => {
                interval =
                    value.parse().ok().filter(|n| (1..=1000).contains(n)).ok_or_else(|| wrong(part))?;
            }
            ("COUNT", value) => count = value.parse().map_err(|_| wrong(part))?,
            ("UNTIL", value) => {
                let day =
                    value.get(..8).and_then(|day| day.parse::<Date>().ok()).ok_or_else(|| wrong(part))?;
                until = until.min(day);
            }
            // They say again what the first day says.
            ("WKST", _) => {}
            ("BYMONTH", value) if value.parse() == Ok(first.month()) => {}
            ("BYMONTHDAY", value) if value.parse() == Ok(first.day()) => {}
            _ => return Err(wrong(part)),
        }
    }
    let step = step.ok_or_else(|| wrong(&rule.value))?;
    let mut found = Vec::new();
    for number in 0..i64::try_from(MAX_OCCURRENCES).unwrap_or(i64::MAX) {
        let Ok(moved) = step.checked_mul(number * interval) else { break };
        let next = match begin {
            Time::Day(day) => day.checked_add(moved).map(Time::Day),
            Time::Civil(civil) => civil.checked_add(moved).map(Time::Civil),
        };
        let Ok(next) = next else { break };
        if date(next) > until || found.len() >= count {
            break;
        }
        // The 31st of a shorter month, or the 29th of February: there is none.
        let months = step.get_months() != 0 || step.get_years() != 0;
        if !months || date(next).day() == first.day() {
            found.push(next);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEARS: (&str, &str) = ("2025-01-01", "2028-12-31");

    fn events(body: &str) -> Result<Calendar, Error> {
        let text = format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{body}END:VCALENDAR\r\n");
        let zone = windlass_core::schedule::Zone::new("Europe/Berlin").unwrap();
        read(&text, zone.time_zone(), (YEARS.0.parse().unwrap(), YEARS.1.parse().unwrap()))
    }

    fn event(lines: &str) -> Result<Calendar, Error> {
        events(&format!("BEGIN:VEVENT\r\n{lines}\r\nEND:VEVENT\r\n"))
    }

    fn shown(calendar: &Calendar) -> Vec<String> {
        let days = calendar.days.iter().map(|(first, last)| format!("{first}/{last}"));
        days.chain(calendar.spans.iter().map(|(from, until)| format!("{from}/{until}"))).collect()
    }

    #[test]
    fn events_are_days_or_spans() {
        for (lines, expected) in [
            ("DTSTART;VALUE=DATE:20261224\r\nDTEND;VALUE=DATE:20261227", &["2026-12-24/2026-12-26"][..]),
            ("DTSTART;VALUE=DATE:20261224", &["2026-12-24/2026-12-24"]),
            ("DTSTART;VALUE=DATE:20261224\r\nDURATION:P2D", &["2026-12-24/2026-12-25"]),
            (
                "DTSTART:20261224T100000Z\r\nDTEND:20261224T120000Z",
                &["2026-12-24T10:00:00Z/2026-12-24T12:00:00Z"],
            ),
            ("DTSTART:20261224T100000\r\nDURATION:PT2H", &["2026-12-24T09:00:00Z/2026-12-24T11:00:00Z"]),
            (
                "DTSTART;TZID=America/New_York:20261224T100000\r\nDTEND;TZID=\"America/New_York\":20261224T1\r\n 10000",
                &["2026-12-24T15:00:00Z/2026-12-24T16:00:00Z"],
            ),
            ("DTSTART:20261224T100000Z", &[]),
            ("DTSTART;VALUE=DATE:20261224\r\nSTATUS:CANCELLED", &[]),
            ("SUMMARY:without a time", &[]),
            // Long past.
            ("DTSTART;VALUE=DATE:20011224", &[]),
            (
                "DTSTART;VALUE=DATE:20261224\r\nBEGIN:VALARM\r\nDTSTART:x\r\nEND:VALARM",
                &["2026-12-24/2026-12-24"],
            ),
        ] {
            assert_eq!(shown(&event(lines).unwrap()), expected, "{lines}");
        }
    }

    #[test]
    fn rules_are_followed_or_refused() {
        for (start, rule, expected) in [
            (
                "20201225",
                "FREQ=YEARLY",
                &[
                    "2025-12-25/2025-12-25",
                    "2026-12-25/2026-12-25",
                    "2027-12-25/2027-12-25",
                    "2028-12-25/2028-12-25",
                ][..],
            ),
            (
                "20260101",
                "FREQ=YEARLY;COUNT=2;BYMONTH=1;BYMONTHDAY=1",
                &["2026-01-01/2026-01-01", "2027-01-01/2027-01-01"],
            ),
            (
                "20260101",
                "FREQ=MONTHLY;INTERVAL=6;UNTIL=20260801",
                &["2026-01-01/2026-01-01", "2026-07-01/2026-07-01"],
            ),
            ("20261231", "FREQ=MONTHLY;COUNT=2", &["2026-12-31/2026-12-31", "2027-01-31/2027-01-31"]),
            ("20240229", "FREQ=YEARLY", &["2028-02-29/2028-02-29"]),
            ("20281226", "FREQ=WEEKLY", &["2028-12-26/2028-12-26"]),
        ] {
            let lines = format!("DTSTART;VALUE=DATE:{start}\r\nRRULE:{rule}");
            assert_eq!(shown(&event(&lines).unwrap()), expected, "{rule}");
        }
        let excluded =
            "DTSTART;VALUE=DATE:20260101\r\nRRULE:FREQ=DAILY;COUNT=3\r\nEXDATE;VALUE=DATE:20260102";
        assert_eq!(shown(&event(excluded).unwrap()), ["2026-01-01/2026-01-01", "2026-01-03/2026-01-03"]);
        for (lines, line) in [
            ("DTSTART:20260101\r\nRRULE:FREQ=YEARLY;BYDAY=1MO", 5),
            ("DTSTART:20260101\r\nRRULE:FREQ=HOURLY", 5),
            ("DTSTART:2026", 4),
            ("DTSTART:20260101\r\nDTEND:20250101", 5),
            ("DTSTART;TZID=Mars:20260101T000000", 4),
            ("no colon", 4),
        ] {
            assert_eq!(event(lines).unwrap_err().line, line, "{lines}");
        }
        let utc = TimeZone::UTC;
        let years = (YEARS.0.parse().unwrap(), YEARS.1.parse().unwrap());
        assert_eq!(read("a: b", &utc, years).unwrap_err().line, 1);
    }
}
