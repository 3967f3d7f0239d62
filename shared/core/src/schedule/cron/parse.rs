//! The text of a cron expression.
//!
//! What is wrong is said with the field, the character and what was expected there.

use super::super::Error;
use super::pattern::{Days, Pattern, Set, Weekdays, Years};

/// A field: its place in the full form, and what it takes.
struct Field {
    name: &'static str,
    min: i16,
    max: i16,
    names: &'static [&'static str],
    /// Of a number.
    number: &'static str,
    /// Of all it takes.
    form: &'static str,
}

const MONTHS: &[&str] = &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const fn field(name: &'static str, min: i16, max: i16, number: &'static str, form: &'static str) -> Field {
    Field { name, min, max, names: &[], number, form }
}

const SECOND: Field = field("cron.second", 0, 59, "0 to 59", "0 to 59, `*`, lists, ranges, steps");
const MINUTE: Field = field("cron.minute", 0, 59, "0 to 59", "0 to 59, `*`, lists, ranges, steps");
const HOUR: Field = field("cron.hour", 0, 23, "0 to 23", "0 to 23, `*`, lists, ranges, steps");
const DAY: Field = field(
    "cron.day_of_month",
    1,
    31,
    "1 to 31",
    "1 to 31, `*`, `?`, `L`, `L-3`, `15W`, `LW`, lists, ranges, steps",
);
const MONTH: Field = Field {
    names: MONTHS,
    ..field("cron.month", 1, 12, "1 to 12 or JAN to DEC", "1 to 12 or JAN to DEC, `*`, lists, ranges, steps")
};
const WEEKDAY: Field = Field {
    names: WEEKDAYS,
    ..field(
        "cron.day_of_week",
        0,
        7,
        "0 to 7 or SUN to SAT",
        "0 to 7 or SUN to SAT, `*`, `?`, `L`, `5L`, `1#2`, lists, ranges, steps",
    )
};
const YEAR: Field = field("cron.year", 1970, 9999, "1970 to 9999", "1970 to 9999, `*`, lists, ranges, steps");

const FORMS: &str = "five fields (minute, hour, day of month, month, day of week), six with the second first, \
                     or seven with the year last";

/// Names of expressions.
const MACROS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// The longest expression, in characters.
const LONGEST: usize = 1000;

/// What a text means.
pub(super) struct Parsed {
    pub(super) pattern: Pattern,
    /// Hours and minutes are civil times, not a rhythm.
    pub(super) fixed: bool,
}

/// A part of the expression, with where it stands in it.
#[derive(Clone, Copy)]
struct Part<'t> {
    whole: &'t str,
    text: &'t str,
    /// In bytes.
    at: usize,
}

// === impl Part ===

impl Part<'_> {
    fn error(self, field: &'static str, expected: impl Into<String>) -> Error {
        let before = self.whole.get(..self.at).unwrap_or_default();
        Error::new(field, self.text, expected).at_character(before.chars().count() + 1, self.whole)
    }

    fn sub(self, from: usize, to: usize) -> Self {
        Self { text: self.text.get(from..to).unwrap_or_default(), at: self.at + from, ..self }
    }

    /// The parts between these characters.
    fn split(self, by: char) -> impl Iterator<Item = Self> {
        let mut from = 0;
        self.text.split(by).map(move |text| {
            let part = self.sub(from, from + text.len());
            from += text.len() + by.len_utf8();
            part
        })
    }

    fn split_once(self, by: char) -> Option<(Self, Self)> {
        let place = self.text.find(by)?;
        Some((self.sub(0, place), self.sub(place + by.len_utf8(), self.text.len())))
    }

    fn without_suffix(self, suffix: &str) -> Option<Self> {
        let text = self.text;
        let has = text.len() >= suffix.len()
            && text.get(text.len() - suffix.len()..).is_some_and(|end| end.eq_ignore_ascii_case(suffix));
        has.then(|| self.sub(0, text.len() - suffix.len()))
    }

    fn words(self) -> Vec<Self> {
        let mut words = Vec::new();
        let mut from = 0;
        for (place, c) in self.text.char_indices().chain([(self.text.len(), ' ')]) {
            if c.is_whitespace() {
                if place > from {
                    words.push(self.sub(from, place));
                }
                from = place + c.len_utf8();
            }
        }
        words
    }

    fn is(self, text: &str) -> bool {
        self.text.eq_ignore_ascii_case(text)
    }

    fn is_star(self) -> bool {
        self.text.starts_with(['*', '?'])
    }
}

/// Reads an expression. `text` is what errors point into; the expression begins at the byte `from` of it.
pub(super) fn parse(text: &str, from: usize) -> Result<Parsed, Error> {
    let whole = Part { whole: text, text: text.get(from..).unwrap_or_default(), at: from };
    if text.chars().count() > LONGEST {
        return Err(Error::new("cron", text, format!("at most {LONGEST} characters")));
    }
    let trimmed = whole.text.trim();
    if trimmed.starts_with('@') {
        let Some((_, meant)) = MACROS.iter().find(|(name, _)| trimmed.eq_ignore_ascii_case(name)) else {
            let start = whole.text.find('@').unwrap_or_default();
            let names: Vec<_> = MACROS.iter().map(|(name, _)| *name).collect();
            return Err(whole
                .sub(start, start + trimmed.len())
                .error("cron", format!("one of {}", names.join(", "))));
        };
        return parse(meant, 0);
    }
    if let Some(place) = whole.text.find('%') {
        return Err(whole.sub(place, place + 1).error("cron", "no `%`: it has no meaning in a schedule"));
    }
    let fields = whole.words();
    let second = Part { whole: text, text: "0", at: from };
    let any_year = Part { text: "*", ..second };
    let [second, minute, hour, day, month, weekday, year] = match fields[..] {
        [minute, hour, day, month, weekday] => [second, minute, hour, day, month, weekday, any_year],
        [second, minute, hour, day, month, weekday] => [second, minute, hour, day, month, weekday, any_year],
        [second, minute, hour, day, month, weekday, year] => {
            [second, minute, hour, day, month, weekday, year]
        }
        _ => {
            let end = Part { text: trimmed, ..whole.sub(whole.text.trim_end().len(), whole.text.len()) };
            let place = fields.get(7).copied().unwrap_or(end);
            return Err(place.error("cron", format!("{FORMS}: there are {}", fields.len())));
        }
    };
    let pattern = Pattern {
        seconds: numbers(second, &SECOND)?,
        minutes: numbers(minute, &MINUTE)?,
        hours: numbers(hour, &HOUR)?,
        days: days(day)?,
        months: numbers(month, &MONTH)?,
        weekdays: weekdays(weekday)?,
        years: years(year)?,
        either: !day.is_star() && !weekday.is_star(),
    };
    if !pattern.exists() {
        return Err(
            day.error(DAY.name, "a date that exists: no month and year of this expression has such a day")
        );
    }
    let rhythm = |part: Part<'_>| part.text.contains(['*', '/']);
    Ok(Parsed { pattern, fixed: !rhythm(minute) && !rhythm(hour) })
}

/// A field of plain numbers.
fn numbers(part: Part<'_>, field: &Field) -> Result<Set, Error> {
    let mut set = Set::default();
    for item in part.split(',') {
        range(item, field)?.for_each(|number| set.add(number));
    }
    Ok(set)
}

fn days(part: Part<'_>) -> Result<Days, Error> {
    let mut days = Days::default();
    for item in part.split(',') {
        let working = item.without_suffix("W");
        let base = working.unwrap_or(item);
        if base.is("L") || base.text.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("L-")) {
            let distance = if base.is("L") { 0 } else { distance(base.sub(2, base.text.len()))? };
            if working.is_some() {
                days.nearest_from_last.add(distance);
            } else {
                days.from_last.add(distance);
            }
        } else if let Some(day) = working {
            days.nearest.add(byte(number(day, &DAY)?));
        } else {
            range(item, &DAY)?.for_each(|day| days.numbers.add(day));
        }
    }
    Ok(days)
}

fn distance(part: Part<'_>) -> Result<u8, Error> {
    let found = part.text.parse().ok().filter(|n| (0..=30).contains(n) && is_digits(part.text));
    found.ok_or_else(|| part.error(DAY.name, "a number of days before the last, 0 to 30"))
}

fn weekdays(part: Part<'_>) -> Result<Weekdays, Error> {
    let mut weekdays = Weekdays::default();
    for item in part.split(',') {
        if item.is("L") {
            // As in Quartz: the week's last day.
            weekdays.every.add(6);
        } else if let Some((days, which)) = item.split_once('#') {
            let mut found = Set::default();
            if days.is_star() || days.text.contains('/') {
                return Err(days.error(WEEKDAY.name, "a day or a range before the `#`, as 1#2"));
            }
            range(days, &WEEKDAY)?.for_each(|day| found.add(day % 7));
            if which.is("L") {
                weekdays.last.join(found);
            } else {
                let nth =
                    which.text.parse().ok().filter(|n| (1..=5usize).contains(n) && is_digits(which.text));
                let nth =
                    nth.ok_or_else(|| which.error(WEEKDAY.name, "1 to 5, or L for the last, after the `#`"))?;
                weekdays.nth[nth - 1].join(found);
            }
        } else if let Some(day) = item.without_suffix("L") {
            weekdays.last.add(byte(number(day, &WEEKDAY)?) % 7);
        } else {
            range(item, &WEEKDAY)?.for_each(|day| weekdays.every.add(day % 7));
        }
    }
    Ok(weekdays)
}

fn years(part: Part<'_>) -> Result<Option<Vec<Years>>, Error> {
    let mut years = Vec::new();
    for item in part.split(',') {
        let (base, step) = stepped(item, &YEAR)?;
        let (first, last) = if base.text == "*" {
            (YEAR.min, YEAR.max)
        } else if let Some((first, last)) = base.split_once('-') {
            let (first_year, last_year) = (number(first, &YEAR)?, number(last, &YEAR)?);
            if first_year > last_year {
                return Err(base.error(YEAR.name, "a range whose first year is not after its last"));
            }
            (first_year, last_year)
        } else {
            let year = number(base, &YEAR)?;
            (year, if step.is_some() { YEAR.max } else { year })
        };
        if base.text == "*" && step.is_none() {
            return Ok(None);
        }
        years.push(Years { first, last, step: step.unwrap_or(1) });
    }
    Ok(Some(years))
}

/// The numbers of one item of a list: `*`, a number, a range, each perhaps with a step.
///
/// A range may go over the end of the field, as `22-2` or `FRI-MON`.
fn range(item: Part<'_>, field: &Field) -> Result<impl Iterator<Item = u8>, Error> {
    let (base, step) = stepped(item, field)?;
    let is_weekday = field.max == WEEKDAY.max && field.min == 0;
    // Sunday twice would make `*/7` and `1/2` mean other days.
    let max = if is_weekday { 6 } else { field.max };
    let size = max - field.min + 1;
    let marks_any = base.text == "*" || (base.text == "?" && (is_weekday || field.name == DAY.name));
    let (first, last) = if marks_any {
        (field.min, max)
    } else if let Some((first, last)) = base.split_once('-') {
        let (first, last) = (number(first, field)?, number(last, field)?);
        let first = if is_weekday && first == 7 && last < 7 { 0 } else { first };
        (first, if last < first { last + size } else { last })
    } else {
        let first = number(base, field)?;
        let first = if is_weekday { first % 7 } else { first };
        (first, if step.is_some() { max } else { first })
    };
    let min = field.min;
    let step = usize::try_from(step.unwrap_or(1)).unwrap_or(1);
    Ok((first..=last).step_by(step).map(move |number| byte(min + (number - min) % size)))
}

/// An item and its step.
fn stepped<'t>(item: Part<'t>, field: &Field) -> Result<(Part<'t>, Option<i16>), Error> {
    if item.text.is_empty() {
        return Err(item.error(field.name, format!("a value: {}", field.form)));
    }
    let Some((base, step)) = item.split_once('/') else { return Ok((item, None)) };
    let most = field.max.min(if field.names.len() == 7 { 6 } else { i16::MAX }) - field.min + 1;
    let found = step.text.parse().ok().filter(|n| (1..=most).contains(n) && is_digits(step.text));
    let found = found.ok_or_else(|| step.error(field.name, format!("a step of 1 to {most}")))?;
    if base.text.is_empty() {
        return Err(item.error(field.name, format!("`*`, a value or a range before the `/`: {}", field.form)));
    }
    Ok((base, Some(found)))
}

fn number(part: Part<'_>, field: &Field) -> Result<i16, Error> {
    if let Some(place) = field.names.iter().position(|name| part.is(name)) {
        return Ok(field.min + i16::try_from(place).unwrap_or_default());
    }
    let found =
        part.text.parse().ok().filter(|n| (field.min..=field.max).contains(n) && is_digits(part.text));
    found.ok_or_else(|| {
        let expected = if is_digits(part.text) { field.number } else { field.form };
        part.error(field.name, expected)
    })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Of a number within its field.
fn byte(number: i16) -> u8 {
    u8::try_from(number).unwrap_or_default()
}
