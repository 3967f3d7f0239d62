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
//! cron = "30 2 * * *"            # one or a list …
//! zone = "Europe/Berlin"         # … in this zone; default: UTC
//! priority = "high"              # critical | high | normal | low; default: normal
//! max_attempts = 3               # default: the fleet's retry policy
//! attempt_timeout = "10m"        # default: the fleet's
//! max_wait = "1h"                # time to wait for the first attempt; default: for ever
//! exclude = ["2026-12-24/2026-12-26", "2027-01-01"]
//! jitter = "5m"
//! overlap = "skip"
//! paused = false                 # default: as it is; a new schedule is not
//!
//! [[schedules]]
//! id = "heartbeat"
//! kind = "http.request"
//! payload = { url = "http://127.0.0.1/ping" }
//! every = "30s"                  # a whole number of periods after the Unix epoch
//! ```
//!
//! In JSON the same keys; a list of schedules is accepted as well. Unknown keys are errors. Durations are written as
//! `30s`, `1h 30m`, `250ms` or `PT30S`. Dates and times of TOML become their text.

mod calendar;
mod definition;

use std::path::Path;

use bytes::Bytes;
use jiff::Timestamp;
use windlass_core::ScheduleId;
use windlass_core::schedule::Schedule;

pub use calendar::{Calendar, read as read_calendar};
pub use definition::Definition;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// TOML.
    Toml,
    /// JSON.
    Json,
}

/// A schedule as it is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// With what a file does not say as it is by default.
    pub schedule: Schedule<Bytes>,
    /// The file does not say whether it is paused: that stays as it is.
    pub keeps_pause: bool,
}

/// Reads the file of this name that a schedule mentions.
pub type ReadFile<'a> = &'a dyn Fn(&str) -> std::io::Result<String>;

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

/// Reads the schedules of a file; those that are new or have a new rule count from `now`. Calendars that it names are
/// read by `read_file`.
pub fn read(
    text: &str,
    format: Format,
    now: Timestamp,
    read_file: ReadFile<'_>,
) -> Result<Vec<Desired>, Error> {
    read_values(items(text, format)?, now, read_file)
}

/// The same of schedules that are JSON values already.
pub fn read_values(
    items: Vec<serde_json::Value>,
    now: Timestamp,
    read_file: ReadFile<'_>,
) -> Result<Vec<Desired>, Error> {
    let mut schedules: Vec<Desired> = Vec::new();
    let mut ids = std::collections::HashSet::new();
    for definition in definitions(items)? {
        let desired = definition.desired(now, read_file)?;
        if !ids.insert(desired.schedule.id.clone()) {
            return Err(Error::Twice(desired.schedule.id));
        }
        schedules.push(desired);
    }
    Ok(schedules)
}

fn items(text: &str, format: Format) -> Result<Vec<serde_json::Value>, Error> {
    use serde_json::Value;
    let value = match format {
        Format::Json => serde_json::from_str(text).map_err(Error::Json)?,
        Format::Toml => to_json(toml::Value::Table(toml::from_str(text).map_err(Error::Toml)?)),
    };
    match value {
        Value::Array(items) => Ok(items),
        Value::Object(mut object) if object.len() == 1 && object.contains_key("schedules") => {
            match object.remove("schedules") {
                Some(Value::Array(items)) => Ok(items),
                _ => Err(Error::Form),
            }
        }
        value @ Value::Object(_) if value.get("id").is_some() => Ok(vec![value]),
        _ => Err(Error::Form),
    }
}

fn definitions(items: Vec<serde_json::Value>) -> Result<Vec<Definition>, Error> {
    use serde_json::Value;
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

#[cfg(test)]
mod tests;
