use jiff::civil::{self, Date};
use jiff::{SignedDuration, ToSpan};
use proptest::prelude::*;

use super::super::{Rule, Spec};
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
    Spec::from(Rule::Cron(Cron::new(expression, zone).unwrap()))
}

/// The instants after `after` are these, as many as there are.
fn check(expression: &str, zone: &str, after: &str, expected: &[&str]) {
    let expected: Vec<Timestamp> = expected.iter().map(|t| t.parse().unwrap()).collect();
    let after = after.parse().unwrap();
    let actual = spec(expression, zone).instants_between(after, Timestamp::MAX, expected.len());
    assert_eq!(actual, expected, "{expression} in {zone}");
}

#[test]
fn refused_with_the_field_and_the_character() {
    for (expression, zone, field, character) in [
        ("", "", "cron", 1),
        ("   ", "", "cron", 1),
        ("* * * *", "", "cron", 8),
        ("* * * * * * * *", "", "cron", 15),
        ("* * * * %", "", "cron", 9),
        ("@dailyy", "", "cron", 1),
        ("  @reboot", "", "cron", 3),
        ("@every 1h", "", "cron", 1),
        ("60 * * * *", "", "cron.minute", 1),
        ("-1 * * * *", "", "cron.minute", 1),
        ("5- * * * *", "", "cron.minute", 3),
        ("5-60 * * * *", "", "cron.minute", 3),
        ("? * * * *", "", "cron.minute", 1),
        ("L * * * *", "", "cron.minute", 1),
        ("60 0 * * * *", "", "cron.second", 1),
        ("* 24 * * *", "", "cron.hour", 3),
        ("0  JAN * * *", "", "cron.hour", 4),
        ("* * 0 * *", "", "cron.day_of_month", 5),
        ("* * 1,32 * *", "", "cron.day_of_month", 7),
        ("* * L-31 * *", "", "cron.day_of_month", 7),
        ("* * 32W * *", "", "cron.day_of_month", 5),
        ("* * W * *", "", "cron.day_of_month", 5),
        ("* * MON * *", "", "cron.day_of_month", 5),
        ("* * 1#2 * *", "", "cron.day_of_month", 5),
        ("* * * 13 *", "", "cron.month", 7),
        ("* * * FOO *", "", "cron.month", 7),
        ("* * * 0 *", "", "cron.month", 7),
        ("* * * * 8", "", "cron.day_of_week", 9),
        ("* * * * MONDAY", "", "cron.day_of_week", 9),
        ("* * * * +1", "", "cron.day_of_week", 9),
        ("* * * * 1#6", "", "cron.day_of_week", 11),
        ("* * * * 1#0", "", "cron.day_of_week", 11),
        ("* * * * *#1", "", "cron.day_of_week", 9),
        ("* * * * 15W", "", "cron.day_of_week", 9),
        ("* * * * 8L", "", "cron.day_of_week", 9),
        ("*/0 * * * *", "", "cron.minute", 3),
        ("*/61 * * * *", "", "cron.minute", 3),
        ("*/x * * * *", "", "cron.minute", 3),
        ("*/ * * * *", "", "cron.minute", 3),
        ("*/1/2 * * * *", "", "cron.minute", 3),
        ("/5 * * * *", "", "cron.minute", 1),
        ("** * * * *", "", "cron.minute", 1),
        ("1,,2 * * * *", "", "cron.minute", 3),
        ("ä * * * *", "", "cron.minute", 1),
        ("0 0 ä * *", "", "cron.day_of_month", 5),
        ("ä,60 * * * *", "", "cron.minute", 1),
        ("0 0 0 1 1 * 1969", "", "cron.year", 13),
        ("0 0 0 1 1 * 10000", "", "cron.year", 13),
        ("0 0 0 1 1 * 2030-2020", "", "cron.year", 13),
        ("0 0 30 2 *", "", "cron.day_of_month", 5),
        ("0 0 30 FEB ?", "", "cron.day_of_month", 5),
        ("0 0 31 4,6,9,11 *", "", "cron.day_of_month", 5),
        ("0 0 31W 2 *", "", "cron.day_of_month", 5),
        ("0 0 0 29 2 ? 2023", "", "cron.day_of_month", 7),
        ("0 0 0 29 2 ? 2100-2103", "", "cron.day_of_month", 7),
        ("TZ=Mars/Base 0 0 * * *", "", "zone", 4),
        ("CRON_TZ=UTC 61 0 * * *", "", "cron.minute", 13),
    ] {
        let error = Cron::new(expression, zone).map(|_| ()).unwrap_err();
        let place = error.place.as_ref().map(|place| place.character);
        assert_eq!((error.field, place), (field, Some(character)), "{expression}: {error}");
    }
    for zone in ["Mars/Olympus", "+02:00", "CEST", "Europe"] {
        assert_eq!(Cron::new("0 0 * * *", zone).unwrap_err().field, "zone", "{zone}");
    }
    assert_eq!(Cron::new("TZ=UTC 0 0 * * *", "Europe/Berlin").unwrap_err().field, "zone");
    let error = Cron::new("0 61 * * *", "").unwrap_err();
    assert_eq!(error.to_string(), "cron.hour is `61` at character 3 of `0 61 * * *`: expected 0 to 23");
    assert_eq!(error.marked().unwrap(), "0 61 * * *\n  ^");
}

/// The days of 2024 and later on which an expression fires at midnight, as `01-31`, after the given day.
fn days(expression: &str, after: &str, expected: &str) {
    let after: Timestamp = format!("{after}T00:00:00Z").parse().unwrap();
    let expected: Vec<_> = expected.split(' ').map(str::to_owned).collect();
    let found = spec(expression, "").instants_between(after, Timestamp::MAX, expected.len());
    let found: Vec<_> = found.iter().map(|at| at.strftime("%y-%m-%d").to_string()).collect();
    assert_eq!(found, expected, "{expression}");
}

#[test]
fn days_of_the_month_and_of_the_week() {
    for (expression, after, expected) in [
        // Vixie's rule: by either, unless one begins with `*`.
        ("0 0 13 * FRI", "2024-08-30", "24-09-06 24-09-13 24-09-20 24-09-27 24-10-04 24-10-11 24-10-13"),
        ("0 0 1,15 * 3", "2024-01-01", "24-01-03 24-01-10 24-01-15 24-01-17"),
        ("0 0 * * 3", "2024-01-01", "24-01-03 24-01-10"),
        ("0 0 */2 * MON", "2024-01-01", "24-01-15 24-01-29 24-02-05"),
        ("0 0 *,1 * MON", "2024-01-01", "24-01-08 24-01-15"),
        ("0 0 13 * */5", "2024-01-01", "24-09-13 24-10-13 24-12-13"),
        ("0 0 ? * MON", "2024-01-01", "24-01-08 24-01-15"),
        ("0 0 13 * ?", "2024-01-01", "24-01-13 24-02-13"),
        // The whole range is no `*`.
        ("0 0 1-31 * MON", "2024-01-01", "24-01-02 24-01-03"),
        // Sunday.
        ("0 0 * * 0", "2024-01-01", "24-01-07 24-01-14"),
        ("0 0 * * 7", "2024-01-01", "24-01-07 24-01-14"),
        ("0 0 * * SUN", "2024-01-01", "24-01-07 24-01-14"),
        ("0 0 * * 5-7", "2024-01-01", "24-01-05 24-01-06 24-01-07 24-01-12"),
        ("0 0 * * 6-7", "2024-01-01", "24-01-06 24-01-07 24-01-13"),
        ("0 0 * * 0-1", "2024-01-01", "24-01-07 24-01-08 24-01-14"),
        ("0 0 * * 7-1", "2024-01-01", "24-01-07 24-01-08 24-01-14"),
        ("0 0 * * 0-7", "2024-01-01", "24-01-02 24-01-03"),
        ("0 0 * * FRI-MON", "2024-01-01", "24-01-05 24-01-06 24-01-07 24-01-08 24-01-12"),
        ("0 0 * * sat-sun", "2024-01-01", "24-01-06 24-01-07 24-01-13"),
        ("0 0 * * 5-7/2", "2024-01-01", "24-01-05 24-01-07 24-01-12"),
        ("0 0 * * 1/2", "2024-01-01", "24-01-03 24-01-05 24-01-08"),
        ("0 0 * * MON-FRI/2", "2024-01-01", "24-01-03 24-01-05 24-01-08"),
        ("0 0 * * */2", "2024-01-01", "24-01-02 24-01-04 24-01-06 24-01-07"),
        // From the end.
        ("0 0 L * *", "2024-01-01", "24-01-31 24-02-29 24-03-31 24-04-30"),
        ("0 0 L 2 *", "2024-01-01", "24-02-29 25-02-28"),
        ("0 0 L-3 * ?", "2024-01-01", "24-01-28 24-02-26 24-03-28"),
        ("0 0 L-30 * ?", "2024-01-01", "24-03-01 24-05-01"),
        ("0 0 1,L * *", "2024-01-01", "24-01-31 24-02-01 24-02-29"),
        ("0 0 LW * *", "2024-01-01", "24-01-31 24-02-29 24-03-29 24-04-30 24-05-31 24-06-28"),
        ("0 0 L-1W * *", "2024-03-01", "24-03-29 24-04-29"),
        // The nearest working day, never in another month.
        ("0 0 15W * *", "2024-05-20", "24-06-14 24-07-15 24-08-15 24-09-16"),
        ("0 0 1W * *", "2024-05-20", "24-06-03 24-07-01 24-08-01 24-09-02"),
        ("0 0 31W * *", "2024-01-31", "24-03-29 24-05-31 24-07-31 24-08-30"),
        ("0 0 30W 6 *", "2024-01-31", "24-06-28 25-06-30"),
        ("0 0 10W,20W * *", "2024-01-01", "24-01-10 24-01-19 24-02-09 24-02-20"),
        // Of the month's weeks.
        ("0 0 * * 1#1", "2024-01-01", "24-02-05 24-03-04"),
        ("0 0 * * MON#2", "2024-01-01", "24-01-08 24-02-12"),
        ("0 0 * * FRI#5", "2024-01-01", "24-03-29 24-05-31 24-08-30"),
        ("0 0 * * 7#1", "2024-01-01", "24-01-07 24-02-04"),
        ("0 0 * * MON#L", "2024-01-01", "24-01-29 24-02-26"),
        ("0 0 * * 5L", "2024-01-01", "24-01-26 24-02-23"),
        ("0 0 * * FRIL", "2024-01-01", "24-01-26 24-02-23"),
        ("0 0 * * 7L", "2024-01-01", "24-01-28 24-02-25"),
        ("0 0 * * L", "2024-01-01", "24-01-06 24-01-13"),
        ("0 0 * * SUN-MON#3,TUE#1", "2024-01-03", "24-01-15 24-01-21 24-02-06 24-02-18 24-02-19"),
        ("0 0 29 2 *", "2024-03-01", "28-02-29 32-02-29"),
        ("0 0 29 2 *", "2096-03-01", "04-02-29 08-02-29"),
        ("0 0 29 FEB,MAR ?", "2024-03-01", "24-03-29 25-03-29"),
        ("0 0 30 2 MON", "2024-01-01", "24-02-05 24-02-12"),
        // Over the end.
        ("0 0 1 NOV-FEB *", "2024-01-01", "24-02-01 24-11-01 24-12-01 25-01-01 25-02-01 25-11-01"),
        ("0 0 30-2 * *", "2024-01-01", "24-01-02 24-01-30 24-01-31 24-02-01 24-02-02 24-03-01"),
        ("0 0 1 1/4 *", "2024-01-01", "24-05-01 24-09-01 25-01-01"),
        ("@yearly", "2024-01-01", "25-01-01 26-01-01"),
        ("@Monthly", "2024-01-01", "24-02-01 24-03-01"),
        ("@weekly", "2024-01-01", "24-01-07 24-01-14"),
        (" @daily ", "2024-01-01", "24-01-02 24-01-03"),
        ("@midnight", "2024-01-01", "24-01-02 24-01-03"),
        ("0 0 0 1 1 ? 2030", "2024-01-01", "30-01-01"),
        ("0 0 0 1 1 ? 2030,2025", "2024-01-01", "25-01-01 30-01-01"),
        ("0 0 0 1 1 ? 2026/3", "2024-01-01", "26-01-01 29-01-01"),
        ("0 0 0 1 1 ? 2020-2030/5", "2024-01-01", "25-01-01 30-01-01"),
        ("0 0 0 1 1 ? */10", "2024-01-01", "30-01-01 40-01-01"),
        ("0 0 0 1 1 ? *", "2024-01-01", "25-01-01 26-01-01"),
    ] {
        days(expression, after, expected);
    }
}

#[test]
fn times_of_the_day() {
    let times = |expression: &str, expected: &str| {
        let after = "2024-01-01T12:00:00Z".parse().unwrap();
        let expected: Vec<_> = expected.split(' ').map(str::to_owned).collect();
        let found = spec(expression, "").instants_between(after, Timestamp::MAX, expected.len());
        let found: Vec<_> = found.iter().map(|at| at.strftime("%H:%M:%S").to_string()).collect();
        assert_eq!(found, expected, "{expression}");
    };
    times("*/15 * * * *", "12:15:00 12:30:00 12:45:00 13:00:00");
    times("5/15 * * * *", "12:05:00 12:20:00 12:35:00 12:50:00 13:05:00");
    times("5-25/10 * * * *", "12:05:00 12:15:00 12:25:00 13:05:00");
    times("55-5/5 * * * *", "12:05:00 12:55:00 13:00:00 13:05:00");
    times("30 22-2 * * *", "22:30:00 23:30:00 00:30:00 01:30:00 02:30:00 22:30:00");
    times("0 22-4/3 * * *", "22:00:00 01:00:00 04:00:00 22:00:00");
    times("*/60 * * * *", "13:00:00 14:00:00");
    times("0 */24 * * *", "00:00:00 00:00:00");
    times("01 03,05 * * *", "03:01:00 05:01:00");
    times("0,30 */40 * * * *", "12:00:30 12:40:00 12:40:30 13:00:00");
    times("10-20/5 0 13 * * ?", "13:00:10 13:00:15 13:00:20 13:00:10");
    times("@hourly", "13:00:00 14:00:00");
    times("59 59 23 * * *", "23:59:59 23:59:59");
}

#[test]
fn a_year_that_has_passed_names_no_instant() {
    let spec = spec("0 0 12 1 1 ? 2010-2012", "Europe/Berlin");
    assert_eq!(spec.instants_between("2011-06-01T00:00:00Z".parse().unwrap(), Timestamp::MAX, 9).len(), 1);
    assert_eq!(spec.next_after("2013-01-01T00:00:00Z".parse().unwrap()), None);
}

#[test]
fn a_zone_may_stand_before_the_expression() {
    let cron = Cron::new(" CRON_TZ=Asia/Kolkata  0 12 * * * ", "").unwrap();
    assert_eq!((cron.expression(), cron.zone().name()), ("0 12 * * *", "Asia/Kolkata"));
    assert_eq!(cron, Cron::new("TZ=Asia/Kolkata 0 12 * * *", "Asia/Kolkata").unwrap());
}

#[test]
fn parts_of_a_second_count() {
    let from = "2024-01-01T00:00:00Z";
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
        let expected = naive_daily(cron.zone().time_zone(), first, 400, civil::time(hour, minute, 0, 0));
        let spec = Spec::from(Rule::Cron(cron));
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
        let tz = cron.zone().time_zone().clone();
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
        prop_assert_eq!(Spec::from(Rule::Cron(cron)).instants_between(from, until, 10_000), expected);
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
