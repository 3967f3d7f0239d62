use std::io;
use std::time::Duration;

use windlass_core::schedule::{Cron, Interval, Misfire, Overlap, Pause, Rule, Spec};
use windlass_core::{Priority, RetryPolicy};

use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const NO_FILES: ReadFile<'static> = &|_| Err(io::ErrorKind::NotFound.into());

fn interval(seconds: u64) -> Rule {
    Rule::Interval(Interval::new(Duration::from_secs(seconds), Duration::ZERO).unwrap())
}

fn fails(text: &str, format: Format, expected: &str) {
    let error = read(text, format, NOW, NO_FILES).unwrap_err();
    let mut shown = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        shown = format!("{shown}: {cause}");
        source = cause.source();
    }
    assert!(shown.contains(expected), "{shown}");
}

#[test]
fn the_documented_file_is_read() {
    let text: String = include_str!("../file.rs")
        .lines()
        .skip_while(|line| *line != "//! ```toml")
        .skip(1)
        .take_while(|line| *line != "//! ```")
        .flat_map(|line| [line.trim_start_matches("//!").trim_start(), "\n"])
        .collect();
    let schedules = read(&text, Format::Toml, NOW, NO_FILES).unwrap();
    let [report, ping] = &schedules[..] else { panic!("{schedules:?}") };
    assert!(!report.keeps_pause && ping.keeps_pause);
    let (report, ping) = (&report.schedule, &ping.schedule);
    assert_eq!(report.task.payload, Bytes::from_static(b"{\"region\":\"eu\"}"));
    assert_eq!(report.spec.rules(), [Rule::Cron(Cron::new("30 2 * * *", "Europe/Berlin").unwrap())]);
    assert_eq!((report.spec.jitter(), report.spec.exclusions().len()), (Duration::from_mins(5), 2));
    assert_eq!(report.policy.overlap, Overlap::Skip);
    assert_eq!(report.task.priority, Priority::High);
    assert_eq!(report.task.retry.as_ref().map(RetryPolicy::max_attempts), Some(3));
    assert_eq!(report.task.attempt_timeout, Some(Duration::from_mins(10)));
    assert_eq!(report.task.max_wait, Some(Duration::from_hours(1)));
    assert_eq!(report.task_at(NOW).max_wait, report.task.max_wait);
    assert_eq!(ping.spec, Spec::from(interval(30)));
    assert_eq!((ping.queue.as_str(), &ping.pause), ("default", &None));
}

#[test]
fn json_in_three_forms() {
    let one = r#"{"id": "a", "kind": "k", "every": "1m"}"#;
    for text in [one.to_owned(), format!("[{one}]"), format!("{{\"schedules\": [{one}]}}")] {
        let schedules = read(&text, Format::Json, NOW, NO_FILES).unwrap();
        assert_eq!(schedules.len(), 1);
        assert_eq!(schedules[0].schedule.task.payload, Bytes::from_static(b"null"));
    }
    assert_eq!(Format::of_path(Path::new("a/b.JSON")), Format::Json);
    assert_eq!(Format::of_path(Path::new("a/b.toml")), Format::Toml);
}

#[test]
fn toml_dates_become_text() {
    let schedules = read(
        "id = \"a\"\nkind = \"k\"\nevery = \"1m\"\npayload = [1979-05-27, 1.5]",
        Format::Toml,
        NOW,
        NO_FILES,
    )
    .unwrap();
    assert_eq!(schedules[0].schedule.task.payload, Bytes::from_static(b"[\"1979-05-27\",1.5]"));
}

#[test]
fn what_is_wrong_is_named() {
    fails("id = ", Format::Toml, "is not TOML");
    fails("{", Format::Json, "is not JSON");
    fails("7", Format::Json, "neither `id` nor `schedules`");
    fails("{\"schedules\": 7}", Format::Json, "neither `id` nor `schedules`");
    let with = |rest: &str| format!(r#"{{"id": "a", "kind": "k", {rest}}}"#);
    for (rest, expected) in [
        (r#""every": "1m", "colour": 1"#, "unknown field `colour`"),
        (r#""every": "1m", "queue": "a.b""#, "is not a queue name"),
        (r#""every": "1m", "priority": "vip""#, "vip"),
        (r#""every": "1m", "max_attempts": 0"#, "max_attempts"),
        (r#""every": "1m", "attempt_timeout": "0s""#, "attempt_timeout"),
        (r#""every": "1m", "max_wait": "never""#, "max_wait"),
        (r#""every": "500ms""#, "at least 1s"),
        (r#""every": "-5s""#, "every"),
        (r#""every": "soon""#, "`soon` is not a duration"),
        (r#""every": "1m", "zone": "UTC""#, "zone"),
        (r#""paused": true"#, "cron: expected `cron`, `every` or `at`"),
        (r#""cron": []"#, "cron: expected `cron`, `every` or `at`"),
        (r#""cron": 7"#, "a text, or a list of texts"),
        (r#""cron": ["* * * * *", "* * *"]"#, "cron: is `* * *` at character 6"),
        (r#""cron": "0 0 30 2 *""#, "a date that exists"),
        (r#""every": "1m", "phase": "1m""#, "phase"),
        (r#""cron": "* * * * *", "phase": "1s""#, "phase"),
        (r#""every": "0s""#, "every"),
        (r#""every": "1m", "jitter": "61s""#, "jitter"),
        (r#""at": "tomorrow""#, "at: `tomorrow` is not an instant"),
        (r#""every": "1m", "start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z""#, "end"),
        (r#""every": "1m", "exclude": "Christmas""#, "exclude"),
        (r#""every": "1m", "exclude": "2026-12-26/2026-12-24""#, "exclude"),
        (r#""every": "1m", "exclude_calendar": "none.ics""#, "exclude_calendar: `none.ics` cannot be read"),
        (r#""every": "1m", "overlap": "maybe""#, "unknown variant `maybe`"),
        (r#""every": "1m", "misfire": "maybe""#, "unknown variant `maybe`"),
        (r#""every": "1m", "misfire": "paced", "pace": "1m""#, "pace"),
        (r#""every": "1m", "pace": "10s""#, "pace"),
        (r#""every": "1m", "catch_up_window": "1s""#, "catch_up_window"),
        (r#""every": "1m", "limit": 0"#, "limit"),
        (r#""cron": "* 25 * * *""#, "schedule a: cron.hour: is `25`"),
        (r#""cron": "* * * * *", "zone": "Mars""#, "zone"),
    ] {
        fails(&with(rest), Format::Json, expected);
    }
    let one = with(r#""every": "1m""#);
    fails(&format!("[{one}, {one}]"), Format::Json, "twice");
    fails(r#"[{"id": "a b", "kind": "k", "every": "1m"}]"#, Format::Json, "schedule 1 of the file (a b)");
}

#[test]
fn a_schedule_may_have_all_of_it() {
    let text = r#"
id = "all"
kind = "k"
cron = ["0 9 * * MON-FRI", "0 12 * * SAT"]
every = ["1h", "7h"]
phase = "5m"
at = 2026-12-24T18:00:00Z
zone = "Europe/Berlin"
start = "2026-01-01T00:00:00Z"
end = "2027-01-01T00:00:00Z"
exclude = ["2026-05-01", "2026-12-24/2026-12-26", "2026-06-01T00:00:00Z/2026-06-01T12:00:00Z"]
exclude_calendar = "holidays.ics"
jitter = "10s"
overlap = "buffer_one"
misfire = "all"
catch_up_window = "2h"
pause_on_failure = true
limit = 9
paused = true
"#;
    let holidays: ReadFile<'_> = &|name| {
        assert_eq!(name, "holidays.ics");
        Ok("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:19700101\nRRULE:FREQ=YEARLY;COUNT=3\nEND:VEVENT\nEND:VCALENDAR".into())
    };
    let desired = read(text, Format::Toml, NOW, holidays).unwrap().remove(0);
    let schedule = desired.schedule;
    assert_eq!(schedule.spec.rules().len(), 5);
    assert_eq!((schedule.spec.exclusions().days().len(), schedule.spec.exclusions().spans().len()), (5, 1));
    let policy = schedule.policy;
    assert_eq!((policy.overlap, policy.misfire, policy.limit), (Overlap::BufferOne, Misfire::All, Some(9)));
    assert_eq!((policy.catch_up_window, policy.pause_on_failure), (Duration::from_hours(2), true));
    assert_eq!((schedule.pause, desired.keeps_pause), (Some(Pause::default()), false));
}
