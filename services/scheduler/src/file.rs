//! The file of `windlass schedule apply -f FILE`, in TOML or JSON.
//!
//! It holds one schedule, or several as `schedules`:
//!
//! ```toml
//! [[schedules]]
//! id = "nightly-report"          # required: letters, digits, `_` and `-`
//! queue = "reports"              # default: "default"
//! kind = "report.make"           # required
//! payload = { region = "eu" }    # any value; the task's body as JSON. Default: null
//! cron = "30 2 * * *"            # five fields, or six with the second first …
//! zone = "Europe/Berlin"         # … in this zone; default: UTC
//! priority = "high"              # critical | high | normal | low; default: normal
//! max_attempts = 3               # default: the fleet's retry policy
//! attempt_timeout = "10m"        # default: the fleet's
//! max_wait = "1h"                # time to wait for the first attempt; default: for ever
//! paused = false                 # default
//!
//! [[schedules]]
//! id = "heartbeat"
//! kind = "http.request"
//! payload = { url = "http://127.0.0.1/ping" }
//! every = "30s"                  # instead of `cron`: a whole number of periods after the Unix epoch
//! ```
//!
//! In JSON the same keys; a list of schedules is accepted as well. Unknown keys are errors. Durations are written as
//! `30s`, `1h 30m`, `250ms` or `PT30S`. Dates and times of TOML become their text.

use std::path::Path;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use windlass_core::schedule::{Cron, Interval, Schedule, Spec, Template};
use windlass_core::{Kind, Priority, QueueName, RetryPolicy, ScheduleId, duration};

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// TOML.
    Toml,
    /// JSON.
    Json,
}

/// A schedule as a file says it, valid but for its rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Names it among all schedules.
    pub id: ScheduleId,
    /// Where its tasks go.
    #[serde(default)]
    pub queue: QueueName,
    /// What they ask for.
    pub kind: Kind,
    /// The body of each, as JSON.
    #[serde(default)]
    pub payload: serde_json::Value,
    /// Of the jobs.
    #[serde(default)]
    pub priority: Priority,
    /// A cron expression; this or `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// The IANA name of the zone of `cron`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// A period; this or `cron`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    /// Failed attempts allowed, the first one included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Time allowed for one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_timeout: Option<String>,
    /// Time allowed to wait for the first attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_wait: Option<String>,
    /// While true, it fires nothing.
    #[serde(default)]
    pub paused: bool,
}

/// The file is not what it must be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no TOML.
    #[error("the file is not TOML")]
    Toml(#[source] toml::de::Error),
    /// It is no JSON.
    #[error("the file is not JSON")]
    Json(#[source] serde_json::Error),
    /// It has a form that means nothing.
    #[error("the file has neither `id` nor `schedules`: expected one schedule, or several under `schedules`")]
    Form,
    /// A schedule lacks a field, or has one that is not known or not of its form.
    #[error("schedule {number} of the file ({id}) is not valid")]
    Schedule {
        /// Its place in the file, from 1.
        number: usize,
        /// What it gives as its id.
        id: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A field of a schedule is not what it must be.
    #[error("schedule {id}: {field}: {reason}")]
    Field {
        /// Which schedule.
        id: ScheduleId,
        /// Which field.
        field: &'static str,
        /// What it was, and what was expected.
        reason: String,
    },
    /// Two schedules have one id.
    #[error("schedule {0} is in the file twice")]
    Twice(ScheduleId),
}

// === impl Format ===

impl Format {
    /// JSON for a name that ends with `.json`, else TOML.
    pub fn of_path(path: &Path) -> Self {
        match path.extension() {
            Some(extension) if extension.eq_ignore_ascii_case("json") => Self::Json,
            _ => Self::Toml,
        }
    }
}

/// Reads the schedules of a file; those that are new or have a new rule count from `now`.
pub fn read(text: &str, format: Format, now: Timestamp) -> Result<Vec<Schedule<Bytes>>, Error> {
    let mut schedules: Vec<Schedule<Bytes>> = Vec::new();
    for definition in definitions(text, format)? {
        let schedule = definition.schedule(now)?;
        if schedules.iter().any(|other| other.id == schedule.id) {
            return Err(Error::Twice(schedule.id));
        }
        schedules.push(schedule);
    }
    Ok(schedules)
}

fn definitions(text: &str, format: Format) -> Result<Vec<Definition>, Error> {
    use serde_json::Value;
    let value = match format {
        Format::Json => serde_json::from_str(text).map_err(Error::Json)?,
        Format::Toml => to_json(toml::Value::Table(toml::from_str(text).map_err(Error::Toml)?)),
    };
    let items = match value {
        Value::Array(items) => items,
        Value::Object(mut object) if object.len() == 1 && object.contains_key("schedules") => {
            match object.remove("schedules") {
                Some(Value::Array(items)) => items,
                _ => return Err(Error::Form),
            }
        }
        value @ Value::Object(_) if value.get("id").is_some() => vec![value],
        _ => return Err(Error::Form),
    };
    let read = |(place, item): (usize, Value)| {
        let id = item.get("id").and_then(Value::as_str).unwrap_or("without an id").chars().take(64).collect();
        serde_json::from_value(item).map_err(|source| Error::Schedule { number: place + 1, id, source })
    };
    items.into_iter().enumerate().map(read).collect()
}

fn to_json(value: toml::Value) -> serde_json::Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        // JSON has no infinity; null is what its writers make of it.
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(is) => is.into(),
        toml::Value::Datetime(at) => at.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(to_json).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, to_json(value))).collect(),
    }
}

// === impl Definition ===

impl Definition {
    /// Checks the rule, and takes `now` as the instant from which the schedule counts.
    pub fn schedule(self, now: Timestamp) -> Result<Schedule<Bytes>, Error> {
        let field = |field, reason: String| Error::Field { id: self.id.clone(), field, reason };
        let duration = |name, text: &str| {
            duration::parse(text).filter(|d| !d.is_zero()).ok_or_else(|| {
                let expected = duration::EXPECTED;
                field(name, format!("`{text}` is not a duration: expected {expected}, more than 0"))
            })
        };
        let optional = |name, text: Option<&str>| text.map(|text| duration(name, text)).transpose();
        let rule = |e: windlass_core::schedule::Error| {
            // As the file names it.
            let name = if e.field == "interval" { "every" } else { e.field };
            field(name, format!("is `{}`: expected {}", e.value, e.expected))
        };
        let spec = match (&self.cron, &self.every, &self.zone) {
            (Some(expression), None, zone) => {
                Spec::Cron(Cron::new(expression, zone.as_deref().unwrap_or_default()).map_err(rule)?)
            }
            (None, Some(_), Some(_)) => {
                return Err(field("zone", "stands with `every`: expected with `cron` only".into()));
            }
            (None, Some(every), None) => {
                Spec::Interval(Interval::new(duration("every", every)?).map_err(rule)?)
            }
            _ => return Err(field("cron", "expected either `cron` or `every`".into())),
        };
        let retry = |max_attempts| {
            RetryPolicy::default()
                .with_max_attempts(max_attempts)
                .map_err(|e| field("max_attempts", e.to_string()))
        };
        Ok(Schedule {
            task: Template {
                kind: self.kind.clone(),
                payload: self.payload.to_string().into(),
                content_type: "application/json".to_owned(),
                priority: self.priority,
                retry: self.max_attempts.map(retry).transpose()?,
                attempt_timeout: optional("attempt_timeout", self.attempt_timeout.as_deref())?,
                max_wait: optional("max_wait", self.max_wait.as_deref())?,
            },
            spec,
            paused: self.paused,
            created_at: now,
            queue: self.queue.clone(),
            id: self.id.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn fails(text: &str, format: Format, expected: &str) {
        let error = read(text, format, NOW).unwrap_err();
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
        let text: String = include_str!("file.rs")
            .lines()
            .skip_while(|line| *line != "//! ```toml")
            .skip(1)
            .take_while(|line| *line != "//! ```")
            .flat_map(|line| [line.trim_start_matches("//!").trim_start(), "\n"])
            .collect();
        let schedules = read(&text, Format::Toml, NOW).unwrap();
        let [report, ping] = &schedules[..] else { panic!("{schedules:?}") };
        assert_eq!(report.task.payload, Bytes::from_static(b"{\"region\":\"eu\"}"));
        assert_eq!(report.spec, Spec::Cron(Cron::new("30 2 * * *", "Europe/Berlin").unwrap()));
        assert_eq!(report.task.priority, Priority::High);
        assert_eq!(report.task.retry.as_ref().map(RetryPolicy::max_attempts), Some(3));
        assert_eq!(report.task.attempt_timeout, Some(Duration::from_mins(10)));
        assert_eq!(report.task.max_wait, Some(Duration::from_hours(1)));
        assert_eq!(report.task_at(NOW).max_wait, report.task.max_wait);
        assert_eq!(ping.spec, Spec::Interval(Interval::new(Duration::from_secs(30)).unwrap()));
        assert_eq!((ping.queue.as_str(), ping.paused), ("default", false));
    }

    #[test]
    fn json_in_three_forms() {
        let one = r#"{"id": "a", "kind": "k", "every": "1m"}"#;
        for text in [one.to_owned(), format!("[{one}]"), format!("{{\"schedules\": [{one}]}}")] {
            let schedules = read(&text, Format::Json, NOW).unwrap();
            assert_eq!(schedules.len(), 1);
            assert_eq!(schedules[0].task.payload, Bytes::from_static(b"null"));
        }
        assert_eq!(Format::of_path(Path::new("a/b.JSON")), Format::Json);
        assert_eq!(Format::of_path(Path::new("a/b.toml")), Format::Toml);
    }

    #[test]
    fn toml_dates_become_text() {
        let schedules =
            read("id = \"a\"\nkind = \"k\"\nevery = \"1m\"\npayload = [1979-05-27, 1.5]", Format::Toml, NOW)
                .unwrap();
        assert_eq!(schedules[0].task.payload, Bytes::from_static(b"[\"1979-05-27\",1.5]"));
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
            (r#""every": "1m", "cron": "* * * * *""#, "either `cron` or `every`"),
            (r#""paused": true"#, "either `cron` or `every`"),
            (r#""cron": "* 25 * * *""#, "schedule a: cron.hour: is `25`"),
            (r#""cron": "* * * * *", "zone": "Mars""#, "zone"),
        ] {
            fails(&with(rest), Format::Json, expected);
        }
        let one = with(r#""every": "1m""#);
        fails(&format!("[{one}, {one}]"), Format::Json, "twice");
        fails(r#"[{"id": "a b", "kind": "k", "every": "1m"}]"#, Format::Json, "schedule 1 of the file (a b)");
    }
}
