//! Writing events.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use prost::Message as _;
use tokio::time::Instant;
use windlass_core::told::{LogLine, Progress};
use windlass_core::{Event, PoolName, QueueName};
use windlass_proto::v1;

use super::Error;
use super::tell::TellWriter;
use crate::connect::Broker;
use crate::grouped::{Bounds, Grouped, OnItsWay};
use crate::publish::{self, Outcome, Outgoing};
use crate::retry::Waits;
use crate::storing;

const BOUNDS: Bounds = Bounds { buffer: 4096, items: 250, bytes: 64 * 1024, in_flight: 2 };
/// How long a message is tried, a leader's loss included.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// Writes events; clones share one buffer.
#[derive(Debug, Clone)]
pub struct EventWriter {
    grouped: Grouped<QueueName>,
    told: TellWriter,
}

/// An event as it is written, cheap to clone.
#[derive(Debug, Clone)]
pub struct EncodedEvent {
    queue: QueueName,
    /// An [`v1::EventBatch`] with nothing else in it. Encoded messages merge when they are concatenated, and repeated
    /// members append (Protocol Buffers, "Encoding", "Last One Wins"): so many of them are a batch of many.
    bytes: Bytes,
}

/// Events on their way.
#[derive(Debug)]
pub struct Storing(Vec<OnItsWay>);

// === impl EncodedEvent ===

impl From<Event> for EncodedEvent {
    fn from(event: Event) -> Self {
        let queue = event.queue.clone();
        let batch = v1::EventBatch { events: vec![event.into()], ..v1::EventBatch::default() };
        Self { queue, bytes: batch.encode_to_vec().into() }
    }
}

// === impl EventWriter ===

impl EventWriter {
    /// Starts to write as this service of this pool. Ends when the last clone is dropped and all is written.
    pub fn new(broker: Broker, service: &'static str, pool: PoolName) -> Self {
        let told = TellWriter::new(broker.clone(), service, pool.clone());
        let grouped = Grouped::start(BOUNDS, move |queue, body| {
            let subject = broker.names().event_subject(&queue, service, &pool);
            let broker = broker.clone();
            async move { store(&broker, subject, body).await }
        });
        Self { grouped, told }
    }

    /// Sends what a running handler tells, without waiting. If there is no room it is dropped, and counted.
    pub fn tell(&self, progress: Option<Progress>, lines: Vec<LogLine>) {
        self.told.tell(progress, lines);
    }

    /// Says an event, and waits until it is stored. Waits too while the buffer is full.
    pub fn record(&self, event: impl Into<EncodedEvent>) -> impl Future<Output = Result<(), Error>> {
        // Encoded before the future is made, which is a part of each job's.
        self.record_all([event.into()])
    }

    /// Says events without waiting; gives what waits for them to be stored, or nothing if there is no room for all.
    pub fn try_record_all(&self, events: impl IntoIterator<Item = EncodedEvent>) -> Option<Storing> {
        let mut answers = Vec::new();
        for EncodedEvent { queue, bytes } in events {
            answers.push(self.grouped.try_put(queue, bytes)?);
        }
        Some(Storing(answers))
    }

    /// Says events, and waits until all of them are stored.
    pub async fn record_all<E: Into<EncodedEvent>>(
        &self,
        events: impl IntoIterator<Item = E>,
    ) -> Result<(), Error> {
        let mut answers = Vec::new();
        for event in events {
            let EncodedEvent { queue, bytes } = event.into();
            answers.push(self.grouped.put(queue, bytes).await.ok_or(Error::NotStored)?);
        }
        if Storing(answers).stored().await { Ok(()) } else { Err(Error::NotStored) }
    }
}

// === impl Storing ===

impl Storing {
    /// Waits for it; true if all of them are stored.
    pub async fn stored(self) -> bool {
        for answer in self.0 {
            if !answer.await.unwrap_or(false) {
                return false;
            }
        }
        true
    }
}

async fn store(broker: &Broker, subject: String, body: Bytes) -> bool {
    // Those of other queues go with it.
    let message = Outgoing { subject: subject.clone(), headers: HeaderMap::new(), body: body.clone() };
    let began = Instant::now();
    if let Outcome::Stored = broker.publish_gathered(&broker.names().events_stream(), message).await {
        broker.tried_to_store(storing::EVENTS, began, &Ok(()));
        return true;
    }
    Box::pin(store_alone(broker, subject, &body)).await
}

/// Tries for as long as that can help.
async fn store_alone(broker: &Broker, subject: String, body: &Bytes) -> bool {
    let mut waits = Waits::until(Instant::now() + WRITE_TIMEOUT);
    loop {
        let timeout = waits.left().min(Duration::from_secs(5));
        let began = Instant::now();
        let tried = publish::publish(broker, subject.clone(), HeaderMap::new(), body.clone(), timeout).await;
        broker.tried_to_store(storing::EVENTS, began, &tried);
        match tried {
            Ok(_) => return true,
            Err(error) => {
                metrics::counter!("windlass_event_write_errors_total").increment(1);
                let again = publish::is_transient(&error) && waits.wait().await;
                if !again {
                    tracing::error!(subject, %error, "events were not stored; they will be said again");
                    return false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::{JobId, Transition};

    use super::*;

    #[test]
    fn encoded_events_one_after_the_other_are_a_batch() {
        let event = |attempt| {
            let id = JobId::from_parts(jiff::Timestamp::UNIX_EPOCH, [7; 10]);
            let (queue, at) = (QueueName::default(), jiff::Timestamp::UNIX_EPOCH);
            Event::new(queue, id, None, Transition::Started, attempt, at)
        };
        let body: Vec<u8> =
            (1..=3).flat_map(|attempt| EncodedEvent::from(event(attempt)).bytes.to_vec()).collect();
        let read = v1::EventBatch::decode(Bytes::from(body)).unwrap();
        let attempts: Vec<_> = read.events.iter().map(|event| event.attempt).collect();
        assert_eq!(attempts, [1, 2, 3]);
        assert_eq!(read.events[2], v1::Event::from(event(3)));
    }
}
