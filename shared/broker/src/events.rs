//! Events: written in batches, read in batches.

use std::time::Duration;

use jiff::Timestamp;
use prost::Message as _;
use tokio::time::{Instant, timeout_at};
use windlass_core::told::{LogLine, Progress};
use windlass_core::{Event, QueueName};
use windlass_proto::v1;

use crate::connect::{self, Broker};
use crate::delivery::{Delivered, Handle};
use crate::pull::{Arrival, Puller};

pub mod ends;
mod tell;
mod write;

pub use self::write::{EncodedEvent, EventWriter, Storing};

/// For looking at the stream.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages that are asked for ahead, and held until they are taken: of up to 64 KiB each.
const MOST_AHEAD: usize = 100;

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

/// Reads events by a durable consumer.
pub struct EventReader {
    puller: Puller,
}

/// How much is read at once.
#[derive(Debug, Clone, Copy)]
pub struct BatchBounds {
    /// So many messages at most.
    pub messages: usize,
    /// With so many events no further message is waited for.
    pub events: usize,
    /// How long the first message waits for others.
    pub linger: Duration,
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

// === impl EventReader ===

impl EventReader {
    /// Starts to read all of them, as the monitors' consumer.
    pub async fn open(broker: &Broker) -> Result<Self, Error> {
        let names = broker.names();
        let puller = Puller::open(broker, names.events_stream(), names.monitor_consumer().to_owned()).await?;
        Ok(Self { puller })
    }

    /// Waits for at least one message, and then takes what else comes within the bounds; none after `wait`.
    pub async fn next_batch(
        &mut self,
        bounds: BatchBounds,
        wait: Duration,
    ) -> Result<Vec<EventMessage>, Error> {
        let BatchBounds { messages: max, events: most_events, linger } = bounds;
        let mut messages = Vec::new();
        let mut events = 0;
        let mut until = Instant::now() + wait;
        while messages.len() < max && events < most_events {
            let ahead = max.min(MOST_AHEAD);
            if self.puller.outstanding() < ahead / 2 + 1 {
                let room = ahead - self.puller.outstanding().min(ahead);
                self.puller.request(room).await?;
            }
            match timeout_at(until, self.puller.next()).await {
                Err(_) => break,
                Ok(Err(error)) => return Err(error.into()),
                Ok(Ok(Arrival::Message(delivered))) => {
                    let message = EventMessage::read(*delivered);
                    events += message.events.len();
                    messages.push(message);
                    until = until.min(Instant::now() + linger);
                }
                Ok(Ok(Arrival::Renew)) => {}
                Ok(Ok(Arrival::Missing)) => {
                    return Err(Error::Read(connect::Error::NoResponders(
                        "the consumer of events".to_owned(),
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
