//! The calendar of what schedules are going to fire: a week by its hours, five weeks by their days, or all of a day.

use askama::Template;
use axum::Json;
use axum::extract::{Query, State};
use axum::response::Response;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use windlass_core::schedule::Zone;
use windlass_schedules::calendar::{Calendar, Day, Hour};

use super::super::access::Viewer;
use super::super::query::{Parameters, RawQuery, encoded};
use super::super::{Api, Problem, calendar};
use super::frame::Frame;
use super::{shown, words};

/// How much of it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    /// Every instant of a day.
    Day,
    /// Seven days by the hour.
    Week,
    /// Five weeks by the day, from a Monday on.
    Month,
}

#[derive(Template)]
#[template(path = "calendar.html")]
struct CalendarPage {
    frame: Frame,
    calendar: Calendar,
    view: View,
    /// The first day.
    from: Date,
    /// Where it is.
    now: jiff::Zoned,
}

/// Steps of the shade of a cell.
const SHADES: u64 = 5;

// === impl View ===

impl View {
    const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    fn word(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// Where it begins if this day is to be in it.
    fn begin(self, day: Date) -> Date {
        let monday = Span::new().days(day.weekday().to_monday_zero_offset());
        if self == Self::Month { day.checked_sub(monday).unwrap_or(day) } else { day }
    }

    const fn days(self) -> i64 {
        match self {
            Self::Day => 1,
            Self::Week => 7,
            Self::Month => 35,
        }
    }
}

pub(in crate::api) async fn page(State(api): State<Api>, viewer: Viewer, raw: RawQuery) -> Response {
    shown(calendar_page(&api, &viewer, raw).await, &viewer)
}

async fn calendar_page(api: &Api, viewer: &Viewer, raw: RawQuery) -> Result<CalendarPage, Problem> {
    let frame = Frame::new(&viewer.0, "/schedules").every(60);
    let mut parameters = Parameters::new(raw)?;
    let words = View::ALL.map(View::word);
    let word: Option<String> = parameters.take("view", "a view")?;
    let view = View::ALL.into_iter().find(|view| word.as_deref().unwrap_or("week") == view.word());
    let view = view
        .ok_or_else(|| Problem::bad("view", "view: is not known", format!("one of {}", words.join(", "))))?;
    let from: Option<Date> = parameters.take("from", "a day, as 2026-01-31")?;
    let zone: Option<String> = parameters.take("zone", "the IANA name of a time zone, as Europe/Berlin")?;
    parameters.end("view, from, zone")?;
    let tz = zone.as_deref().and_then(|name| Zone::new(name).ok());
    let tz = tz.map_or(TimeZone::UTC, |zone| zone.time_zone().clone());
    let now = frame.now.to_zoned(tz);
    let from = view.begin(from.unwrap_or_else(|| now.date()));
    let mut pairs = vec![("from".to_owned(), from.to_string()), ("days".to_owned(), view.days().to_string())];
    pairs.extend(zone.map(|zone| ("zone".to_owned(), zone)));
    let Json(calendar) = calendar::get(State(api.clone()), Ok(Query(pairs))).await?;
    Ok(CalendarPage { frame, calendar, view, from, now })
}

// === impl CalendarPage ===

impl CalendarPage {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    fn address(&self, view: &View, from: &Date) -> String {
        format!("/calendar?view={}&from={from}&zone={}", view.word(), encoded(&self.calendar.zone))
    }

    /// The same view before or after this one; none where no date can be written down.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    fn turned(&self, steps: &i64) -> Option<String> {
        let by = Span::new().days(self.view.days() * steps);
        self.from.checked_add(by).ok().map(|from| self.address(&self.view, &from))
    }

    fn is_past(&self) -> bool {
        self.from <= self.now.date()
    }

    /// What is shown, in words.
    fn title(&self) -> String {
        let last = self.calendar.days.last().map_or(self.from, |day| day.date);
        match self.view {
            View::Day => self.from.strftime("%A, %-d %B %Y").to_string(),
            _ => format!("{} to {}", self.from.strftime("%-d %b"), last.strftime("%-d %b %Y")),
        }
    }

    fn fires(&self) -> u64 {
        self.calendar.days.iter().map(|day| day.fires).sum()
    }

    /// The zones that can be chosen.
    fn zones(&self) -> Vec<&str> {
        let named = self.calendar.zones.iter().map(String::as_str);
        let mut zones: Vec<&str> = named.chain(["UTC", self.calendar.zone.as_str()]).collect();
        zones.sort_unstable();
        zones.dedup();
        zones
    }

    /// Whether that hour of a day has passed.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    fn has_passed(&self, date: &Date, hour: &i8) -> bool {
        (*date, *hour) < (self.now.date(), self.now.hour())
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    fn is_now(&self, date: &Date, hour: &i8) -> bool {
        (*date, *hour) == (self.now.date(), self.now.hour())
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    fn is_today(&self, date: &Date) -> bool {
        *date == self.now.date()
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    fn was(&self, date: &Date) -> bool {
        *date < self.now.date()
    }

    /// How dark a cell is, 1 to [`SHADES`]: by the root, so that few beside many are seen.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    fn shade(&self, fires: &u64) -> u64 {
        let hours = self.calendar.days.iter().flat_map(|day| &day.hours).map(|hour| hour.fires);
        let most = match self.view {
            View::Month => self.calendar.days.iter().map(|day| day.fires).max(),
            _ => hours.max(),
        };
        let most = most.unwrap_or(1).max(1);
        (1..=SHADES).find(|step| fires * SHADES * SHADES <= most * step * step).unwrap_or(SHADES)
    }

    /// The month of a day where it begins, or the page does.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    fn month_at(&self, date: &Date) -> Option<String> {
        (date.day() == 1 || *date == self.from).then(|| date.strftime("%b").to_string())
    }

    /// An instant by the clock of the page.
    fn clock(&self, at: &Timestamp) -> String {
        at.to_zoned(self.now.time_zone().clone()).strftime("%H:%M:%S").to_string()
    }

    fn day_and_clock(&self, at: &Timestamp) -> String {
        at.to_zoned(self.now.time_zone().clone()).strftime("%a %-d %b %H:%M:%S").to_string()
    }

    fn date_of(&self, at: &Timestamp) -> Date {
        at.to_zoned(self.now.time_zone().clone()).date()
    }

    /// The name of the place of an instant's hour, where it is the first of that hour.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    fn place(&self, index: &usize) -> Option<String> {
        let hour = |at: &Timestamp| at.to_zoned(self.now.time_zone().clone()).hour();
        let instants = &self.calendar.instants;
        let here = hour(&instants.get(*index)?.at);
        let before = index.checked_sub(1).and_then(|before| instants.get(before));
        (before.is_none_or(|before| hour(&before.at) != here)).then(|| format!("h{here:02}"))
    }
}

/// What fires in an hour of a day.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
fn hour_of<'a>(day: &'a Day, hour: &i8) -> Option<&'a Hour> {
    day.hours.iter().find(|known| known.hour == *hour)
}

/// A cell in words.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
fn told(fires: &u64, at_once: &u64) -> String {
    let s = if *fires == 1 { "" } else { "s" };
    let together = if *at_once > 1 { format!(", {at_once} at one instant") } else { String::new() };
    format!("{fires} fire{s}{together}")
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
#[allow(clippy::cast_precision_loss, reason = "a period for people")]
fn seconds(period: &u64) -> String {
    words::duration(&(*period as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Principal;

    fn page(view: View, from: &str, fires: &[u64]) -> CalendarPage {
        let from: Date = from.parse().unwrap();
        let date = |day: usize| from.checked_add(Span::new().days(i64::try_from(day).unwrap())).unwrap();
        let hour = |fires| Hour { hour: 9, fires, at_once: 1 };
        let days = fires.iter().enumerate().map(|(day, fires)| Day {
            date: date(day),
            fires: *fires,
            at_once: 1,
            hours: vec![hour(*fires)],
        });
        let calendar = Calendar {
            zone: "UTC".to_owned(),
            days: days.collect(),
            collisions: vec![],
            collisions_count: 0,
            instants: vec![],
            frequent: vec![],
            zones: vec!["Europe/Berlin".to_owned()],
            schedules: 1,
            paused: 0,
            left_out: 0,
        };
        let now = "2026-11-30T10:00:00[UTC]".parse().unwrap();
        CalendarPage { frame: Frame::new(&Principal::anonymous(), ""), calendar, view, from, now }
    }

    #[test]
    fn a_month_begins_with_a_monday() {
        let begin = |day: &str| View::Month.begin(day.parse().unwrap()).to_string();
        assert_eq!(
            (begin("2026-11-30").as_str(), begin("2026-12-06").as_str()),
            ("2026-11-30", "2026-11-30")
        );
        let month = page(View::Month, "2026-11-30", &[1; 35]);
        assert_eq!(month.turned(&1).as_deref(), Some("/calendar?view=month&from=2027-01-04&zone=UTC"));
        assert_eq!(month.title(), "30 Nov to 3 Jan 2027");
        let told = |day: &str| month.month_at(&day.parse().unwrap());
        assert_eq!([told("2026-11-30"), told("2026-12-01")].map(Option::unwrap), ["Nov", "Dec"]);
        assert_eq!(told("2026-12-02"), None);
    }

    #[test]
    fn cells_are_shaded_beside_the_fullest() {
        let week = page(View::Week, "2026-11-30", &[100, 64, 16, 4, 1, 0, 0]);
        let shades: Vec<_> = [100, 64, 36, 16, 4, 1].iter().map(|fires| week.shade(fires)).collect();
        assert_eq!(shades, [5, 4, 3, 2, 1, 1]);
        assert_eq!((week.title().as_str(), week.fires()), ("30 Nov to 6 Dec 2026", 185));
        assert!(week.has_passed(&week.from, &9) && !week.has_passed(&week.from, &10));
        assert_eq!(week.zones(), ["Europe/Berlin", "UTC"]);
        assert_eq!(week.turned(&-1).as_deref(), Some("/calendar?view=week&from=2026-11-23&zone=UTC"));
        assert_eq!((told(&1, &1), told(&3, &2)), ("1 fire".into(), "3 fires, 2 at one instant".into()));
    }
}
