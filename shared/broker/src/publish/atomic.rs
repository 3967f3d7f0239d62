//! Messages that are stored all or none (NATS ADR-50, "atomic batch publish").
//!
//! Each message may have a condition of its own; if one does not hold, none is stored. The broker stages a batch in a
//! file of its own where the stream is not replicated, which costs it about as much as thirty messages: so this is for
//! whoever has many to store, or cannot do without.

use tokio::time::{Duration, Instant};
use windlass_core::protocol::Answer;

use super::{Error, Outgoing, answer, publish, read};
use crate::connect::Broker;

/// What the broker takes in one batch.
pub(crate) const MOST: usize = 1000;

/// Parts of a batch, for the broker.
const BATCH_ID: &str = "Nats-Batch-Id";
const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
const BATCH_COMMIT: &str = "Nats-Batch-Commit";

/// The batch was not complete when it was to be stored, came too late, or one too many was on its way: nothing of it is
/// stored, and it may be tried again.
const NOT_STORED: [u64; 2] = [10176, 10210];

/// Stores all of these or none, once; the sequence is that of the first. They have sequences one after the other.
pub(crate) async fn publish_all_if(
    broker: &Broker,
    mut messages: Vec<Outgoing>,
    timeout: Duration,
) -> Result<Answer, Error> {
    debug_assert!(messages.len() <= MOST);
    let count = messages.len() as u64;
    let Some(last) = messages.pop() else { return Ok(Answer::Stored(0)) };
    let until = Instant::now() + timeout;
    if messages.is_empty() {
        let Outgoing { subject, headers, body } = last;
        return answer(publish(broker, subject, headers, body, timeout).await);
    }
    let id = batch_id();
    if let Err(error) = broker.connected(until).await {
        return answer(Err(error));
    }
    for (number, message) in (1_u64..).zip(messages) {
        let Outgoing { subject, mut headers, body } = message;
        headers.insert(BATCH_ID, id.as_str());
        headers.insert(BATCH_SEQUENCE, number.to_string());
        let sending = broker.client().publish_with_headers(subject, headers, body);
        match tokio::time::timeout_at(until, sending).await {
            Ok(Ok(())) => {}
            // What was sent is forgotten by the broker, as its end never comes.
            Ok(Err(_)) => return Err(Error::Closed),
            Err(_) => return Ok(Answer::Silent),
        }
    }
    let Outgoing { subject, mut headers, body } = last;
    headers.insert(BATCH_ID, id.as_str());
    headers.insert(BATCH_SEQUENCE, count.to_string());
    headers.insert(BATCH_COMMIT, "1");
    let left = until.saturating_duration_since(Instant::now());
    let answered = broker.request(subject.clone(), Some(headers), body, left).await;
    let stored = answered.and_then(|message| read(&message.payload, || subject));
    match answer(stored) {
        Ok(Answer::Stored(last)) => Ok(Answer::Stored((last + 1).saturating_sub(count))),
        Err(Error::Refused { code, .. }) if NOT_STORED.contains(&code) => Ok(Answer::Undecided),
        other => other,
    }
}

fn batch_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}
