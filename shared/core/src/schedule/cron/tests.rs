use jiff::civil::{self, Date};
use jiff::{SignedDuration, ToSpan};
use proptest::prelude::*;

use super::super::Spec;
use super::*;

const ZONES: &[&str] = &[
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    // The gap begins at midnight.
    "America/Havana",
    // Half an hour.
    "Australia/Lord_Howe",
    // Two hours.
    "Antarctica/Troll",
    // A whole day was left out in 2011.
    "Pacific/Apia",
    "Africa/Casablanca",
    "Asia/Kathmandu",
];

fn spec(expression: &str, zone: &str) -> Spec {
    Spec::Cron(Cron::new(expression, zone).unwrap())
}

/// The instants after `after` are these, as many as there are.
fn check(expression: &str, zone: &str, after: &str, expected: &[&str]) {
    let expected: Vec<Timestamp> = expected.iter().map(|t| t.parse().unwrap()).collect();
    let after = after.parse().unwrap();
    let actual = spec(expression, zone).instants_between(after, Timestamp::MAX, expected.len());
    assert_eq!(actual, expected, "{expression} in {zone}");
}

#[test]
fn refused_with_the_field_named() {
    for (expression, zone, field) in [
        ("", "", "cron"),
        ("* * * *", "", "cron"),
        ("* * * * * * *", "", "cron"),
        ("@daily", "", "cron"),
        ("60 * * * *", "", "cron.minute"),
        ("-1 * * * *", "", "cron.minute"),
        ("60 0 * * * *", "", "cron.second"),
        ("* 24 * * *", "", "cron.hour"),
        ("0 JAN * * *", "", "cron.hour"),
        ("* * 0 * *", "", "cron.day_of_month"),
        ("* * 32 * *", "", "cron.day_of_month"),
        ("* * * 13 *", "", "cron.month"),
        ("* * * FOO *", "", "cron.month"),
        ("* * * * 8", "", "cron.day_of_week"),
        ("* * * * MONDAY", "", "cron.day_of_week"),
        ("* * * * +1", "", "cron.day_of_week"),
        ("*/0 * * * *", "", "cron.minute"),
        ("/5 * * * *", "", "cron.minute"),
        ("5-1 * * * *", "", "cron.minute"),
        ("1,,2 * * * *", "", "cron.minute"),
        ("ä * * * *", "", "cron.minute"),
        ("0 0 30 2 *", "", "cron"),
        ("0 0 31 4,6,9,11 *", "", "cron"),
        ("0 0 * * *", "Mars/Olympus", "zone"),
    ] {
        let error = Cron::new(expression, zone).map(|_| ()).unwrap_err();
        assert_eq!(error.field, field, "{expression}: {error}");
    }
}

#[test]
fn the_dialect() {
    let from = "2024-01-01T00:00:00Z";
    check("*/15 * * * *", "", from, &["2024-01-01T00:15:00Z", "2024-01-01T00:30:00Z"]);
    check(
        "*/20 * * * * *",
        "",
        from,
        &["2024-01-01T00:00:20Z", "2024-01-01T00:00:40Z", "2024-01-01T00:01:00Z"],
    );
    check("0 0 29 FEB *", "", from, &["2024-02-29T00:00:00Z", "2028-02-29T00:00:00Z"]);
    check("0 0 L * ?", "", from, &["2024-01-31T00:00:00Z", "2024-02-29T00:00:00Z"]);
    check("0 0 15W * *", "", from, &["2024-01-15T00:00:00Z", "2024-02-15T00:00:00Z", "2024-03-15T00:00:00Z"]);
    check("0 0 * * MON#2", "", from, &["2024-01-08T00:00:00Z", "2024-02-12T00:00:00Z"]);
    check("0 0 * * 5L", "", from, &["2024-01-26T00:00:00Z", "2024-02-23T00:00:00Z"]);
    check("0 0 * * FRIL", "", from, &["2024-01-26T00:00:00Z"]);
    check("0 0 * * 0,7", "", from, &["2024-01-07T00:00:00Z", "2024-01-14T00:00:00Z"]);
    check("0 0 * * mon-fri", "", from, &["2024-01-02T00:00:00Z", "2024-01-03T00:00:00Z"]);
    check(
        "0 0 13 * FRI",
        "",
        from,
        &["2024-01-05T00:00:00Z", "2024-01-12T00:00:00Z", "2024-01-13T00:00:00Z"],
    );
    // By both, as one of them starts with `*`.
    check("0 0 */2 * MON", "", from, &["2024-01-15T00:00:00Z", "2024-01-29T00:00:00Z"]);
    check("0 12 * * *", "asia/kolkata", from, &["2024-01-01T06:30:00Z"]);
    // Parts of a second count.
    check("* * * * * *", "", "2024-01-01T00:00:00.5Z", &["2024-01-01T00:00:01Z"]);
    check("* * * * *", "", "2023-12-31T23:59:59.999999999Z", &["2024-01-01T00:00:00Z"]);
    check("* * * * *", "", "1969-12-31T23:59:59.5Z", &["1970-01-01T00:00:00Z"]);
}

#[test]
fn a_fixed_time_in_the_gap_fires_at_its_end() {
    // 02:00 to 03:00 is left out; the end is 01:00 UTC.
    let day_before = "2024-03-30T12:00:00Z";
    check("30 2 * * *", "Europe/Berlin", day_before, &["2024-03-31T01:00:00Z", "2024-04-01T00:30:00Z"]);
    check("0 2 * * *", "Europe/Berlin", day_before, &["2024-03-31T01:00:00Z", "2024-04-01T00:00:00Z"]);
    // Once for all of them, and once with the time at the end itself.
    let several = &["2024-03-31T01:00:00Z", "2024-04-01T00:10:00Z"];
    check("10,20 2,3 * * *", "Europe/Berlin", "2024-03-31T00:30:00Z", &[several[0], "2024-03-31T01:10:00Z"]);
    check("0,30 2,3 * * *", "Europe/Berlin", "2024-03-31T00:30:00Z", &[several[0], "2024-03-31T01:30:00Z"]);
    check("0 0 * * *", "America/Havana", "2024-03-10T00:00:00Z", &["2024-03-10T05:00:00Z"]);
    check("0 12 30 12 *", "Pacific/Apia", "2011-12-29T12:00:00Z", &["2011-12-30T10:00:00Z"]);
}

#[test]
fn a_fixed_time_in_the_overlap_fires_first_only() {
    // 02:00 to 03:00 comes twice, from 00:00 and from 01:00 UTC.
    for after in ["2024-10-26T12:00:00Z", "2024-10-27T00:29:59Z"] {
        check("30 2 * * *", "Europe/Berlin", after, &["2024-10-27T00:30:00Z", "2024-10-28T01:30:00Z"]);
    }
    for after in ["2024-10-27T00:30:00Z", "2024-10-27T01:10:00Z", "2024-10-27T01:45:00Z"] {
        check("30 2 * * *", "Europe/Berlin", after, &["2024-10-28T01:30:00Z"]);
    }
    check(
        "0 2,3 * * *",
        "Europe/Berlin",
        "2024-10-26T22:00:00Z",
        &["2024-10-27T00:00:00Z", "2024-10-27T02:00:00Z"],
    );
}

#[test]
fn a_rhythm_follows_elapsed_time() {
    check(
        "*/30 * * * *",
        "Europe/Berlin",
        "2024-03-31T00:15:00Z",
        &["2024-03-31T00:30:00Z", "2024-03-31T01:00:00Z", "2024-03-31T01:30:00Z"],
    );
    check(
        "30 * * * *",
        "Europe/Berlin",
        "2024-10-26T23:45:00Z",
        &["2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z", "2024-10-27T02:30:00Z"],
    );
    // 02:00 does not exist on that day.
    check("0 */2 * * *", "Europe/Berlin", "2024-03-30T23:30:00Z", &["2024-03-31T02:00:00Z"]);
}

/// The end of the gap, found by looking at each minute: the first that is not before `civil` on the wall clock.
fn gap_end(zone: &TimeZone, civil: DateTime) -> Timestamp {
    let mut at = TimeZone::UTC.to_timestamp(civil).unwrap() - SignedDuration::from_hours(40);
    while zone.to_datetime(at) < civil {
        at += SignedDuration::from_mins(1);
    }
    at
}

fn naive_daily(zone: &TimeZone, first: Date, days: i32, time: civil::Time) -> Vec<Timestamp> {
    let mut instants: Vec<Timestamp> = (0..days)
        .map(|day| {
            let civil = first.checked_add(day.days()).unwrap().to_datetime(time);
            let ambiguous = zone.to_ambiguous_timestamp(civil);
            if matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. }) {
                gap_end(zone, civil)
            } else {
                ambiguous.earlier().unwrap()
            }
        })
        .collect();
    instants.dedup();
    instants
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Against a computation that goes day by day.
    #[test]
    fn daily_is_right_through_every_change_of_the_clock(
        zone in proptest::sample::select(ZONES),
        year in 2005i16..2045, hour in 0i8..24, minute in 0i8..60,
    ) {
        // Around midnight to 3 is where clocks change.
        let hour = if hour > 11 { hour % 4 } else { hour };
        let cron = Cron::new(&format!("{minute} {hour} * * *"), zone).unwrap();
        let first = civil::date(year, 1, 1);
        let expected = naive_daily(cron.time_zone(), first, 400, civil::time(hour, minute, 0, 0));
        let spec = Spec::Cron(cron);
        let before = expected[0] - SignedDuration::from_secs(1);
        prop_assert_eq!(spec.instants_between(before, Timestamp::MAX, expected.len()), expected);
    }

    /// Against a look at every minute of three days around a change of the clock.
    #[test]
    fn a_rhythm_is_every_instant_that_matches(
        zone in proptest::sample::select(ZONES), year in 2009i16..2040, nth in 0usize..4,
        step in prop_oneof![Just(7i8), Just(15), Just(30), Just(59)], hours in prop_oneof![Just("*"), Just("1-3"), Just("*/2")],
    ) {
        let cron = Cron::new(&format!("*/{step} {hours} * * *"), zone).unwrap();
        let tz = cron.time_zone().clone();
        let start: Timestamp = format!("{year}-01-01T00:00:00Z").parse().unwrap();
        let change = tz.following(start).nth(nth).map_or(start, |change| change.timestamp());
        let from = change - SignedDuration::from_hours(30);
        let until = change + SignedDuration::from_hours(42);
        let hour_matches = |hour: i8| match hours { "1-3" => (1..=3).contains(&hour), "*/2" => hour % 2 == 0, _ => true };
        let mut expected = Vec::new();
        let mut at = from + SignedDuration::from_mins(1);
        while at <= until {
            let civil = tz.to_datetime(at);
            if civil.minute() % step == 0 && civil.second() == 0 && hour_matches(civil.hour()) {
                expected.push(at);
            }
            at += SignedDuration::from_mins(1);
        }
        prop_assert_eq!(Spec::Cron(cron).instants_between(from, until, 10_000), expected);
    }

    /// From any instant, the next one is later, and nothing lies between: from just before it, it is found again.
    #[test]
    fn next_goes_forward_and_skips_nothing(
        zone in proptest::sample::select(ZONES), second in 1_100_000_000i64..2_500_000_000, nanos in 0i32..1_000_000_000,
        expression in proptest::sample::select(&[
            "* * * * * *", "*/7 */3 * * *", "0 2 * * *", "30 1,2,3 * * *", "15 0 1 * *", "0 0 29 2 *", "5 4 * * SUN",
            "*/5 2 * * *", "0 0 L * *",
        ][..]),
    ) {
        let spec = spec(expression, zone);
        let at = Timestamp::new(second, nanos).unwrap();
        let next = spec.next_after(at).unwrap();
        prop_assert!(next > at);
        prop_assert_eq!(spec.next_after(next - SignedDuration::from_nanos(1)), Some(next));
        prop_assert!(spec.next_after(next).unwrap() > next);
    }
}
