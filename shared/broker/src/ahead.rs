//! Tasks that are read, and dealt with, ahead of the consumer that delivers them in their order.
//!
//! A consumer gives messages out from the head of what waits, a broker takes an acknowledgement of none that it has not
//! delivered, and TASKS lets nobody delete one, so that none is lost but by being admitted. So a task that was dealt with
//! stays. It is delivered in the end, and finds its job. Beyond the horizon the end of that may be forgotten; hence a
//! [`Mark`] is stored before the job is made, and another once it is. They stand until all tasks of that time are dealt
//! with, and a horizon longer.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::timeout;
use windlass_core::QueueName;
use windlass_core::forgetting::Place;

use crate::batch::{self, Raw, Start};
use crate::connect::{Broker, Error};
use crate::delivery::{Delivered, Handle};
use crate::jobs::{self, Jobs};
use crate::provision::Layout;
use crate::publish;

/// For each call.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The tasks that wait for their admission.
#[derive(Debug, Clone)]
pub struct TaskBacklog {
    broker: Broker,
    stream: String,
}

/// How far the dispatchers have come with the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What stands up to here was delivered.
    pub reached: u64,
    /// How many were not.
    pub pending: u64,
}

/// Tasks of a queue, one after the other.
#[derive(Debug)]
pub struct Page {
    /// What was asked for.
    pub from: u64,
    /// Where the next page begins.
    pub next: u64,
    /// In order.
    pub tasks: Vec<Delivered>,
    /// More follow.
    pub more: bool,
}

/// What is known of a task that was taken ahead of its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Its job may have been made.
    Begun,
    /// It was dealt with.
    Taken,
}

#[derive(Deserialize)]
struct StreamInfo {
    state: StreamState,
}

#[derive(Deserialize)]
struct StreamState {
    #[serde(default)]
    subjects: Option<BTreeMap<String, u64>>,
}

#[derive(Deserialize)]
struct ConsumerInfo {
    delivered: Delivery,
    num_pending: u64,
}

#[derive(Deserialize)]
struct Delivery {
    stream_seq: u64,
}

// === impl Page ===

impl Page {
    /// The last sequence that was looked at: of the end of the stream, if nothing follows.
    pub fn to(&self) -> u64 {
        if self.more { self.next.saturating_sub(1) } else { u64::MAX }
    }
}

// === impl Mark ===

impl Mark {
    const fn word(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Taken => "taken",
        }
    }
}

// === impl TaskBacklog ===

impl TaskBacklog {
    /// Of this fleet.
    pub fn new(broker: &Broker) -> Self {
        Self { broker: broker.clone(), stream: broker.names().tasks_stream() }
    }

    /// How far the dispatchers have come.
    pub async fn progress(&self) -> Result<Progress, Error> {
        let call = format!("CONSUMER.INFO.{}.{}", self.stream, self.broker.names().dispatcher_consumer());
        let info: ConsumerInfo = self.broker.api(&call, &serde_json::json!({}), CALL_TIMEOUT).await?;
        Ok(Progress { reached: info.delivered.stream_seq, pending: info.num_pending })
    }

    /// The queues of which tasks wait.
    pub async fn queues(&self) -> Result<Vec<QueueName>, Error> {
        let names = self.broker.names();
        let call = format!("STREAM.INFO.{}", self.stream);
        let request = serde_json::json!({ "subjects_filter": names.task_wildcard() });
        let info: StreamInfo = self.broker.api(&call, &request, CALL_TIMEOUT).await?;
        let subjects = info.state.subjects.unwrap_or_default();
        // One with another name is refused when it is delivered.
        Ok(subjects.keys().filter_map(|subject| names.queue_of_task(subject)?.parse().ok()).collect())
    }

    /// The tasks of a queue from this sequence on, at most so many: to be looked at. Any replica may answer, so that one
    /// which was stored or removed just now may be missing or still there.
    pub async fn page(&self, queue: &QueueName, from: u64, most: usize) -> Result<Page, Error> {
        let filter = self.broker.names().task_subject(queue);
        let start = Start::Sequence(from);
        let batch = batch::read(&self.broker, &self.stream, &filter, start, most).await?;
        let next = batch.messages.last().map_or(from, |last| last.sequence + 1);
        let handle = Handle::nothing(&self.broker);
        let tasks = batch.messages.into_iter().map(|raw| Delivered::ahead(raw, handle.clone())).collect();
        Ok(Page { from, next, tasks, more: batch.more })
    }

    /// A task, from the stream's leader; none if it was dealt with. Acknowledged, it is marked as taken.
    pub async fn take(&self, layout: &Layout, sequence: u64) -> Result<Option<Delivered>, Error> {
        let Some(raw) = message_at(&self.broker, &self.stream, sequence).await? else { return Ok(None) };
        let names = self.broker.names();
        let Some(Ok(queue)) = names.queue_of_task(&raw.subject).map(str::parse) else { return Ok(None) };
        let jobs = Jobs::new(&self.broker, layout.pool_of(&queue));
        Ok(Some(Delivered::ahead(raw, Handle::mark(jobs, queue, sequence))))
    }
}

// === impl Jobs ===

impl Jobs {
    /// Marks a task, by its place in TASKS.
    pub async fn mark(&self, queue: &QueueName, sequence: u64, mark: Mark) -> Result<(), Error> {
        let subject = self.broker().names().taken_mark(self.pool(), queue, sequence);
        let body = Bytes::from_static(mark.word().as_bytes());
        publish::publish_until(self.broker(), subject, HeaderMap::new(), body, CALL_TIMEOUT).await.map(drop)
    }

    /// The latest mark of a task: from the stream's leader.
    pub async fn marked(&self, queue: &QueueName, sequence: u64) -> Result<Option<Mark>, Error> {
        let subject = self.broker().names().taken_mark(self.pool(), queue, sequence);
        let stream = self.stream();
        let malformed = |reason: String| Error::Malformed { subject: subject.clone(), reason };
        let handle = self.broker().jetstream().get_stream_no_info(stream).await;
        let handle = handle.map_err(|e| malformed(e.to_string()))?;
        let asking = timeout(CALL_TIMEOUT, handle.get_last_raw_message_by_subject(&subject));
        match self.broker().unless_denied(stream, asking).await? {
            Err(_) => Err(Error::TimedOut { subject: subject.clone(), timeout: CALL_TIMEOUT }),
            Ok(Err(e)) if e.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Ok(Err(e)) => Err(malformed(e.to_string())),
            // What is not understood may be said by a newer version.
            Ok(Ok(found)) if found.payload == Mark::Taken.word().as_bytes() => Ok(Some(Mark::Taken)),
            Ok(Ok(_)) => Ok(Some(Mark::Begun)),
        }
    }

    /// Whether all tasks that stood when the streams were `there` are dealt with.
    pub async fn has_dealt_with(&self, there: Place) -> Result<bool, jobs::Error> {
        Ok(self.place().await?.1.tasks >= there.tasks)
    }

    /// Removes the marks of tasks that stood when the streams were `there`.
    pub async fn forget_marks(&self, there: Place) -> Result<u64, jobs::Error> {
        let filter = self.broker().names().taken_filter(self.pool());
        self.purge(&filter, there.jobs).await
    }
}

/// A message of a stream, as its leader has it.
async fn message_at(broker: &Broker, stream: &str, sequence: u64) -> Result<Option<Raw>, Error> {
    let malformed = |reason: String| Error::Malformed { subject: format!("the stream {stream}"), reason };
    let handle = broker.jetstream().get_stream_no_info(stream).await.map_err(|e| malformed(e.to_string()))?;
    let asking = timeout(CALL_TIMEOUT, handle.get_raw_message(sequence));
    match broker.unless_denied(stream, asking).await? {
        Err(_) => Err(Error::TimedOut { subject: stream.to_owned(), timeout: CALL_TIMEOUT }),
        Ok(Err(e)) if e.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Ok(Err(e)) => Err(malformed(e.to_string())),
        Ok(Ok(message)) => Ok(Some(message.into())),
    }
}
