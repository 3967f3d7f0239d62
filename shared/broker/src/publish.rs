//! Publishing into a stream: once, or on a condition, until the outcome is known.

mod atomic;
mod flight;
mod gathered;

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use tokio::time::Instant;
use windlass_core::protocol::Answer;

use crate::answer::ErrorBody;
use crate::connect::{Broker, Error};
use crate::retry::Waits;

pub(crate) use self::atomic::{MOST as MOST_AT_ONCE, publish_all_if};
pub(crate) use self::flight::{Outcome, Outgoing};
pub(crate) use self::gathered::Gathered;

/// A JetStream answer: the condition on the last sequence does not hold.
pub(crate) const WRONG_LAST_SEQUENCE: u64 = 10071;
/// Another conditional write of the same subject is in flight.
pub(crate) const UNDECIDED: u64 = 10164;
/// For one try; a leader's loss takes about six seconds, so several tries are needed to outlast it.
const TRY_TIMEOUT: Duration = Duration::from_secs(3);

/// For one try of a write without a condition.
const UNCONDITIONAL_TRY_TIMEOUT: Duration = Duration::from_secs(5);

/// Headers that the broker gives a meaning.
pub(crate) mod header {
    pub(crate) const EXPECTED_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";
    pub(crate) const EXPECTED_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
    pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";
    pub(crate) const TTL: &str = "Nats-TTL";
    pub(crate) const SCHEDULE: &str = "Nats-Schedule";
    pub(crate) const SCHEDULE_TARGET: &str = "Nats-Schedule-Target";
    pub(crate) const SCHEDULER: &str = "Nats-Scheduler";
    pub(crate) const SCHEDULE_NEXT: &str = "Nats-Schedule-Next";
}

/// What a stream says of a stored message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Under which sequence.
    pub sequence: u64,
    /// A message of the same id stands already.
    pub duplicate: bool,
}

/// A stream's answer: a refusal has the members of a stored message too, with sequence 0. Read at once, because every
/// write has one.
#[derive(serde::Deserialize)]
struct Answered {
    seq: Option<u64>,
    #[serde(default)]
    duplicate: bool,
    error: Option<ErrorBody>,
}

/// Publishes once and waits for the stream's word.
pub(crate) async fn publish(
    broker: &Broker,
    subject: String,
    headers: HeaderMap,
    body: Bytes,
    timeout: Duration,
) -> Result<Stored, Error> {
    let answer = broker.request(subject.clone(), Some(headers), body, timeout).await?;
    read(&answer.payload, || subject)
}

/// Reads a stream's answer to a publish on this subject.
pub(crate) fn read(answer: &[u8], subject: impl FnOnce() -> String) -> Result<Stored, Error> {
    match serde_json::from_slice(answer) {
        Ok(Answered { error: Some(error), .. }) => {
            Err(Error::Refused { code: error.err_code, description: error.description })
        }
        Ok(Answered { seq: Some(sequence), duplicate, error: None }) => Ok(Stored { sequence, duplicate }),
        Ok(Answered { seq: None, .. }) => {
            Err(Error::Malformed { subject: subject(), reason: "has no sequence".to_owned() })
        }
        Err(error) => Err(Error::Malformed { subject: subject(), reason: error.to_string() }),
    }
}

/// Publishes, trying again for as long as that can help and the time lasts. A message that may not be stored twice
/// carries a message id.
pub(crate) async fn publish_until(
    broker: &Broker,
    subject: String,
    headers: HeaderMap,
    body: Bytes,
    wait: Duration,
) -> Result<Stored, Error> {
    let mut waits = Waits::until(Instant::now() + wait);
    loop {
        let timeout = waits.left().min(UNCONDITIONAL_TRY_TIMEOUT);
        match publish(broker, subject.clone(), headers.clone(), body.clone(), timeout).await {
            Err(error) if is_transient(&error) => {
                if !waits.wait().await {
                    return Err(error);
                }
            }
            answer => return answer,
        }
    }
}

/// Publishes once on a condition. What cannot be known is [`Answer::Silent`] or [`Answer::Undecided`]; an error is
/// something that no second try mends.
pub(crate) async fn publish_if(broker: &Broker, message: Outgoing, left: Duration) -> Result<Answer, Error> {
    let Outgoing { subject, headers, body } = message;
    answer(publish(broker, subject, headers, body, left.min(TRY_TIMEOUT)).await)
}

/// What came of one try of a conditional publish.
pub(crate) fn answer(published: Result<Stored, Error>) -> Result<Answer, Error> {
    match published {
        Ok(stored) => Ok(Answer::Stored(stored.sequence)),
        Err(Error::Refused { code: WRONG_LAST_SEQUENCE, .. }) => Ok(Answer::Refused),
        Err(Error::Refused { code: UNDECIDED, .. }) => Ok(Answer::Undecided),
        Err(error) if is_transient(&error) => Ok(Answer::Silent),
        Err(error) => Err(error),
    }
}

/// Whether this is enough for a second try, after one together with others, which has a time of its own.
pub(crate) fn has_time(left: Duration) -> bool {
    left > 2 * TRY_TIMEOUT
}

/// Whether trying again can help.
pub(crate) fn is_transient(error: &Error) -> bool {
    match error {
        Error::TimedOut { .. } | Error::NoResponders(_) | Error::Disconnected => true,
        // 10008 no JetStream leader now, 10023 and 10039 overloaded or out of resources, 10077 the stream is full,
        // 10002 the account's resources are used up: each may pass.
        Error::Refused { code, .. } => matches!(code, 10008 | 10023 | 10039 | 10077 | 10002 | 10164),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a server answers a refused condition: with the members of a stored message beside the error.
    #[test]
    fn a_refusal_is_no_success() {
        let read = |answer: &str| read(answer.as_bytes(), || "a.b".to_owned());
        let refused = r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"},"stream":"X","seq":0}"#;
        assert!(matches!(read(refused), Err(Error::Refused { code: 10071, .. })));
        assert!(matches!(read(r#"{"stream":"X","seq":7}"#), Ok(Stored { sequence: 7, duplicate: false })));
        assert!(matches!(
            read(r#"{"stream":"X","seq":7,"duplicate":true}"#),
            Ok(Stored { duplicate: true, .. })
        ));
        for malformed in ["{}", "", "[]"] {
            assert!(matches!(read(malformed), Err(Error::Malformed { .. })), "{malformed}");
        }
    }
}
