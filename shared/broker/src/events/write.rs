//! Writing events: while one message is on its way, what is said gathers for the next (group commit).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use prost::Message as _;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use windlass_core::told::{LogLine, Progress};
use windlass_core::{Event, PoolName, QueueName};
use windlass_proto::v1;

use super::Error;
use super::tell::TellWriter;
use crate::connect::Broker;
use crate::publish;
use crate::retry::Waits;
use crate::storing;

/// How many events may wait to be written before callers wait too.
const BUFFER: usize = 4096;
/// The most events, and about the most bytes, of one message.
const BATCH_EVENTS: usize = 250;
const BATCH_BYTES: usize = 64 * 1024;
/// How many messages may be on their way at a time. With more of them, each holds fewer events, and a message costs the
/// broker far more than an event in it (ARCHITECTURE.md, "Where the time goes").
const IN_FLIGHT: usize = 2;
/// How long a message is tried, a leader's loss included.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// Writes events; clones share one buffer.
#[derive(Debug, Clone)]
pub struct EventWriter {
    buffer: mpsc::Sender<Pending>,
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

#[derive(Debug)]
struct Pending {
    event: EncodedEvent,
    stored: oneshot::Sender<bool>,
}

/// Events on their way.
#[derive(Debug)]
pub struct Storing(Vec<oneshot::Receiver<bool>>);

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
        let (buffer, waiting) = mpsc::channel(BUFFER);
        let told = TellWriter::new(broker.clone(), service, pool.clone());
        tokio::spawn(write(broker, service, pool, waiting));
        Self { buffer, told }
    }

    /// Sends what a running handler tells, without waiting. If there is no room it is dropped, and counted.
    pub fn tell(&self, progress: Option<Progress>, lines: Vec<LogLine>) {
        self.told.tell(progress, lines);
    }

    /// Says an event, and waits until it is stored. Waits too while the buffer is full.
    pub async fn record(&self, event: impl Into<EncodedEvent>) -> Result<(), Error> {
        self.record_all([event.into()]).await
    }

    /// Says events without waiting; gives what waits for them to be stored, or nothing if there is no room for all.
    pub fn try_record_all(&self, events: impl IntoIterator<Item = EncodedEvent>) -> Option<Storing> {
        let mut answers = Vec::new();
        for event in events {
            let (stored, answer) = oneshot::channel();
            self.buffer.try_send(Pending { event, stored }).ok()?;
            answers.push(answer);
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
            let (stored, answer) = oneshot::channel();
            self.buffer.send(Pending { event: event.into(), stored }).await.map_err(|_| Error::NotStored)?;
            answers.push(answer);
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

/// Groups what has come by queue; while as many messages as may be are on their way, more gathers for the next.
async fn write(broker: Broker, service: &'static str, pool: PoolName, mut waiting: mpsc::Receiver<Pending>) {
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut received = Vec::new();
    loop {
        // Room first: what comes meanwhile goes with the same message.
        drop(in_flight.acquire().await);
        if waiting.recv_many(&mut received, BUFFER).await == 0 {
            return;
        }
        let mut by_queue: HashMap<QueueName, Vec<Batch>> = HashMap::new();
        for Pending { event, stored } in received.drain(..) {
            let batches = by_queue.entry(event.queue).or_default();
            if batches.last().is_none_or(|batch| !batch.has_room(&event.bytes)) {
                batches.push(Batch::default());
            }
            if let Some(batch) = batches.last_mut() {
                batch.body.extend_from_slice(&event.bytes);
                batch.stored.push(stored);
            }
        }
        for (queue, batches) in by_queue {
            for batch in batches {
                let Ok(permit) = Arc::clone(&in_flight).acquire_owned().await else { return };
                let (broker, subject) =
                    (broker.clone(), broker.names().event_subject(&queue, service, &pool));
                tokio::spawn(async move {
                    let stored = store(&broker, subject, &batch.body.into()).await;
                    for answer in batch.stored {
                        let _ = answer.send(stored);
                    }
                    drop(permit);
                });
            }
        }
    }
}

/// One message.
#[derive(Default)]
struct Batch {
    body: Vec<u8>,
    stored: Vec<oneshot::Sender<bool>>,
}

// === impl Batch ===

impl Batch {
    fn has_room(&self, event: &Bytes) -> bool {
        self.stored.len() < BATCH_EVENTS && self.body.len() + event.len() <= BATCH_BYTES
    }
}

async fn store(broker: &Broker, subject: String, body: &Bytes) -> bool {
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
        let mut batch = Batch::default();
        for attempt in 1..=3 {
            let encoded = EncodedEvent::from(event(attempt));
            assert!(batch.has_room(&encoded.bytes));
            batch.body.extend_from_slice(&encoded.bytes);
        }
        let read = v1::EventBatch::decode(Bytes::from(batch.body)).unwrap();
        let attempts: Vec<_> = read.events.iter().map(|event| event.attempt).collect();
        assert_eq!(attempts, [1, 2, 3]);
        assert_eq!(read.events[2], v1::Event::from(event(3)));
        let full = Batch { body: vec![0; BATCH_BYTES], ..Batch::default() };
        assert!(!full.has_room(&Bytes::from_static(b"more")));
    }
}
