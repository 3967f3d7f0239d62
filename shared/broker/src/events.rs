//! Events: written in batches, read in batches.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use windlass_core::told::{LogLine, Progress};
use windlass_core::{Event, PoolName, QueueName};
use windlass_proto::v1;

use crate::connect::{self, Broker};
use crate::delivery::{Delivered, Handle};
use crate::publish;
use crate::pull::{Arrival, Puller};
use crate::retry::Waits;
use crate::storing;

mod tell;
use self::tell::TellWriter;

/// How many events may wait to be written before callers wait too.
const BUFFER: usize = 4096;
/// The most events, and about the most bytes, of one message.
const BATCH_EVENTS: usize = 50;
const BATCH_BYTES: usize = 256 * 1024;
/// How many messages may be on their way at a time.
const IN_FLIGHT: usize = 16;
/// For looking at the stream.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a message is tried, a leader's loss included.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// Writes events; clones share one buffer.
#[derive(Debug, Clone)]
pub struct EventWriter {
    buffer: mpsc::Sender<Pending>,
    told: TellWriter,
}

#[derive(Debug)]
struct Pending {
    event: Event,
    stored: oneshot::Sender<bool>,
}

/// Events on their way.
#[derive(Debug)]
pub struct Storing(Vec<oneshot::Receiver<bool>>);

/// Events could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// They were not stored in time; whoever said them says them again.
    #[error("an event was not stored")]
    NotStored,
    /// The broker did not deliver.
    #[error("events cannot be read")]
    Read(#[from] connect::Error),
}

/// Reads events as the monitors' durable consumer.
pub struct EventReader {
    puller: Puller,
}

/// What EVENTS holds, and how far the monitors' consumer has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Tells the stream from another of the same name, as the broker writes it.
    pub created: String,
    /// Of the oldest message that is left; one more than the last if none is.
    pub first_sequence: u64,
    /// Of the newest message; 0 before the first.
    pub last_sequence: u64,
    /// All up to here were acknowledged, or are gone: none of them is delivered again.
    pub acknowledged_sequence: u64,
}

#[derive(serde::Deserialize)]
struct StreamInfo {
    created: String,
    state: StreamState,
}

#[derive(serde::Deserialize)]
struct StreamState {
    first_seq: u64,
    last_seq: u64,
}

#[derive(serde::Deserialize)]
struct ConsumerInfo {
    ack_floor: SequencePair,
}

#[derive(serde::Deserialize)]
struct SequencePair {
    stream_seq: u64,
}

/// A message of events.
#[derive(Debug)]
pub struct EventMessage {
    /// In EVENTS.
    pub sequence: u64,
    /// When it was stored.
    pub published_at: Timestamp,
    /// How many messages wait behind it.
    pub pending: u64,
    /// Those of its events that can be read.
    pub events: Vec<Event>,
    /// What running handlers told.
    pub progress: Vec<Progress>,
    /// Lines that they logged.
    pub lines: Vec<LogLine>,
    /// What is wrong with those that cannot.
    pub malformed: Vec<windlass_proto::Error>,
    handle: Handle,
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
    pub async fn record(&self, event: Event) -> Result<(), Error> {
        self.record_all([event]).await
    }

    /// Says events without waiting; gives what waits for them to be stored, or nothing if there is no room for all.
    pub fn try_record_all(&self, events: impl IntoIterator<Item = Event>) -> Option<Storing> {
        let mut answers = Vec::new();
        for event in events {
            let (stored, answer) = oneshot::channel();
            self.buffer.try_send(Pending { event, stored }).ok()?;
            answers.push(answer);
        }
        Some(Storing(answers))
    }

    /// Says events, and waits until all of them are stored.
    pub async fn record_all(&self, events: impl IntoIterator<Item = Event>) -> Result<(), Error> {
        let mut answers = Vec::new();
        for event in events {
            let (stored, answer) = oneshot::channel();
            self.buffer.send(Pending { event, stored }).await.map_err(|_| Error::NotStored)?;
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

/// Groups what has come by queue; while some messages are on their way, more gathers for the next.
async fn write(broker: Broker, service: &'static str, pool: PoolName, mut waiting: mpsc::Receiver<Pending>) {
    let in_flight = std::sync::Arc::new(Semaphore::new(IN_FLIGHT));
    let mut received = Vec::new();
    while waiting.recv_many(&mut received, BATCH_EVENTS * 4).await > 0 {
        let mut by_queue: HashMap<QueueName, Vec<Pending>> = HashMap::new();
        for pending in received.drain(..) {
            by_queue.entry(pending.event.queue.clone()).or_default().push(pending);
        }
        for (queue, pending) in by_queue {
            for batch in batches(pending) {
                let Ok(permit) = in_flight.clone().acquire_owned().await else { return };
                let (broker, subject) =
                    (broker.clone(), broker.names().event_subject(&queue, service, &pool));
                tokio::spawn(async move {
                    let stored = store(&broker, subject, &batch.body).await;
                    for answer in batch.stored {
                        let _ = answer.send(stored);
                    }
                    drop(permit);
                });
            }
        }
    }
}

struct Batch {
    body: Bytes,
    stored: Vec<oneshot::Sender<bool>>,
}

fn batches(pending: Vec<Pending>) -> Vec<Batch> {
    let mut batches = Vec::new();
    let (mut events, mut stored, mut bytes) = (Vec::new(), Vec::new(), 0);
    let mut flush = |events: &mut Vec<v1::Event>, stored: &mut Vec<_>| {
        if !events.is_empty() {
            let batch = v1::EventBatch { events: std::mem::take(events), ..v1::EventBatch::default() };
            let body = batch.encode_to_vec().into();
            batches.push(Batch { body, stored: std::mem::take(stored) });
        }
    };
    for item in pending {
        let event = v1::Event::from(item.event);
        let size = event.encoded_len();
        if events.len() == BATCH_EVENTS || bytes + size > BATCH_BYTES {
            flush(&mut events, &mut stored);
            bytes = 0;
        }
        bytes += size;
        events.push(event);
        stored.push(item.stored);
    }
    flush(&mut events, &mut stored);
    batches
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

// === impl EventReader ===

impl EventReader {
    /// Starts to read.
    pub async fn open(broker: &Broker) -> Result<Self, Error> {
        let names = broker.names();
        let puller = Puller::open(broker, names.events_stream(), names.monitor_consumer().to_owned()).await?;
        Ok(Self { puller })
    }

    /// Waits for at least one message, and then takes what else has come, up to `max`; none after `wait`.
    pub async fn next_batch(&mut self, max: usize, wait: Duration) -> Result<Vec<EventMessage>, Error> {
        let mut messages = Vec::new();
        let mut until = Instant::now() + wait;
        while messages.len() < max {
            if self.puller.outstanding() < max / 2 + 1 {
                let room = max - self.puller.outstanding().min(max);
                self.puller.request(room).await?;
            }
            match timeout_at(until, self.puller.next()).await {
                Err(_) => break,
                Ok(Err(error)) => return Err(error.into()),
                Ok(Ok(Arrival::Message(delivered))) => {
                    messages.push(EventMessage::read(*delivered));
                    // What is on its way comes within a moment; do not wait for what is not.
                    until = until.min(Instant::now() + Duration::from_millis(5));
                }
                Ok(Ok(Arrival::Renew)) => {}
                Ok(Ok(Arrival::Missing)) => {
                    return Err(Error::Read(connect::Error::NoResponders(
                        "the monitors' consumer".to_owned(),
                    )));
                }
            }
        }
        Ok(messages)
    }
}

/// Looks at EVENTS and at the monitors' consumer.
pub async fn extent(broker: &Broker) -> Result<Extent, Error> {
    let (stream, consumer) = (broker.names().events_stream(), broker.names().monitor_consumer());
    let none = serde_json::json!({});
    let info: ConsumerInfo =
        broker.api(&format!("CONSUMER.INFO.{stream}.{consumer}"), &none, CALL_TIMEOUT).await?;
    let StreamInfo { created, state } =
        broker.api(&format!("STREAM.INFO.{stream}"), &none, CALL_TIMEOUT).await?;
    Ok(Extent {
        created,
        first_sequence: state.first_seq,
        last_sequence: state.last_seq,
        acknowledged_sequence: info.ack_floor.stream_seq,
    })
}

// === impl EventMessage ===

impl EventMessage {
    fn read(delivered: Delivered) -> Self {
        let mut message = Self {
            sequence: delivered.sequence,
            published_at: delivered.published_at,
            pending: delivered.pending,
            events: Vec::new(),
            progress: Vec::new(),
            lines: Vec::new(),
            malformed: Vec::new(),
            handle: delivered.handle().clone(),
        };
        // `<namespace>.event.<queue>.…`: the namespace has no dot.
        let queue = delivered.subject.split('.').nth(2).and_then(|q| q.parse::<QueueName>().ok());
        match (queue, v1::EventBatch::decode(delivered.body)) {
            (Some(queue), Ok(batch)) => {
                for event in batch.events {
                    match event.into_domain(&queue) {
                        Ok(event) => message.events.push(event),
                        Err(error) => message.malformed.push(error),
                    }
                }
                // Nobody misses what cannot be read of these: it is told by chance only.
                message.progress.extend(batch.progress.into_iter().flat_map(|p| p.into_domain(&queue)));
                message.lines.extend(batch.logs.into_iter().flat_map(|line| line.into_domain(&queue)));
            }
            (None, _) => {
                let reason = format!("{} is not an event's", delivered.subject);
                message.malformed.push(windlass_proto::Error::new("subject", reason));
            }
            (_, Err(error)) => message.malformed.push(error.into()),
        }
        message
    }

    /// Gives it back, to be delivered again after this long.
    pub async fn put_back(&self, delay: Duration) -> Result<(), Error> {
        Ok(self.handle.nak(Some(delay)).await?)
    }

    /// Says that it is dealt with.
    pub async fn ack(&self) -> Result<(), Error> {
        Ok(self.handle.ack().await?)
    }
}
