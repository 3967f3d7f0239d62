//! Keys that are made of fields of a task.

use std::fmt;

use serde_json::Value;
use uuid::Uuid;

use crate::flow::FlowKey;
use crate::{InvalidTask, Task};

/// Apart from all other uses of UUID version 5.
const NAMESPACE: Uuid = Uuid::from_u128(0x91c5_0a3e_6b0f_5d4c_a1d8_756e_6971_7565);
/// The longest name of a field of the payload, in bytes.
const MAX_BYTES: usize = 256;
/// What is expected, for an error.
const EXPECTED: &str =
    "expected kind, key, tenant, payload, or a member of a JSON payload as payload.user.id";

/// A part of a task that a key is made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// Its kind.
    Kind,
    /// Its key under flow control.
    Key,
    /// Its tenant.
    Tenant,
    /// The bytes of its payload, as they were published.
    Payload,
    /// A member of its payload, which is JSON: the names on the way to it.
    Member(Vec<String>),
}

// === impl Field ===

impl Field {
    /// Reads `kind`, `key`, `tenant`, `payload` or `payload.<member>`.
    pub fn read(text: &str) -> Result<Self, InvalidTask> {
        let invalid = || {
            let shown: String = text.chars().take(64).collect();
            InvalidTask::new("unique.over", format!("`{shown}` is no field: {EXPECTED}"))
        };
        if text.len() > MAX_BYTES {
            return Err(invalid());
        }
        match text {
            "kind" => Ok(Self::Kind),
            "key" => Ok(Self::Key),
            "tenant" => Ok(Self::Tenant),
            "payload" => Ok(Self::Payload),
            _ => {
                let path = text.strip_prefix("payload.").ok_or_else(invalid)?;
                let names: Vec<_> = path.split('.').map(str::to_owned).collect();
                if names.iter().any(String::is_empty) { Err(invalid()) } else { Ok(Self::Member(names)) }
            }
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind => f.write_str("kind"),
            Self::Key => f.write_str("key"),
            Self::Tenant => f.write_str("tenant"),
            Self::Payload => f.write_str("payload"),
            Self::Member(names) => write!(f, "payload.{}", names.join(".")),
        }
    }
}

/// The key of a task by these fields, the same whoever makes it and in whichever order they are named.
///
/// It is `over:` and the 32 digits of the UUID version 5 of `<field>=<bytes>:<value>;` for each field, in the order of
/// their names. A member of the payload stands there as JSON without spaces, its objects' members in order.
pub(super) fn derive<P: AsRef<[u8]>>(fields: &[Field], task: &Task<P>) -> Result<FlowKey, InvalidTask> {
    let reads_payload = fields.iter().any(|field| matches!(field, Field::Payload | Field::Member(_)));
    if reads_payload && !task.form.is_plain() {
        let reason = "needs the payload as it is, and it is compressed, sealed or in Object Store: expected `key` \
                      instead, as the SDK derives it";
        return Err(InvalidTask::new("unique.over", reason));
    }
    let mut parsed = None;
    let mut names: Vec<_> = fields.iter().map(|field| (field.to_string(), field)).collect();
    names.sort();
    names.dedup();
    let mut text = Vec::new();
    for (name, field) in names {
        let value = match field {
            Field::Kind => task.kind.as_str().as_bytes().to_vec(),
            Field::Key => part("key", task.key.as_ref())?,
            Field::Tenant => part("tenant", task.tenant.as_ref())?,
            Field::Payload => task.payload.as_ref().to_vec(),
            Field::Member(path) => {
                let json = match &mut parsed {
                    Some(json) => json,
                    none => none.insert(json(task.payload.as_ref())?),
                };
                member(json, path, &name)?
            }
        };
        text.extend_from_slice(format!("{name}={}:", value.len()).as_bytes());
        text.extend_from_slice(&value);
        text.push(b';');
    }
    let key = format!("over:{}", Uuid::new_v5(&NAMESPACE, &text).simple());
    key.parse().map_err(|error| InvalidTask::new("unique.over", error))
}

fn part(name: &str, key: Option<&FlowKey>) -> Result<Vec<u8>, InvalidTask> {
    // Of those that have none, each would be taken for the others.
    let none = || InvalidTask::new("unique.over", format!("names {name}, and the task has none"));
    key.map(|key| key.as_str().as_bytes().to_vec()).ok_or_else(none)
}

fn json(payload: &[u8]) -> Result<Value, InvalidTask> {
    let invalid = |error| {
        let reason = format!("names a member of the payload, which is no JSON: {error}");
        InvalidTask::new("unique.over", reason)
    };
    serde_json::from_slice(payload).map_err(invalid)
}

fn member(json: &Value, path: &[String], name: &str) -> Result<Vec<u8>, InvalidTask> {
    let found = path.iter().try_fold(json, |value, name| value.get(name));
    let Some(found) = found else {
        // A name that is misspelt would make all tasks the same.
        return Err(InvalidTask::new(
            "unique.over",
            format!("names {name}, which the payload does not have"),
        ));
    };
    let mut text = String::new();
    canonical(found, &mut text);
    Ok(text.into_bytes())
}

/// One text for one value, in whatever order its members were written.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            text.push('{');
            for (index, (name, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(values) => {
            text.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                canonical(value, text);
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}
