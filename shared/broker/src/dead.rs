//! Dead letters: what could not be done, with its cause and its original bytes.

mod read;

pub use self::read::{Letters, Page};

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;
use prost::Message as _;
use tokio::time::Instant;
use windlass_core::settle::DeadCause;
use windlass_core::trace::TraceParent;
use windlass_core::{JobId, QueueName, Task};
use windlass_proto::{Done, attempts_to_wire, v1};

use crate::connect::{Broker, Error};
use crate::publish;
use crate::storing;

/// How long a letter is tried, a leader's loss included.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// What the headers of the message itself take, at most.
const OWN_HEADERS_BYTES: usize = 4 * 1024;

/// The queue of letters whose own is no queue name.
pub fn unknown_queue() -> QueueName {
    // Checked by a test: it is a valid name.
    "invalid".parse().unwrap_or_default()
}

/// The letter of a job that has ended as dead.
pub fn of_job(
    broker: &Broker,
    queue: &QueueName,
    task: &Task<Bytes>,
    done: &Done,
    trace: Option<TraceParent>,
) -> v1::DeadLetter {
    let code = done.error.as_ref().map_or(DeadCause::AttemptsExhausted.as_str(), |e| {
        if e.terminal { DeadCause::TerminalError.as_str() } else { e.code.as_str() }
    });
    v1::DeadLetter {
        reason: done.error.as_ref().map(|e| e.message.clone()).unwrap_or_default(),
        code: code.to_owned(),
        field: String::new(),
        original_subject: broker.names().task_subject(queue),
        original_headers: Vec::new(),
        original_body: v1::Task::from(task).encode_to_vec().into(),
        attempts: attempts_to_wire(&done.attempts),
        dead_at: Some(windlass_proto::instant(done.ended_at)),
        incomplete: false,
        traceparent: trace.map(|trace| trace.to_string()).unwrap_or_default(),
        claimed_id: String::new(),
    }
}

/// Stores a letter. A later one of the same job replaces it, so saying it again does no harm.
pub async fn publish(
    broker: &Broker,
    queue: &QueueName,
    job_id: JobId,
    letter: v1::DeadLetter,
) -> Result<(), Error> {
    let mut headers = HeaderMap::new();
    // For people who read the stream with any client.
    headers.insert("Windlass-Reason", one_line(&letter.reason));
    headers.insert("Windlass-Code", one_line(&letter.code));
    if !letter.field.is_empty() {
        headers.insert("Windlass-Field", one_line(&letter.field));
    }
    let body = fit(letter, broker.max_payload_bytes().saturating_sub(OWN_HEADERS_BYTES));
    let subject = broker.names().dead_subject(queue, job_id);
    let began = Instant::now();
    let stored = publish::publish_until(broker, subject, headers, body, WRITE_TIMEOUT).await;
    broker.tried_to_store(storing::DEAD_LETTERS, began, &stored);
    stored.map(|_| ())
}

/// The letter of a job, if there is one.
pub async fn find(
    broker: &Broker,
    queue: &QueueName,
    job_id: JobId,
) -> Result<Option<v1::DeadLetter>, Error> {
    let subject = broker.names().dead_subject(queue, job_id);
    let malformed = |reason: String| Error::Malformed { subject: subject.clone(), reason };
    let reading = async {
        let stream = broker.jetstream().get_stream_no_info(broker.names().dead_stream()).await.ok()?;
        Some(stream.get_last_raw_message_by_subject(&subject).await)
    };
    match tokio::time::timeout(WRITE_TIMEOUT, reading).await {
        Err(_) => Err(Error::TimedOut { subject, timeout: WRITE_TIMEOUT }),
        Ok(None) => Err(Error::Closed),
        Ok(Some(Err(e))) if e.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Ok(Some(Err(e))) => Err(malformed(e.to_string())),
        Ok(Some(Ok(message))) => {
            v1::DeadLetter::decode(message.payload).map(Some).map_err(|e| malformed(e.to_string()))
        }
    }
}

/// The task of a job that was accepted; none if the letter is of something else.
pub fn task_of(letter: &v1::DeadLetter) -> Option<Task<Bytes>> {
    windlass_proto::decode_task(letter.original_body.clone()).ok()
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(512).collect()
}

/// As bytes that the broker takes. Beside a body at the broker's own limit there is no room for its headers, nor for
/// all of itself: what is left out is said.
fn fit(mut letter: v1::DeadLetter, limit: usize) -> Bytes {
    if letter.encoded_len() > limit && !letter.original_headers.is_empty() {
        letter.reason.push_str(" (its headers did not fit here)");
        letter.original_headers.clear();
        letter.incomplete = true;
    }
    if letter.encoded_len() > limit {
        let full = letter.original_body.len();
        let rest = letter.encoded_len() - full;
        let kept = limit.saturating_sub(rest + 128).min(full);
        letter.original_body.truncate(kept);
        letter.incomplete = true;
        letter.reason = format!("{} (only {kept} of its {full} bytes fit here)", letter.reason);
    }
    letter.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unknown_queue_is_not_the_default() {
        assert_eq!(unknown_queue().as_str(), "invalid");
    }

    #[test]
    fn a_letter_fits() {
        let header = v1::Header { name: "a".repeat(50), value: "b".repeat(50) };
        let letter = v1::DeadLetter {
            original_body: vec![7; 1000].into(),
            original_headers: vec![header; 3],
            ..Default::default()
        };
        for limit in [300, 900, 1100, 2000] {
            let body = fit(letter.clone(), limit);
            assert!(body.len() <= limit, "{limit}");
            let back = v1::DeadLetter::decode(body).unwrap();
            assert_eq!(back.original_body.len() == 1000, limit >= 1100);
            assert_eq!(back.reason.is_empty(), limit == 2000);
            assert_eq!(back.incomplete, limit < 2000);
        }
    }
}
