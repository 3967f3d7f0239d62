//! What a durable consumer has come past, and the messages that it left behind.
//!
//! A consumer with a bound on deliveries drops a message that reached it. In a work queue the message then stays for
//! ever: it counts neither as waiting nor as delivered, and nobody gets it again.

use std::time::Duration;

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::timeout;
use windlass_core::JobId;

use crate::connect::{Broker, Error};
use crate::names::Names;

/// For each call.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// JetStream's word for a consumer that does not exist.
const NO_CONSUMER: u64 = 10014;

/// A durable consumer of a work queue.
#[derive(Debug, Clone)]
pub struct Consumer {
    broker: Broker,
    stream: String,
    name: String,
    filter: String,
}

/// A message that a consumer left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftBehind {
    /// Where it was published.
    pub subject: String,
    /// In its stream.
    pub sequence: u64,
    /// When it was stored.
    pub published_at: Timestamp,
    /// Every header line.
    pub headers: Vec<(String, String)>,
    /// What it says.
    pub body: Bytes,
}

#[derive(serde::Deserialize)]
struct Info {
    delivered: Place,
    ack_floor: Place,
    num_ack_pending: u64,
    num_pending: u64,
}

#[derive(serde::Deserialize)]
struct Place {
    stream_seq: u64,
}

// === impl Consumer ===

impl Consumer {
    /// The dispatchers' on TASKS.
    pub fn of_tasks(broker: &Broker) -> Self {
        let names = broker.names();
        let (name, filter) = (names.dispatcher_consumer().to_owned(), names.task_wildcard());
        Self { broker: broker.clone(), stream: names.tasks_stream(), name, filter }
    }

    /// The sequence up to which all that was delivered has been settled, or is delivered no more: what the stream still
    /// has of it is left behind. None if there is no such consumer.
    pub async fn settled(&self) -> Result<Option<u64>, Error> {
        settled(&self.broker, &self.stream, &self.name).await
    }

    /// The oldest message from this sequence on.
    pub async fn next(&self, from: u64) -> Result<Option<LeftBehind>, Error> {
        let malformed =
            |reason: String| Error::Malformed { subject: format!("the stream {}", self.stream), reason };
        let stream = self.broker.jetstream().get_stream_no_info(&self.stream).await;
        let stream = stream.map_err(|e| malformed(e.to_string()))?;
        let asking = timeout(CALL_TIMEOUT, stream.get_first_raw_message_by_subject(&self.filter, from));
        let message = match self.broker.unless_denied(&self.stream, asking).await? {
            Err(_) => return Err(Error::TimedOut { subject: self.filter.clone(), timeout: CALL_TIMEOUT }),
            Ok(Err(e)) if e.kind() == LastRawMessageErrorKind::NoMessageFound => return Ok(None),
            Ok(Err(e)) => return Err(malformed(e.to_string())),
            Ok(Ok(message)) => message,
        };
        let lines = message.headers.iter().flat_map(|(name, values)| {
            values.iter().map(move |value| (name.to_string(), value.as_str().to_owned()))
        });
        Ok(Some(LeftBehind {
            headers: lines.collect(),
            subject: message.subject.to_string(),
            sequence: message.sequence,
            published_at: Timestamp::from_nanosecond(message.time.unix_timestamp_nanos())
                .unwrap_or(Timestamp::MIN),
            body: message.payload,
        }))
    }

    /// Lets a message go that is left behind, and waits until the broker has.
    pub async fn remove(&self, sequence: u64) -> Result<(), Error> {
        let subject = Names::acknowledgement_subject(&self.stream, &self.name, sequence);
        self.broker.request(subject, None, Bytes::from_static(b"+ACK"), CALL_TIMEOUT).await.map(|_| ())
    }
}

// === impl LeftBehind ===

impl LeftBehind {
    /// The id of a message that carries none, as [`crate::delivery::Delivered::derived_id`].
    pub fn derived_id(&self) -> JobId {
        JobId::of_message(self.published_at, self.sequence)
    }
}

/// See [`Consumer::settled`].
pub async fn settled(broker: &Broker, stream: &str, consumer: &str) -> Result<Option<u64>, Error> {
    let call = format!("CONSUMER.INFO.{stream}.{consumer}");
    match broker.api::<Info>(&call, &serde_json::json!({}), CALL_TIMEOUT).await {
        // The floor moves with acknowledgements only, and one that never comes holds it, until nothing is out.
        Ok(info) if info.num_ack_pending == 0 => Ok(Some(info.delivered.stream_seq)),
        Ok(info) => Ok(Some(info.ack_floor.stream_seq)),
        Err(Error::Refused { code: NO_CONSUMER, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether nothing waits for a consumer, and it has nothing out; also where there is none.
pub async fn is_idle(broker: &Broker, stream: &str, consumer: &str) -> Result<bool, Error> {
    let call = format!("CONSUMER.INFO.{stream}.{consumer}");
    match broker.api::<Info>(&call, &serde_json::json!({}), CALL_TIMEOUT).await {
        Ok(info) => Ok(info.num_ack_pending == 0 && info.num_pending == 0),
        Err(Error::Refused { code: NO_CONSUMER, .. }) => Ok(true),
        Err(error) => Err(error),
    }
}
