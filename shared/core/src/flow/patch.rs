//! Changing some settings, as a JSON object says it (RFC 7396, JSON Merge Patch).

use serde_json::{Map, Value};

use super::{InvalidSettings, QueueSettings};

/// What is set in other ways, because who and when belong to it.
const PAUSES: [&str; 3] = ["paused", "paused_kinds", "paused_keys"];
/// What may be changed, for an error.
const KNOWN: &str = "concurrency, key_concurrency, order, on_dead, at_limit, priorities, fairness, rate, key_rate, outcome_ttl";

// === impl QueueSettings ===

impl QueueSettings {
    /// These settings, changed: each member of the object sets the setting of its name, and null clears it. Weights of
    /// `fairness` are changed one by one, a rate as a whole. Pauses are none of it.
    ///
    /// What comes of it is checked, as [`QueueSettings::check`].
    pub fn patched(&self, patch: &Map<String, Value>) -> Result<Self, InvalidSettings> {
        let broken = |error: serde_json::Error| InvalidSettings::new("settings", error.to_string());
        let Value::Object(mut all) = serde_json::to_value(self).map_err(broken)? else {
            return Err(InvalidSettings::new("settings", "are no object"));
        };
        for (name, value) in patch {
            if PAUSES.contains(&name.as_str()) {
                return Err(InvalidSettings::new(name, "is set by pausing and resuming: expected none here"));
            }
            if value.is_null() {
                all.remove(name);
                continue;
            }
            let changed = if name == "fairness" { merged(all.get(name), value) } else { value.clone() };
            // Alone, so that an error is this field's.
            let alone: Map<_, _> = [(name.clone(), changed.clone())].into_iter().collect();
            if let Err(error) = serde_json::from_value::<Self>(Value::Object(alone)) {
                let text = error.to_string();
                let known = if text.starts_with("unknown field") && text.contains(&format!("`{name}`")) {
                    format!("is no setting: expected one of {KNOWN}")
                } else {
                    format!("does not fit: {text}")
                };
                return Err(InvalidSettings::new(super::key::shown(name), known));
            }
            all.insert(name.clone(), changed);
        }
        let patched: Self = serde_json::from_value(Value::Object(all)).map_err(broken)?;
        patched.check()?;
        Ok(patched)
    }

    /// What is other in `after`: the setting, as it stood, as it stands; null where it was, or is, not set.
    pub fn difference(&self, after: &Self) -> Vec<(String, Value, Value)> {
        let members = |settings: &Self| match serde_json::to_value(settings) {
            Ok(Value::Object(members)) => members,
            _ => Map::new(),
        };
        let (before, after) = (members(self), members(after));
        let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let of = |all: &Map<String, Value>, name: &String| all.get(name).cloned().unwrap_or_default();
        let both = names.into_iter().map(|name| (name.clone(), of(&before, name), of(&after, name)));
        both.filter(|(_, before, after)| before != after).collect()
    }
}

/// A merge patch of what stands there.
fn merged(before: Option<&Value>, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut all = before.and_then(Value::as_object).cloned().unwrap_or_default();
    for (name, value) in patch {
        if value.is_null() {
            all.remove(name);
        } else {
            let changed = merged(all.get(name), value);
            all.insert(name.clone(), changed);
        }
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(before: &str, patch: &str) -> Result<String, InvalidSettings> {
        let before: QueueSettings = serde_json::from_str(before).unwrap();
        let after = before.patched(&serde_json::from_str(patch).unwrap())?;
        Ok(serde_json::to_string(&after).unwrap())
    }

    #[test]
    fn what_is_named_is_changed_and_nothing_else() {
        for (before, patch, after) in [
            ("{}", r#"{"concurrency": 5}"#, r#"{"concurrency":5}"#),
            (r#"{"concurrency": 5, "order": "fifo"}"#, r#"{"concurrency": null}"#, r#"{"order":"fifo"}"#),
            (
                r#"{"fairness": {"weights": {"a": 2, "b": 3}}}"#,
                r#"{"fairness": {"weights": {"a": null, "c": 4}}}"#,
                r#"{"fairness":{"weights":{"b":3,"c":4}}}"#,
            ),
            (
                r#"{"rate": {"limit": 5, "per": "1s", "burst": 9}}"#,
                r#"{"rate": {"limit": 6, "per": "1m"}}"#,
                r#"{"rate":{"limit":6,"per":"1m"}}"#,
            ),
            ("{}", "{}", "{}"),
        ] {
            assert_eq!(patched(before, patch).unwrap(), after, "{patch}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (patch, field) in [
            (r#"{"concurrency": 0}"#, "concurrency"),
            (r#"{"concurrency": "many"}"#, "concurrency"),
            (r#"{"concurency": 5}"#, "concurency"),
            (r#"{"rate": {"limit": 5}}"#, "rate"),
            (r#"{"rate": {"limit": 5, "per": "soon"}}"#, "rate"),
            (r#"{"rate": {"limit": 0, "per": "1s"}}"#, "rate.limit"),
            (r#"{"order": "lifo"}"#, "order"),
            (r#"{"at_limit": "reject"}"#, "at_limit"),
            (r#"{"paused": null}"#, "paused"),
        ] {
            assert_eq!(patched("{}", patch).unwrap_err().field, field, "{patch}");
        }
    }

    #[test]
    fn a_difference_tells_both_sides() {
        let read = |json: &str| serde_json::from_str::<QueueSettings>(json).unwrap();
        let (before, after) = (read(r#"{"concurrency": 5}"#), read(r#"{"concurrency": 7, "order": "fifo"}"#));
        let differs = before.difference(&after);
        let expected = [
            ("concurrency".to_owned(), 5.into(), 7.into()),
            ("order".to_owned(), Value::Null, "fifo".into()),
        ];
        assert_eq!(differs, expected);
        assert!(after.difference(&after).is_empty());
    }
}
