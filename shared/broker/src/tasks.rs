//! Publishing tasks.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;
use tokio::time::Instant;
use windlass_core::protocol::Answer;
use windlass_core::trace::TraceParent;
use windlass_core::{QueueName, Task};
use windlass_proto::v1;

use crate::connect::{self, Broker};
use crate::publish::{self, Outcome, Outgoing, header};
use crate::retry::Waits;
use crate::stream_state::stream_state;
use crate::trace;

/// For one try of a batch.
const TOGETHER_TIMEOUT: Duration = Duration::from_secs(5);
/// For a look at the stream.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// A task was accepted: it is stored and will reach exactly one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// The stream had a task of this id already, a moment ago.
    pub duplicate: bool,
    /// Its place among the tasks, where the broker said it.
    pub sequence: Option<u64>,
}

/// Where a task's id comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Id {
    /// Made for this task: no other has it. Or whether another has it, and where the task stands, is nothing to whoever
    /// publishes it.
    New,
    /// Given by whoever submits it, perhaps not for the first time.
    Given,
}

/// A task was not accepted, or it is not known whether it was; publishing it again under its id is safe.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The envelope is larger than the broker takes.
    #[error("the task has {bytes} bytes with its options: the broker takes at most {limit}")]
    TooLarge {
        /// Of the envelope.
        bytes: usize,
        /// The broker's.
        limit: usize,
    },
    /// The broker did not take it.
    #[error(transparent)]
    Broker(connect::Error),
    /// It is not known whether the broker took the batch.
    #[error("no word from the broker whether the tasks are stored, within {} s", waited.as_secs_f64())]
    Unknown {
        /// For how long.
        waited: Duration,
    },
}

// === impl Error ===

impl Error {
    /// Whether publishing it again, as it is, can help.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::TooLarge { .. } => false,
            Self::Unknown { .. } => true,
            Self::Broker(error) => error.may_pass(),
        }
    }
}

/// Publishes a task as an envelope, and waits until it is stored, for at most `wait`.
pub async fn publish(
    broker: &Broker,
    queue: &QueueName,
    (id, task): (Id, &Task<Bytes>),
    trace: Option<TraceParent>,
    wait: Duration,
) -> Result<Published, Error> {
    let begun = Instant::now();
    let body = encode(broker, task)?;
    let subject = broker.names().task_subject(queue);
    let mut headers = HeaderMap::new();
    // Lets the broker drop the second of two tries. A job's identity does not rest on it.
    headers.insert(header::MESSAGE_ID, format!("{queue}.{}", task.id));
    trace::to_headers(&mut headers, trace);
    // Only a plain publish is told of a duplicate.
    if id == Id::New && publish::has_time(wait) {
        let message = Outgoing { subject: subject.clone(), headers: headers.clone(), body: body.clone() };
        match broker.publish_gathered(&broker.names().tasks_stream(), message).await {
            Outcome::Stored => return Ok(Published { duplicate: false, sequence: None }),
            Outcome::Refused(error) if !publish::is_transient(&error) => return Err(Error::Broker(error)),
            Outcome::Refused(_) | Outcome::Silent | Outcome::NotTried => {}
        }
    }
    let left = wait.saturating_sub(begun.elapsed());
    let publishing = Box::pin(publish::publish_until(broker, subject, headers, body, left));
    let stored = publishing.await.map_err(Error::Broker)?;
    Ok(Published { duplicate: stored.duplicate && id == Id::Given, sequence: Some(stored.sequence) })
}

/// Whether the task of this place is still to be admitted. Read from the stream's leader.
pub async fn stands(broker: &Broker, sequence: u64) -> Result<bool, connect::Error> {
    let call = format!("STREAM.MSG.GET.{}", broker.names().tasks_stream());
    let request = serde_json::json!({ "seq": sequence });
    match broker.api::<serde_json::Value>(&call, &request, LOOK_TIMEOUT).await {
        Ok(_) => Ok(true),
        // No message found.
        Err(connect::Error::Refused { code: 10_037 | 10_043, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// As bytes, if the broker takes so many.
fn encode(broker: &Broker, task: &Task<Bytes>) -> Result<Bytes, Error> {
    let body: Bytes = v1::Task::from(task).encode_to_vec().into();
    let limit = broker.max_payload_bytes();
    // The headers take part of the broker's limit.
    if body.len() + 512 > limit {
        return Err(Error::TooLarge { bytes: body.len(), limit });
    }
    Ok(body)
}

/// The most tasks of one batch.
pub const MOST_TOGETHER: usize = publish::MOST_AT_ONCE;

/// A task of a batch, as it is sent.
#[derive(Debug, Clone)]
pub struct Together {
    message: Outgoing,
}

// === impl Together ===

impl Together {
    /// Encodes a task for a queue.
    pub fn new(
        broker: &Broker,
        queue: &QueueName,
        task: &Task<Bytes>,
        trace: Option<TraceParent>,
    ) -> Result<Self, Error> {
        let body = encode(broker, task)?;
        // Without a message id: the broker refuses a batch whose second try has them, and the jobs' own ids are enough.
        let mut headers = HeaderMap::new();
        trace::to_headers(&mut headers, trace);
        Ok(Self { message: Outgoing { subject: broker.names().task_subject(queue), headers, body } })
    }

    /// Of the envelope.
    pub fn bytes(&self) -> usize {
        self.message.body.len()
    }
}

/// Publishes at most [`MOST_TOGETHER`] tasks, all or none, and waits until they are stored, for at most `wait`. May be
/// stored twice after a silence of the broker, which makes no second jobs.
pub async fn publish_all(broker: &Broker, tasks: &[Together], wait: Duration) -> Result<(), Error> {
    let mut waits = Waits::until(Instant::now() + wait);
    loop {
        let messages = tasks.iter().map(|task| task.message.clone()).collect();
        let left = waits.left().min(TOGETHER_TIMEOUT);
        match publish::publish_all_if(broker, messages, left).await.map_err(Error::Broker)? {
            Answer::Stored(_) => return Ok(()),
            Answer::Refused | Answer::Undecided | Answer::Silent => {}
        }
        if !waits.wait().await {
            return Err(Error::Unknown { waited: wait });
        }
    }
}

/// When the oldest task that no dispatcher has admitted yet was accepted; none if there is none.
pub async fn oldest(broker: &Broker) -> Result<Option<Timestamp>, connect::Error> {
    let state = stream_state(broker, &broker.names().tasks_stream(), LOOK_TIMEOUT).await?;
    Ok((state.messages > 0).then_some(state.first_ts))
}
