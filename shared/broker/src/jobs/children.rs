//! The markers of a job's children, so that they can be cancelled with it.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;
use tokio::time::timeout;
use windlass_core::{JobId, PoolName, QueueName};
use windlass_proto::v1;

use super::{CALL_TIMEOUT, Error, Jobs};
use crate::connect::Broker;
use crate::grouped::{Bounds, Grouped};
use crate::names::ChildSubject;
use crate::publish::{self, header};

/// A marker that nobody removed.
const TTL: Duration = Duration::from_secs(28 * 86_400);
/// For storing one.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
const BOUNDS: Bounds = Bounds { buffer: 4096, items: 500, bytes: 64 * 1024, in_flight: 2 };

/// What marks children, those of one job in few messages.
#[derive(Debug)]
pub struct ChildMarks {
    grouped: Grouped<Parent>,
}

/// Whose children go together.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Parent {
    pool: PoolName,
    queue: QueueName,
    job_id: JobId,
}

/// Children of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildMarker {
    /// In the stream.
    pub sequence: u64,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// The queue of the parent, and the parent.
    pub parent: (QueueName, JobId),
    /// The queue of each child, and the child.
    pub children: Vec<(QueueName, JobId)>,
}

// === impl ChildMarks ===

impl ChildMarks {
    /// Starts to write. Ends when this is dropped and all is written.
    pub fn new(broker: &Broker) -> Self {
        let broker = broker.clone();
        Self {
            grouped: Grouped::start(BOUNDS, move |parent, body| {
                let broker = broker.clone();
                async move { store(&broker, parent, body).await }
            }),
        }
    }

    /// Marks a job of any pool as a child of a job of this pool; true once that is stored.
    pub async fn mark(&self, pool: PoolName, parent: (QueueName, JobId), child: (&QueueName, JobId)) -> bool {
        let child = v1::Child { queue: child.0.to_string(), job_id: child.1.to_string() };
        // Encoded messages merge when they are concatenated, as those of events do.
        let one = v1::Children { children: vec![child] }.encode_to_vec();
        let parent = Parent { pool, queue: parent.0, job_id: parent.1 };
        match self.grouped.put(parent, one.into()).await {
            Some(stored) => stored.await.unwrap_or(false),
            None => false,
        }
    }
}

async fn store(broker: &Broker, parent: Parent, body: Bytes) -> bool {
    let Some(first) = read(&body).and_then(|children| children.into_iter().next()) else { return false };
    let Parent { pool, queue, job_id } = parent;
    let subject = ChildSubject { parent: (queue, job_id), child: first };
    let mut headers = HeaderMap::new();
    headers.insert(header::TTL, TTL.as_secs().to_string());
    let subject = broker.names().child_subject(&pool, &subject);
    match publish::publish_until(broker, subject, headers, body, WRITE_TIMEOUT).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(%job_id, %error, "children of a job could not be marked; their tasks are delivered again");
            false
        }
    }
}

/// The children that a marker's body names; none if it is not to be understood.
fn read(body: &[u8]) -> Option<Vec<(QueueName, JobId)>> {
    let children = v1::Children::decode(body).ok()?.children;
    children.into_iter().map(|child| Some((child.queue.parse().ok()?, child.job_id.parse().ok()?))).collect()
}

impl Jobs {
    /// The oldest marker of children of this job whose sequence is at least this.
    pub async fn next_child_of(
        &self,
        queue: &QueueName,
        job_id: JobId,
        from: u64,
    ) -> Result<Option<ChildMarker>, Error> {
        self.next_marker(self.broker.names().children_filter(&self.pool, queue, job_id), from).await
    }

    /// The pool's oldest marker of children whose sequence is at least this.
    pub async fn next_child(&self, from: u64) -> Result<Option<ChildMarker>, Error> {
        self.next_marker(self.broker.names().pool_children_filter(&self.pool), from).await
    }

    async fn next_marker(&self, filter: String, mut from: u64) -> Result<Option<ChildMarker>, Error> {
        let stream = self.unseen_stream().await?;
        loop {
            let asking = timeout(CALL_TIMEOUT, stream.get_first_raw_message_by_subject(&filter, from));
            let message = match asking.await {
                Err(_) => return Err(self.unread("no answer in time")),
                Ok(Err(e)) if e.kind() == LastRawMessageErrorKind::NoMessageFound => return Ok(None),
                Ok(Err(e)) => return Err(self.unread(e)),
                Ok(Ok(message)) => message,
            };
            let subject = self.broker.names().parse_child_subject(&message.subject);
            // What was not written by us expires.
            let Some((subject, mut children)) = subject.zip(read(&message.payload)) else {
                from = message.sequence + 1;
                continue;
            };
            if children.is_empty() {
                children.push(subject.child);
            }
            let stored_at =
                Timestamp::from_nanosecond(message.time.unix_timestamp_nanos()).unwrap_or(Timestamp::MIN);
            let (sequence, parent) = (message.sequence, subject.parent);
            return Ok(Some(ChildMarker { sequence, stored_at, parent, children }));
        }
    }
}
