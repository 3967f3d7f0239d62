//! What operators ask for: durable commands, on `windlass.command.<queue>.<verb>`.

pub mod paced;
pub mod set;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;
use windlass_core::{JobId, QueueName};
use windlass_proto::v1;

use crate::connect::{Broker, Error};
use crate::publish::{self, header};

/// Of a reason: it travels with the job's record and its events.
pub const MOST_REASON_BYTES: usize = 500;
/// How long a command is tried, a leader's loss included.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

/// What a command asks for: the last word of its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// End the job, whatever it does now.
    Cancel,
    /// Let a job that waits run at once.
    Release,
    /// Start a dead job again, as a new one, from its letter.
    Redrive,
    /// Remove a dead job's letter.
    Discard,
}

/// The text is no verb.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a command: expected cancel, release, redrive or discard")]
pub struct UnknownVerb(String);

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command<'a> {
    /// Of the job.
    pub queue: &'a QueueName,
    /// What to do with it.
    pub verb: Verb,
    /// Which.
    pub job_id: JobId,
    /// For people, at most [`MOST_REASON_BYTES`].
    pub reason: &'a str,
    /// For people.
    pub requested_by: &'a str,
    /// With redrive and discard: of the letter that is meant.
    pub dead_at: Option<Timestamp>,
}

/// Publishes a command and waits until it is stored, within a bound; returns its sequence in the stream.
pub async fn publish(broker: &Broker, command: Command<'_>) -> Result<u64, Error> {
    let Command { queue, verb, job_id, reason, requested_by, dead_at } = command;
    let command = v1::Command {
        job_id: job_id.to_string(),
        reason: reason.to_owned(),
        requested_by: requested_by.to_owned(),
        requested_at: Some(windlass_proto::instant(Timestamp::now())),
        dead_at: dead_at.map(windlass_proto::instant),
    };
    let body: Bytes = command.encode_to_vec().into();
    let subject = broker.names().command_subject(queue, verb.as_str());
    let mut headers = HeaderMap::new();
    // Makes two tries of one command one message; asking twice stays two.
    headers.insert(header::MESSAGE_ID, format!("{queue}.{job_id}.{verb}.{:016x}", rand::random::<u64>()));
    let stored = publish::publish_until(broker, subject, headers, body, WRITE_TIMEOUT).await?;
    Ok(stored.sequence)
}

// === impl Verb ===

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 4] = [Self::Cancel, Self::Release, Self::Redrive, Self::Discard];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Release => "release",
            Self::Redrive => "redrive",
            Self::Discard => "discard",
        }
    }
}

impl FromStr for Verb {
    type Err = UnknownVerb;

    fn from_str(text: &str) -> Result<Self, UnknownVerb> {
        Self::ALL
            .into_iter()
            .find(|verb| verb.as_str() == text)
            .ok_or_else(|| UnknownVerb(text.chars().take(32).collect()))
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_reads_back() {
        for verb in Verb::ALL {
            assert_eq!(verb.to_string().parse(), Ok(verb));
        }
        for text in ["", "Cancel", "cancel.x", "drop"] {
            assert!(text.parse::<Verb>().is_err(), "{text}");
        }
    }
}
