//! Expressions of other projects' own test suites, with the instants that those expect, where their dialect says the same
//! as ours; and where it does not, what ours says instead.
//!
//! Of robfig/cron `spec_test.go`, of Quartz `CronExpressionTest.java`, of Temporal `calendar_test.go` and `spec_test.go`
//! (all as of August 2026), and of Vixie cron the examples of `crontab.5`, which has no tests.

use super::super::{Rule, Spec};
use super::*;

fn spec(expression: &str, zone: &str) -> Spec {
    Spec::from(Rule::parse(expression, zone).unwrap_or_else(|error| panic!("{expression}: {error}")))
}

/// The instants after `after` are these, as many as there are; times are those of the zone where they have no offset.
fn check(expression: &str, zone: &str, after: &str, expected: &[&str]) {
    let time_zone = Zone::new(zone).unwrap().time_zone().clone();
    let read = |text: &str| {
        text.parse::<Timestamp>().unwrap_or_else(|_| {
            let civil: jiff::civil::DateTime = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            civil.to_zoned(time_zone.clone()).unwrap().timestamp()
        })
    };
    let expected: Vec<_> = expected.iter().map(|text| read(text)).collect();
    let found = spec(expression, zone).instants_between(read(after), Timestamp::MAX, expected.len());
    assert_eq!(found, expected, "{expression} in {zone} after {after}");
}

/// Whether an instant of UTC is one of the expression's.
fn fires(expression: &str, at: &str, expected: bool) {
    let at: Timestamp = format!("{at}Z").parse().unwrap();
    let before = at - jiff::SignedDuration::from_secs(1);
    assert_eq!(spec(expression, "").next_after(before) == Some(at), expected, "{expression} at {at}");
}

#[test]
fn robfig_activation() {
    for (at, expression, expected) in [
        ("2012-07-09T15:00", "0/15 * * * *", true),
        ("2012-07-09T15:45", "0/15 * * * *", true),
        ("2012-07-09T15:40", "0/15 * * * *", false),
        ("2012-07-09T15:05", "5/15 * * * *", true),
        ("2012-07-09T15:20", "5/15 * * * *", true),
        ("2012-07-09T15:50", "5/15 * * * *", true),
        ("2012-07-15T15:00", "0/15 * * Jul *", true),
        ("2012-07-15T15:00", "0/15 * * Jun *", false),
        ("2012-07-15T08:30", "30 08 ? Jul Sun", true),
        ("2012-07-15T08:30", "30 08 15 Jul ?", true),
        ("2012-07-16T08:30", "30 08 ? Jul Sun", false),
        ("2012-07-16T08:30", "30 08 15 Jul ?", false),
        ("2012-07-09T15:00", "@hourly", true),
        ("2012-07-09T15:04", "@hourly", false),
        ("2012-07-09T15:00", "@daily", false),
        ("2012-07-09T00:00", "@daily", true),
        ("2012-07-09T00:00", "@weekly", false),
        ("2012-07-08T00:00", "@weekly", true),
        ("2012-07-08T01:00", "@weekly", false),
        ("2012-07-08T00:00", "@monthly", false),
        ("2012-07-01T00:00", "@monthly", true),
        // Both days are restricted: either matches.
        ("2012-07-15T00:00", "* * 1,15 * Sun", true),
        ("2012-06-15T00:00", "* * 1,15 * Sun", true),
        ("2012-08-01T00:00", "* * 1,15 * Sun", true),
        // One is a star: both must.
        ("2012-07-15T00:00", "* * * * Mon", false),
        ("2012-07-09T00:00", "* * 1,15 * *", false),
        ("2012-07-15T00:00", "* * 1,15 * *", true),
        ("2012-07-15T00:00", "* * */2 * Sun", true),
        // There a star with a step is a restriction, and the Sunday fires. Here, as in Vixie cron, what begins with a star
        // is none, so that both must match: July 15 is neither 1, 11, 21 nor 31.
        ("2012-07-15T00:00", "* * */10 * Sun", false),
    ] {
        fires(expression, at, expected);
    }
}

#[test]
fn robfig_next() {
    for (after, expression, next) in [
        ("2012-07-09T14:45", "0 0/15 * * * *", "2012-07-09T15:00"),
        ("2012-07-09T14:59", "0 0/15 * * * *", "2012-07-09T15:00"),
        ("2012-07-09T14:59:59", "0 0/15 * * * *", "2012-07-09T15:00"),
        ("2012-07-09T15:45", "0 20-35/15 * * * *", "2012-07-09T16:20"),
        ("2012-07-09T23:46", "0 */15 * * * *", "2012-07-10T00:00"),
        ("2012-07-09T23:45", "0 20-35/15 * * * *", "2012-07-10T00:20"),
        ("2012-07-09T23:35:51", "15/35 20-35/15 * * * *", "2012-07-10T00:20:15"),
        ("2012-07-09T23:35:51", "15/35 20-35/15 1/2 * * *", "2012-07-10T01:20:15"),
        ("2012-07-09T23:35:51", "15/35 20-35/15 10-12 * * *", "2012-07-10T10:20:15"),
        ("2012-07-09T23:35:51", "15/35 20-35/15 1/2 */2 * *", "2012-07-11T01:20:15"),
        ("2012-07-09T23:35:51", "15/35 20-35/15 * 9-20 * *", "2012-07-10T00:20:15"),
        ("2012-07-09T23:35:51", "15/35 20-35/15 * 9-20 Jul *", "2012-07-10T00:20:15"),
        ("2012-07-09T23:35", "0 0 0 9 Apr-Oct ?", "2012-08-09T00:00"),
        ("2012-07-09T23:35", "0 0 0 * Feb Mon", "2013-02-04T00:00"),
        ("2012-12-31T23:59:45", "0 * * * * *", "2013-01-01T00:00"),
        ("2012-07-09T23:35", "0 0 0 29 Feb ?", "2016-02-29T00:00"),
        // `*/5` with a weekday: by both here (see above), so the first Monday that is the 1st, 6th, 11th and so on.
        ("2012-07-09T23:35", "0 0 0 */5 Apr,Aug,Oct Mon", "2012-08-06T00:00"),
        ("2012-07-09T23:35", "0 0 0 */5 Oct Mon", "2012-10-01T00:00"),
    ] {
        check(expression, "", after, &[next]);
    }
    check("0 0 0 * Feb Mon/2", "", "2012-07-09T23:35", &["2013-02-01T00:00"]);
    check("14 14 * * ?", "Asia/Kolkata", "2016-01-03T14:00:00+05:30", &["2016-01-03T14:14:00+05:30"]);
    for (zone, after, expression, next) in [
        ("America/New_York", "2012-11-04T00:00:00-04:00", "0 30 2 04 Nov ?", "2012-11-04T02:30:00-05:00"),
        ("America/New_York", "2012-11-04T00:00:00-04:00", "0 0 2 * * ?", "2012-11-04T02:00:00-05:00"),
        ("America/New_York", "2012-11-04T02:00:00-05:00", "0 0 2 * * ?", "2012-11-05T02:00:00-05:00"),
        ("America/New_York", "2012-11-04T00:00:00-04:00", "0 0 3 * * ?", "2012-11-04T03:00:00-05:00"),
        ("America/New_York", "2012-11-04T00:00:00-04:00", "0 0 3 3 * ?", "2012-12-03T03:00:00-05:00"),
        ("America/New_York", "2012-03-11T00:00:00-05:00", "0 0 1 * * ?", "2012-03-11T01:00:00-05:00"),
        ("America/New_York", "2012-03-11T01:00:00-05:00", "0 0 1 * * ?", "2012-03-12T01:00:00-04:00"),
        // Midnight is left out in São Paulo.
        ("America/Sao_Paulo", "2018-10-17T05:00:00-04:00", "0 0 9 10 * ?", "2018-11-10T06:00:00-05:00"),
        ("America/Sao_Paulo", "2018-02-14T05:00:00-05:00", "0 0 9 22 * ?", "2018-02-22T07:00:00-05:00"),
    ] {
        check(expression, zone, after, &[next]);
    }
    // Every hour, through both changes.
    for prefix in ["TZ=America/New_York", "CRON_TZ=America/New_York"] {
        let expression = format!("{prefix} 0 0 * * * ?");
        let spring = ["2012-03-11T01:00:00-05:00", "2012-03-11T03:00:00-04:00", "2012-03-11T04:00:00-04:00"];
        check(&expression, "", "2012-03-11T00:00:00-05:00", &spring);
        let autumn = ["2012-11-04T01:00:00-04:00", "2012-11-04T01:00:00-05:00", "2012-11-04T02:00:00-05:00"];
        check(&expression, "", "2012-11-04T00:00:00-04:00", &autumn);
    }
    // Other by choice: a fixed time that is left out fires at the end of the gap (there it is skipped), and one that comes
    // twice fires the first time (there twice).
    let (zone, spring) = ("America/New_York", "2012-03-11T00:00:00-05:00");
    check("0 30 2 11 Mar ?", zone, spring, &["2012-03-11T03:00:00-04:00", "2013-03-11T02:30:00-04:00"]);
    check("0 0 2 * * ?", zone, spring, &["2012-03-11T03:00:00-04:00", "2012-03-12T02:00:00-04:00"]);
    let autumn = "2012-11-04T00:00:00-04:00";
    check("0 0 1 * * ?", zone, autumn, &["2012-11-04T01:00:00-04:00", "2012-11-05T01:00:00-05:00"]);
    for wrong in ["xyz", "60 0 * * *", "0 60 * * *", "0 0 * * XYZ", "15/0 * * * *"] {
        assert!(Cron::new(wrong, "").is_err(), "{wrong}");
    }
    // There they never fire.
    for never in ["0 0 0 30 Feb ?", "0 0 0 31 Apr ?"] {
        assert_eq!(Cron::new(never, "").unwrap_err().field, "cron.day_of_month", "{never}");
    }
}

#[test]
fn quartz() {
    for (expression, at, expected) in [
        ("0 15 10 * * ? 2005", "2005-06-01T10:15", true),
        ("0 15 10 * * ? 2005", "2005-06-30T10:15", true),
        ("0 15 10 * * ? 2005", "2006-06-30T10:15", false),
        ("0 15 10 * * ? 2005", "2005-02-28T10:15", true),
        ("0 15 10 * * ? 2005", "2005-02-01T10:14", false),
        ("0 15 10 12 * ? 2005", "2005-12-12T10:15", true),
        ("0 15 10 12 * ? 2005", "2005-12-13T10:15", false),
        ("0 15 10 L * ? 2005", "2005-12-31T10:15", true),
        ("0 15 10 L * ? 2005", "2005-12-30T10:15", false),
        ("0 15 10 L * ? 2005", "2005-09-30T10:15", true),
        ("0 15 10 L 2 ? 2005", "2005-02-28T10:15", true),
        ("0 15 10 L 2 ? 2004", "2004-02-29T10:15", true),
        ("0 15 10 L 2 ? 2004", "2004-02-28T10:15", false),
        ("0 15 10 L-2 * ? 2005", "2005-12-29T10:15", true),
        ("0 15 10 L-2 * ? 2005", "2005-12-31T10:15", false),
        ("0 15 10 L-1 * ? 2005", "2005-09-29T10:15", true),
        ("0 15 10 L-3 2 ? 2005", "2005-02-25T10:15", true),
        ("0 15 10 L-3 2 ? 2005", "2005-02-28T10:15", false),
        ("0 15 10 L-3 2 ? 2000", "2000-02-26T10:15", true),
        ("0 15 10 L-3 2 ? 2000", "2000-02-25T10:15", false),
        ("0 15 10 L-2 * ? 2010", "2010-06-28T10:15", true),
        ("0 15 10 L-5W * ? 2010", "2010-10-26T10:15", true),
        ("0 15 10 L-5W * ? 2010", "2010-10-25T10:15", false),
        ("0 15 10 L-5W * ? 2010", "2010-09-24T10:15", true),
        ("0 15 10 L-5W * ? 2010", "2010-09-25T10:15", false),
        ("0 15 10 L-1W * ? 2010", "2010-10-29T10:15", true),
        ("0 15 10 1,L * ? 2010", "2010-10-01T10:15", true),
        ("0 15 10 1,L * ? 2010", "2010-10-31T10:15", true),
        ("0 15 10 1,L * ? 2010", "2010-10-30T10:15", false),
        ("0 15 10 1,L * ? 2010", "2010-02-28T10:15", true),
        ("0 15 10 1,L * ? 2010", "2010-02-27T10:15", false),
        ("0 15 10 L-1W,L-1 * ? 2010", "2010-10-29T10:15", true),
        ("0 15 10 L-1W,L-1 * ? 2010", "2010-10-30T10:15", true),
        ("0 15 10 L-1W,L-1 * ? 2010", "2010-02-26T10:15", true),
        ("0 15 10 L-1W,L-1 * ? 2010", "2010-02-27T10:15", true),
        ("0 15 10 2W,16 * ? 2010", "2010-10-01T10:15", true),
        ("0 15 10 2W,16 * ? 2010", "2010-10-02T10:15", false),
        ("0 15 10 2W,16 * ? 2010", "2010-10-16T10:15", true),
        ("0 15 10 2W,16 * ? 2010", "2010-11-02T10:15", true),
        ("0 15 10 2W,16 * ? 2010", "2010-11-16T10:15", true),
        ("19 15 10 4 Apr ? ", "2010-04-04T10:15:19", true),
    ] {
        fires(expression, at, expected);
    }
    for wrong in [
        "0 15 10 * * ? 2005 *",
        "* * * * Foo ?",
        "* * * * Jan-Foo ?",
        "0/5 * * 32W 1 ?",
        "0/120 0 8-18 ? * 2-6",
        "0/ 0 8-18 ? * 2-6",
        "/60 0 8-18 ? * 2-6",
        "0 0/120 8-18 ? * 2-6",
        "0 / 8-18 ? * 2-6",
    ] {
        assert!(Cron::new(wrong, "").is_err(), "{wrong}");
    }
    // Refused there, as both day fields are said, or two sorts of days in one field; here the rule for both fields holds,
    // and lists take all.
    for right in ["0 0 * * * *", "0 0 * 4 * *", "0 43 9 ? * SAT,SUN,L", "0 43 9 ? * 1#1,5#3"] {
        assert!(Cron::new(right, "").is_ok(), "{right}");
    }
    // There Sunday is 1, so that 5L is the last Thursday; here it is 0 or 7, and 5L the last Friday.
    fires("0 43 9 ? * 5L", "2010-10-29T09:43", true);
    fires("0 43 9 ? * 5L", "2010-10-28T09:43", false);
}

#[test]
fn temporal() {
    check(
        "5,9 */2 * * *",
        "",
        "2022-03-17T13:10",
        &["2022-03-17T14:05", "2022-03-17T14:09", "2022-03-17T16:05"],
    );
    let (zone, spring) = ("US/Pacific", "2022-03-11T20:00:00-08:00");
    let london = ["2022-03-23T05:23", "2022-03-23T07:23", "2022-03-24T05:23", "2022-03-24T07:23"];
    check("23 5,7 * * *", "Europe/London", "2022-03-23T03:00", &london);
    check("0 55 13 7 4 ? 2022", "", "2022-03-23T11:00", &["2022-04-07T13:55"]);
    let evenly = ["2022-03-23T13:30", "2022-03-23T15:00", "2022-03-23T16:30", "2022-03-23T18:00"];
    check("@every 90m", "", "2022-03-23T12:53:02", &evenly);
    let phased = ["2022-03-23T13:35:44", "2022-03-23T15:05:44", "2022-03-23T16:35:44"];
    check("@every 90m/5m44s", "", "2022-03-23T12:53:02", &phased);
    for (days, weekday, expected) in [
        (&["0", "7", "sun", "*", "0-3", "5-7", "5-7/2", "6-7", "2-7/5", "0-7/7", "0/7"][..], 6, true),
        (&["*", "5-7", "6-7", "2/4", "2-7/4"], 5, true),
        (&["0", "7", "sun", "5-7", "5-7/2", "6-7", "2-7/5", "0-7/7", "0/7"], 7, false),
    ] {
        for days in days {
            fires(&format!("0 0 * * {days}"), &format!("2022-03-{weekday:02}T00:00"), expected);
        }
    }
    // Other by choice, as for robfig; and where both days are said: by either here, by both there.
    check(
        "33 33 2 * * * *",
        zone,
        spring,
        &["2022-03-12T02:33:33", "2022-03-13T03:00", "2022-03-14T02:33:33"],
    );
    let once = ["2021-11-07T01:33:33-07:00", "2021-11-07T01:44:33-07:00", "2021-11-08T01:33:33-08:00"];
    check("33 33,44 1 * * * *", zone, "2021-11-07T00:15:15-07:00", &once);
    check(
        "55 55 5 2/2 * wed-thu *",
        zone,
        "2022-03-02T05:55:55",
        &["2022-03-03T05:55:55", "2022-03-04T05:55:55"],
    );
    let london = ["2004-12-05T00:01", "2004-12-12T00:01"];
    check("1 0 * Dec Sun", "Europe/London", "2004-10-31T01:07:03", &london);
    for wrong in ["2/3/5 * * * *", "* * * * 1-5-7", "13,18,44, * * * *", "* * * * monday-", "* * * Sept *"] {
        assert!(Cron::new(wrong, "").is_err(), "{wrong}");
    }
    // Refused there.
    assert!(Cron::new("18-13 * * * *", "").is_ok() && Cron::new("* * * * Fri-Tue", "").is_ok());
}

#[test]
fn vixie() {
    let after = "2024-01-05T16:00";
    for (expression, expected) in [
        ("5 0 * * *", ["2024-01-06T00:05", "2024-01-07T00:05"]),
        ("15 14 1 * *", ["2024-02-01T14:15", "2024-03-01T14:15"]),
        // The next weekdays: a Friday evening, and then Monday.
        ("0 22 * * 1-5", ["2024-01-05T22:00", "2024-01-08T22:00"]),
        ("23 0-23/2 * * *", ["2024-01-05T16:23", "2024-01-05T18:23"]),
        ("5 4 * * sun", ["2024-01-07T04:05", "2024-01-14T04:05"]),
        // The 1st and the 15th, and every Friday.
        ("30 4 1,15 * 5", ["2024-01-12T04:30", "2024-01-15T04:30"]),
    ] {
        check(expression, "", after, &expected);
    }
}
