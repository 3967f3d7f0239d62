//! Against a computation that shares nothing with the evaluation but the offsets of the zones: it looks at every
//! minute around every change of a clock.

use jiff::civil::{Date, DateTime};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp, ToSpan};

use super::super::{self as schedule, Spec};
use super::Cron;

/// A reproducible sequence of numbers.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        // The constants of PCG's underlying generator.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }
}

/// A field by the plainest reading: `*`, numbers, ranges and steps.
fn matches(field: &str, min: i8, max: i8, number: i8) -> bool {
    field.split(',').any(|item| {
        let (base, step) =
            item.split_once('/').map_or((item, 1), |(base, step)| (base, step.parse::<i8>().unwrap()));
        let (first, last) = match base.split_once('-') {
            Some((first, last)) => (first.parse().unwrap(), last.parse().unwrap()),
            None if base == "*" => (min, max),
            None => (base.parse().unwrap(), base.parse().unwrap()),
        };
        (first..=last).contains(&number) && (number - first) % step == 0
    })
}

struct Rule<'a> {
    minute: &'a str,
    hour: &'a str,
    day: &'a str,
    weekday: &'a str,
}

impl Rule<'_> {
    fn on(&self, date: Date) -> bool {
        let day = matches(self.day, 1, 31, date.day());
        let weekday = matches(self.weekday, 0, 6, date.weekday().to_sunday_zero_offset());
        if self.day.starts_with('*') || self.weekday.starts_with('*') {
            day && weekday
        } else {
            day || weekday
        }
    }

    fn matches(&self, civil: DateTime) -> bool {
        matches(self.minute, 0, 59, civil.minute())
            && matches(self.hour, 0, 23, civil.hour())
            && self.on(civil.date())
    }

    fn is_rhythm(&self) -> bool {
        [self.minute, self.hour].iter().any(|field| field.contains(['*', '/']))
    }
}

/// Every minute of the window with its civil time. Offsets of these years are whole minutes.
fn minutes(zone: &TimeZone, from: Timestamp, until: Timestamp) -> Vec<(Timestamp, DateTime)> {
    let mut all = Vec::new();
    let mut at = Timestamp::from_second(from.as_second().div_euclid(60) * 60).unwrap();
    while at <= until {
        all.push((at, zone.to_offset(at).to_datetime(at)));
        at += SignedDuration::from_mins(1);
    }
    all
}

/// The instants after `from` and up to `until`, from the minutes of a window that is wider by two days.
fn expected(
    rule: &Rule<'_>,
    all: &[(Timestamp, DateTime)],
    from: Timestamp,
    until: Timestamp,
) -> Vec<Timestamp> {
    let mut found: Vec<Timestamp> = Vec::new();
    if rule.is_rhythm() {
        found.extend(all.iter().filter(|(_, civil)| rule.matches(*civil)).map(|(at, _)| *at));
    } else {
        // Each civil minute: the first instant at which the clock shows it, or else the first at which it shows a
        // later one, coming from an earlier one.
        let (mut civil, last) = (all[0].1, all[all.len() - 1].1);
        let mut highest = 0;
        while civil < last {
            if rule.matches(civil) {
                while all[highest].1 < civil {
                    highest += 1;
                }
                found.push(all[highest].0);
            }
            civil = civil.checked_add(1.minute()).unwrap();
        }
        found.dedup();
    }
    found.retain(|at| *at > from && *at <= until);
    found
}

#[test]
fn every_change_of_a_clock_in_fifty_years() {
    let start: Timestamp = "1985-01-01T00:00:00Z".parse().unwrap();
    let end: Timestamp = "2035-01-01T00:00:00Z".parse().unwrap();
    let (mut zones, mut windows, mut fires) = (0, 0, 0);
    let mut draws = Draws(7);
    for name in TimeZoneDatabase::bundled().available() {
        let zone = TimeZoneDatabase::bundled().get(name.as_str()).unwrap();
        zones += 1;
        let mut before = zone.to_offset(start);
        for change in zone.following(start).take_while(|change| change.timestamp() < end) {
            let moved = change.offset() != std::mem::replace(&mut before, change.offset());
            // One in four, and all that are no whole hours.
            if !moved || draws.below(4) != 0 {
                continue;
            }
            windows += 1;
            let rule = Rule {
                minute: draws.of(&["0", "30", "15,45", "0,30", "10-20", "59", "*", "*/15", "5-50/15", "*/7"]),
                hour: draws
                    .of(&["2", "0", "1", "3", "1,2", "0-3", "1-2", "23", "12", "*", "*/2", "1-4/2", "0-23"]),
                day: draws.of(&["*", "*", "*", "*/2", "1-15", "25-31"]),
                weekday: draws.of(&["*", "*", "0", "1-5", "*/2", "0,6"]),
            };
            let expression = format!("{} {} {} * {}", rule.minute, rule.hour, rule.day, rule.weekday);
            let from = change.timestamp()
                - SignedDuration::from_mins(60 * 27 + i64::try_from(draws.below(90)).unwrap());
            let until = change.timestamp() + SignedDuration::from_hours(27);
            let all =
                minutes(&zone, from - SignedDuration::from_hours(30), until + SignedDuration::from_hours(30));
            let wanted = expected(&rule, &all, from, until);
            let spec = Spec::from(schedule::Rule::Cron(Cron::new(&expression, name.as_str()).unwrap()));
            assert_eq!(
                spec.instants_between(from, until, 10_000),
                wanted,
                "{expression} in {name} from {from}"
            );
            fires += wanted.len();
        }
    }
    assert!(
        zones > 500 && windows > 5_000 && fires > 50_000,
        "{zones} zones, {windows} changes, {fires} fires"
    );
}
