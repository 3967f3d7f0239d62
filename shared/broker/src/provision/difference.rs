//! What is, against what must be.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::desired::Settings;

/// A setting that is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// As `stream JOBS` or `consumer worker-mail of stream JOBS`.
    pub object: String,
    /// By its name in the server's API.
    pub setting: String,
    /// As text.
    pub expected: String,
    /// As text.
    pub found: String,
}

/// Which way a setting grows weaker.
enum Weaker {
    /// When a bound or a number of copies shrinks; zero and less mean unbounded.
    Lower,
    /// When it is turned off.
    Off,
    /// When a subject is taken away.
    Removed,
    /// By any change.
    Changed,
    /// When it is turned on.
    On,
    /// From `new` to `old`: what is full forgets instead of refusing.
    Old,
    /// Never.
    Never,
}

// === impl Difference ===

impl Difference {
    pub(super) fn new(object: &str, setting: &str, expected: &str, found: &str) -> Self {
        Self {
            object: object.to_owned(),
            setting: setting.to_owned(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, setting, expected, found } = self;
        if setting == "existence" {
            return write!(f, "{object} is missing");
        }
        write!(f, "{object}: {setting} is {found}, expected {expected}")
    }
}

/// Every setting that differs, with whether to change it as wished would weaken what is found.
pub(super) fn compare(object: &str, wanted: &Settings, found: &Value) -> Vec<(Difference, bool)> {
    wanted
        .iter()
        .filter_map(|(setting, wanted)| {
            let found = found.get(*setting).unwrap_or(&Value::Null);
            if same(wanted, found) {
                return None;
            }
            let difference = Difference::new(object, setting, &text(setting, wanted), &text(setting, found));
            Some((difference, is_weaker(setting, wanted, found)))
        })
        .collect()
}

/// Equal, where the server leaves out what is off, empty or zero, and orders subjects as it likes.
fn same(a: &Value, b: &Value) -> bool {
    let is_unset = |v: &Value| match v {
        Value::Null | Value::Bool(false) => true,
        Value::Number(n) => n.as_i64() == Some(0),
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Bool(true) | Value::Object(_) => false,
    };
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().all(|item| b.contains(item)),
        _ => a == b || (is_unset(a) && is_unset(b)),
    }
}

fn is_weaker(setting: &str, wanted: &Value, found: &Value) -> bool {
    let bound = |v: &Value| v.as_i64().filter(|n| *n > 0).unwrap_or(i64::MAX);
    match direction(setting) {
        Weaker::Lower => bound(wanted) < bound(found),
        Weaker::Off => found == &Value::Bool(true),
        Weaker::On => wanted == &Value::Bool(true),
        Weaker::Removed => match (wanted.as_array(), found.as_array()) {
            (Some(wanted), Some(found)) => found.iter().any(|subject| !wanted.contains(subject)),
            _ => true,
        },
        Weaker::Old => wanted == "old",
        Weaker::Changed => true,
        Weaker::Never => false,
    }
}

fn direction(setting: &str) -> Weaker {
    match setting {
        "num_replicas"
        | "max_age"
        | "max_bytes"
        | "max_msgs"
        | "max_msgs_per_subject"
        | "max_msg_size"
        | "max_consumers"
        | "duplicate_window"
        | "max_deliver"
        | "subject_delete_marker_ttl" => Weaker::Lower,
        "deny_delete"
        | "deny_purge"
        | "allow_direct"
        | "allow_msg_schedules"
        | "allow_msg_ttl"
        | "allow_atomic" => Weaker::Off,
        "no_ack" | "sealed" => Weaker::On,
        "subjects" => Weaker::Removed,
        "discard" => Weaker::Old,
        "retention" | "storage" | "ack_policy" | "deliver_policy" | "durable_name" => Weaker::Changed,
        // Roll-ups and counters let headers change what others stored: without them a stream is stronger. The rest
        // tunes.
        _ => Weaker::Never,
    }
}

/// Durations are nanoseconds on the wire; people read seconds.
fn text(setting: &str, value: &Value) -> String {
    let is_duration =
        matches!(setting, "max_age" | "duplicate_window" | "ack_wait" | "subject_delete_marker_ttl");
    match value {
        Value::Null => "not set".to_owned(),
        Value::String(text) => format!("`{text}`"),
        Value::Number(n) if is_duration => {
            format!("{:?}", Duration::from_nanos(n.as_u64().unwrap_or_default()))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(setting: &'static str, wanted: Value, found: Value, expected: Option<(&str, bool)>) {
        let differences = compare(
            "stream JOBS",
            &Settings::from([(setting, wanted)]),
            &Value::from_iter([(setting, found)]),
        );
        let found = differences.first().map(|(d, weaker)| (d.to_string(), *weaker));
        assert_eq!(found, expected.map(|(text, weaker)| (format!("stream JOBS: {text}"), weaker)));
    }

    #[test]
    fn differences_say_both_sides_and_whether_the_change_weakens() {
        check(
            "allow_msg_ttl",
            json!(true),
            json!(false),
            Some(("allow_msg_ttl is false, expected true", false)),
        );
        check(
            "allow_msg_ttl",
            json!(true),
            Value::Null,
            Some(("allow_msg_ttl is not set, expected true", false)),
        );
        check("allow_msg_ttl", json!(false), Value::Null, None);
        check(
            "allow_msg_ttl",
            json!(false),
            json!(true),
            Some(("allow_msg_ttl is true, expected false", true)),
        );
        check(
            "allow_rollup_hdrs",
            json!(false),
            json!(true),
            Some(("allow_rollup_hdrs is true, expected false", false)),
        );
        check("num_replicas", json!(1), json!(3), Some(("num_replicas is 3, expected 1", true)));
        check("num_replicas", json!(3), json!(1), Some(("num_replicas is 1, expected 3", false)));
        check("max_age", json!(60_000_000_000_u64), json!(0), Some(("max_age is 0ns, expected 60s", true)));
        check("max_bytes", json!(-1), json!(9), Some(("max_bytes is 9, expected -1", false)));
        check("discard", json!("old"), json!("new"), Some(("discard is `new`, expected `old`", true)));
        check("subjects", json!(["a", "b"]), json!(["b", "a"]), None);
        check(
            "subjects",
            json!(["a"]),
            json!(["a", "b"]),
            Some((r#"subjects is ["a","b"], expected ["a"]"#, true)),
        );
        check(
            "retention",
            json!("workqueue"),
            json!("limits"),
            Some(("retention is `limits`, expected `workqueue`", true)),
        );
    }
}
