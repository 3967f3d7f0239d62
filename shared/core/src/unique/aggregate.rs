//! Aggregation: tasks of one group become one job, whose payload is the list of theirs.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::{after, of_kind, out_of_range};
use crate::flow::FlowKey;
use crate::{InvalidTask, Kind, Start, Task};

/// Apart from all other uses of UUID version 5.
const NAMESPACE: Uuid = Uuid::from_u128(0x2f4d_7c90_18ab_5e63_b0f7_6772_6f75_7073);
/// Hexadecimal digits of a token.
const TOKEN_DIGITS: usize = 24;

/// What a publisher asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// Together with whom: all of this key and of the same kind, in the queue.
    pub key: FlowKey,
    /// The job starts once none has come for this long.
    pub grace: Duration,
    /// And no later than this after the first has come.
    pub max_delay: Duration,
    /// Or at once, when so many have come.
    pub max_size: u32,
}

/// What a job was made of that still takes members, or has taken them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gathered {
    /// How many.
    pub members: u32,
    /// When the first was accepted.
    pub first_at: Timestamp,
}

// === impl Aggregate ===

impl Aggregate {
    /// The most that a group may have.
    pub const MOST: u32 = 10_000;
    /// Of a group that names none.
    pub const DEFAULT_SIZE: u32 = 1000;

    /// Checks it, with what it asks of its task. `max` bounds every time.
    pub(super) fn check<P: AsRef<[u8]>>(&self, task: &Task<P>, max: Duration) -> Result<(), InvalidTask> {
        for (field, time) in [("aggregate.grace", self.grace), ("aggregate.max_delay", self.max_delay)] {
            if time.is_zero() || time > max {
                return Err(out_of_range(field, time, max));
            }
        }
        if self.max_delay < self.grace {
            let reason = format!(
                "is {} s, less than grace: expected {} s at least",
                self.max_delay.as_secs_f64(),
                self.grace.as_secs_f64()
            );
            return Err(InvalidTask::new("aggregate.max_delay", reason));
        }
        if !(1..=Self::MOST).contains(&self.max_size) {
            let reason = format!("is {}: expected 1 to {}", self.max_size, Self::MOST);
            return Err(InvalidTask::new("aggregate.max_size", reason));
        }
        if task.start != Start::Now {
            let field = if matches!(task.start, Start::At(_)) { "run_at" } else { "delay" };
            return Err(InvalidTask::new(field, "stands beside aggregate, which says when the job starts"));
        }
        if !task.form.is_plain() {
            let reason =
                "collects payloads as they are, and this one is compressed, sealed or in Object Store";
            return Err(InvalidTask::new("aggregate", reason));
        }
        item(task.payload.as_ref()).map(|_| ()).map_err(|error| {
            let reason =
                format!("{} are collected in a list, and this is no JSON: {error}", of_kind(&task.kind));
            InvalidTask::new("payload", reason)
        })
    }

    /// From when a job of these members may run, its last one accepted at this instant.
    pub fn due_at(&self, gathered: &Gathered, last_at: Timestamp) -> Timestamp {
        after(last_at, self.grace).min(after(gathered.first_at, self.max_delay))
    }
}

/// The token of a subject that stands for a group: the first 96 bits of the UUID version 5 of `<kind>/<key>`, as 24
/// lower-case hexadecimal digits. No kind has a slash.
pub fn group_token(kind: &Kind, key: &FlowKey) -> String {
    let mut token = Uuid::new_v5(&NAMESPACE, format!("{kind}/{key}").as_bytes()).simple().to_string();
    token.truncate(TOKEN_DIGITS);
    token
}

/// Appends payloads to a list of them, as JSON; an empty list is no bytes. The payloads are known to be JSON.
pub fn collect<'a>(list: &[u8], payloads: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut text = match list.strip_suffix(b"]") {
        Some(open) => open.to_vec(),
        None => vec![b'['],
    };
    for payload in payloads {
        if text.len() > 1 {
            text.push(b',');
        }
        text.extend_from_slice(payload_or_null(payload));
    }
    text.push(b']');
    text
}

fn payload_or_null(payload: &[u8]) -> &[u8] {
    if payload.is_empty() { b"null" } else { payload }
}

fn item(payload: &[u8]) -> Result<serde::de::IgnoredAny, serde_json::Error> {
    serde_json::from_slice(payload_or_null(payload))
}
