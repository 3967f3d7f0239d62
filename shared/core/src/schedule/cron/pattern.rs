//! A cron expression against the civil calendar, without a zone.

use jiff::civil::{Date, DateTime};

/// What an expression matches: sets of numbers, and days that depend on the month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) seconds: Set,
    pub(super) minutes: Set,
    pub(super) hours: Set,
    pub(super) months: Set,
    pub(super) days: Days,
    pub(super) weekdays: Weekdays,
    /// None: any year.
    pub(super) years: Option<Vec<Years>>,
    /// Both day fields are restricted: a day matches by either of them, else by both.
    pub(super) either: bool,
}

/// Numbers from 0 to 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Set(u64);

/// Days of a month. What counts from its end is kept as the distance from its last day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Days {
    /// `15`
    pub(super) numbers: Set,
    /// `L`, `L-3`
    pub(super) from_last: Set,
    /// `15W`
    pub(super) nearest: Set,
    /// `LW`, `L-3W`
    pub(super) nearest_from_last: Set,
}

/// Days of the week; Sunday is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Weekdays {
    /// `5`
    pub(super) every: Set,
    /// `5#2` has 5 in the second.
    pub(super) nth: [Set; 5],
    /// `5L`
    pub(super) last: Set,
}

/// Years from a first to a last, by a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Years {
    pub(super) first: i16,
    pub(super) last: i16,
    pub(super) step: i16,
}

/// The calendar repeats after this.
const CYCLE: i16 = 400;
/// A year of which a pattern without years is tried for a first match.
const ANY_YEAR: i16 = 2000;

// === impl Set ===

impl Set {
    pub(super) fn add(&mut self, number: u8) {
        self.0 |= 1 << number;
    }

    pub(super) fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(super) const fn has(self, number: u8) -> bool {
        self.0 >> number & 1 == 1
    }

    /// The least that is not less than this.
    fn at_least(self, number: u8) -> Option<u8> {
        let rest = if number > 63 { 0 } else { self.0 >> number << number };
        (rest != 0).then(|| u8::try_from(rest.trailing_zeros()).unwrap_or(u8::MAX))
    }

    fn numbers(self) -> impl Iterator<Item = u8> {
        std::iter::successors(self.at_least(0), move |last| self.at_least(last + 1))
    }
}

// === impl Years ===

impl Years {
    fn at_least(self, year: i16) -> Option<i16> {
        if year <= self.first {
            return Some(self.first);
        }
        let steps =
            (i32::from(year) - i32::from(self.first) + i32::from(self.step) - 1) / i32::from(self.step);
        let found = i32::from(self.first) + steps * i32::from(self.step);
        i16::try_from(found).ok().filter(|found| *found <= self.last)
    }
}

/// A month of a year.
struct Month {
    length: u8,
    /// Day of the week of the first.
    begins_on: u8,
}

// === impl Month ===

impl Month {
    fn of(year: i16, month: u8) -> Option<Self> {
        let first = Date::new(year, i8::try_from(month).ok()?, 1).ok()?;
        let length = u8::try_from(first.days_in_month()).ok()?;
        let begins_on = u8::try_from(first.weekday().to_sunday_zero_offset()).ok()?;
        Some(Self { length, begins_on })
    }

    fn weekday(&self, day: u8) -> u8 {
        (self.begins_on + day - 1) % 7
    }

    fn day_from_last(&self, distance: u8) -> Option<u8> {
        self.length.checked_sub(distance).filter(|day| *day > 0)
    }

    /// The day from Monday to Friday that is nearest, in the same month.
    fn nearest_working_day(&self, day: u8) -> u8 {
        match self.weekday(day) {
            6 if day == 1 => 3,
            6 => day - 1,
            0 if day == self.length => day - 2,
            0 => day + 1,
            _ => day,
        }
    }

    fn days(&self, days: &Days) -> Set {
        let mut found = Set::default();
        for day in days.numbers.numbers().filter(|day| *day <= self.length) {
            found.add(day);
        }
        for day in days.from_last.numbers().filter_map(|distance| self.day_from_last(distance)) {
            found.add(day);
        }
        let last = days.nearest_from_last.numbers().filter_map(|distance| self.day_from_last(distance));
        for day in days.nearest.numbers().filter(|day| *day <= self.length).chain(last) {
            found.add(self.nearest_working_day(day));
        }
        found
    }

    fn weekdays(&self, weekdays: &Weekdays) -> Set {
        let mut found = Set::default();
        for day in 1..=self.length {
            let weekday = self.weekday(day);
            let matches = weekdays.every.has(weekday)
                || weekdays.nth[usize::from((day - 1) / 7)].has(weekday)
                || (day + 7 > self.length && weekdays.last.has(weekday));
            if matches {
                found.add(day);
            }
        }
        found
    }
}

// === impl Pattern ===

impl Pattern {
    /// The first civil time after this one that matches, or this one where it may be it itself. None: there is none
    /// up to the end of the calendar.
    pub(super) fn next(&self, from: DateTime, inclusive: bool) -> Option<DateTime> {
        let whole = from.with().subsec_nanosecond(0).build().ok()?;
        let start = if inclusive && whole == from {
            whole
        } else {
            whole.checked_add(jiff::SignedDuration::from_secs(1)).ok()?
        };
        let today = start.date();
        if self.on(today)? {
            let time = start.time();
            let at = [time.hour(), time.minute(), time.second()].map(|part| u8::try_from(part).unwrap_or(0));
            if let Some(time) = self.time_from(at) {
                return Some(to_civil(today, time));
            }
        }
        let date = self.date_from(today.tomorrow().ok()?)?;
        Some(to_civil(date, self.time_from([0; 3])?))
    }

    /// Whether there is any day at all.
    pub(super) fn exists(&self) -> bool {
        let first = self.years.as_ref().map_or(Some(ANY_YEAR), |years| years.iter().map(|y| y.first).min());
        first.and_then(|year| Date::new(year, 1, 1).ok()).and_then(|from| self.date_from(from)).is_some()
    }

    fn on(&self, date: Date) -> Option<bool> {
        let (month, day) = (u8::try_from(date.month()).ok()?, u8::try_from(date.day()).ok()?);
        let year_matches = self.year_from(date.year()) == Some(date.year());
        Some(year_matches && self.months.has(month) && self.days_of(date.year(), month)?.has(day))
    }

    /// The first day that matches, this one included. Goes by months: no more than a cycle of the calendar has.
    fn date_from(&self, from: Date) -> Option<Date> {
        let mut first_month = u8::try_from(from.month()).ok()?;
        let mut first_day = u8::try_from(from.day()).ok()?;
        let mut year = from.year();
        let end = if self.years.is_none() { year.saturating_add(CYCLE) } else { i16::MAX };
        while year <= end {
            let next = self.year_from(year)?;
            if next > year {
                (first_month, first_day) = (1, 1);
            }
            year = next;
            let mut month = self.months.at_least(first_month);
            while let Some(at) = month {
                let first = if at == first_month { first_day } else { 1 };
                if let Some(day) = self.days_of(year, at)?.at_least(first) {
                    return Date::new(year, i8::try_from(at).ok()?, i8::try_from(day).ok()?).ok();
                }
                month = self.months.at_least(at + 1);
            }
            (first_month, first_day) = (1, 1);
            year = year.checked_add(1)?;
        }
        None
    }

    fn year_from(&self, year: i16) -> Option<i16> {
        match &self.years {
            None => Some(year),
            Some(years) => years.iter().filter_map(|years| years.at_least(year)).min(),
        }
    }

    /// None beyond the calendar.
    fn days_of(&self, year: i16, month: u8) -> Option<Set> {
        let month = Month::of(year, month)?;
        let (days, weekdays) = (month.days(&self.days), month.weekdays(&self.weekdays));
        Some(if self.either { Set(days.0 | weekdays.0) } else { Set(days.0 & weekdays.0) })
    }

    fn time_from(&self, [hour, minute, second]: [u8; 3]) -> Option<[u8; 3]> {
        if self.hours.has(hour) {
            if self.minutes.has(minute)
                && let Some(second) = self.seconds.at_least(second)
            {
                return Some([hour, minute, second]);
            }
            if let Some(minute) = self.minutes.at_least(minute + 1) {
                return Some([hour, minute, self.seconds.at_least(0)?]);
            }
        }
        Some([self.hours.at_least(hour + 1)?, self.minutes.at_least(0)?, self.seconds.at_least(0)?])
    }
}

fn to_civil(date: Date, time: [u8; 3]) -> DateTime {
    let [hour, minute, second] = time.map(|part| i8::try_from(part).unwrap_or(0));
    date.at(hour, minute, second, 0)
}
