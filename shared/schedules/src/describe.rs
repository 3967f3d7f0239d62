//! A schedule as a file says it, and what two of them differ in.

use bytes::Bytes;
use jiff::SignedDuration;
use serde_json::{Map, Value, json};
use windlass_core::Form;
use windlass_core::history::result_value;
use windlass_core::schedule::{Policy, Rule, Schedule};

/// A field that a change changes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// As a file has it.
    pub field: String,
    /// Null: it was not said.
    pub from: Value,
    /// Null: it is not said.
    pub to: Value,
}

/// With the words of a file; null where it says nothing.
pub fn describe(schedule: &Schedule<Bytes>) -> Map<String, Value> {
    let spec = &schedule.spec;
    let (mut cron, mut every, mut at) = (Vec::new(), Vec::new(), Vec::new());
    let (mut zone, mut phase) = (None, None);
    for rule in spec.rules() {
        match rule {
            Rule::Cron(rule) => {
                cron.push(rule.expression().to_owned());
                zone = Some(rule.zone().name().to_owned());
            }
            Rule::Interval(interval) => {
                every.push(duration(interval.period()));
                phase = Some(interval.phase()).filter(|phase| !phase.is_zero()).map(duration);
            }
            Rule::Once(instant) => at.push(instant.to_string()),
        }
    }
    let exclusions = spec.exclusions();
    let days = exclusions
        .days()
        .iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}/{last}") });
    let spans = exclusions.spans().iter().map(|(from, until)| format!("{from}/{until}"));
    let excluded: Vec<_> = days.chain(spans).collect();
    let policy = &schedule.policy;
    let task = &schedule.task;
    let shown = json!({
        "id": schedule.id,
        "queue": schedule.queue,
        "kind": task.kind,
        "payload": result_value(&task.content_type, &task.payload, &Form::default()),
        "priority": task.priority,
        "cron": one_or_more(cron),
        "zone": zone.or_else(|| exclusions.zone().map(|zone| zone.name().to_owned())),
        "every": one_or_more(every),
        "phase": phase,
        "at": one_or_more(at),
        "start": spec.starts_at(),
        "end": spec.ends_at(),
        "exclude": one_or_more(excluded),
        "jitter": Some(spec.jitter()).filter(|jitter| !jitter.is_zero()).map(duration),
        "overlap": policy.overlap,
        "misfire": policy.misfire,
        "catch_up_window": Some(policy.catch_up_window).filter(|w| *w != Policy::CATCH_UP_WINDOW).map(duration),
        "pace": Some(policy.pace).filter(|pace| *pace != Policy::PACE).map(duration),
        "pause_on_failure": policy.pause_on_failure,
        "limit": policy.limit,
        "max_attempts": task.retry.as_ref().map(windlass_core::RetryPolicy::max_attempts),
        "attempt_timeout": task.attempt_timeout.map(duration),
        "max_wait": task.max_wait.map(duration),
        "paused": schedule.pause.is_some(),
    });
    match shown {
        Value::Object(shown) => shown,
        _ => Map::new(),
    }
}

/// What is another in `new`; everything that is said, if there was none before.
pub fn differences(old: Option<&Schedule<Bytes>>, new: &Schedule<Bytes>) -> Vec<Difference> {
    let old = old.map(describe).unwrap_or_default();
    let mut found = Vec::new();
    for (field, to) in describe(new) {
        let from = old.get(&field).cloned().unwrap_or_default();
        if from != to {
            found.push(Difference { field, from, to });
        }
    }
    found
}

fn one_or_more(mut texts: Vec<String>) -> Value {
    match texts.len() {
        0 => Value::Null,
        1 => texts.remove(0).into(),
        _ => texts.into(),
    }
}

/// As a file of schedules has it.
pub fn duration(length: std::time::Duration) -> String {
    SignedDuration::try_from(length).map(|length| format!("{length:#}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{Format, read};

    #[test]
    fn what_is_shown_can_be_applied_again() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        for text in [
            r#"{"id": "a", "kind": "k", "payload": {"n": 1}, "every": "90s", "phase": "7s", "attempt_timeout": "10m"}"#,
            r#"{"id": "a", "kind": "k", "cron": ["0 2 * * *", "0 3 * * *"], "zone": "Europe/Berlin", "jitter": "5m",
                "exclude": ["2026-12-24", "2026-12-24/2026-12-26", "2026-06-01T00:00:00Z/2026-06-01T12:00:00Z"],
                "overlap": "buffer_all", "misfire": "paced", "pace": "1m", "catch_up_window": "2h", "limit": 3}"#,
            r#"{"id": "a", "kind": "k", "at": "2026-01-01T00:00:00Z", "paused": true}"#,
        ] {
            let no_files: crate::file::ReadFile<'_> = &|_| Err(std::io::ErrorKind::NotFound.into());
            let desired = read(text, Format::Json, now, no_files).unwrap().remove(0).schedule;
            let shown: Map<_, _> =
                describe(&desired).into_iter().filter(|(_, value)| !value.is_null()).collect();
            let again =
                read(&Value::Object(shown).to_string(), Format::Json, now, no_files).unwrap().remove(0);
            assert_eq!(again.schedule, desired);
            assert_eq!(differences(Some(&desired), &desired), []);
        }
    }
}
