//! Marks of cancellation: who holds the marked token ends the job as cancelled.

use std::time::Duration;

use async_nats::Subscriber;
use futures::StreamExt as _;
use futures::stream::{SelectAll, select_all};
use prost::Message as _;
use windlass_core::{JobId, QueueName};
use windlass_proto::v1;

use crate::connect::{self, Broker};
use crate::kv;
use crate::names::Names;

/// How long a mark is kept: longer than a worker may be away and still settle.
const TTL: Duration = Duration::from_secs(3600);

/// A mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Which job.
    pub job_id: JobId,
    /// The token that it ends.
    pub token: u64,
    /// For people.
    pub reason: String,
}

/// Marks of some queues as they are set, while connected.
pub struct Marks {
    arriving: SelectAll<Subscriber>,
}

/// Who listens for more queues than this hears all marks by one subscription: each takes some kilobytes.
const QUEUES: usize = 16;

/// Sets a mark.
pub async fn mark(broker: &Broker, queue: &QueueName, mark: &Mark) -> Result<(), kv::Error> {
    let bucket = broker.bucket(broker.names().control_bucket());
    let key = broker.names().cancel_key(queue, mark.job_id);
    let value = v1::CancelMark { token: mark.token, reason: mark.reason.clone() }.encode_to_vec();
    bucket.put(&key, value.into(), Some(TTL)).await.map(|_| ())
}

/// Looks a mark up, for one who may have missed its announcement.
pub async fn find(broker: &Broker, queue: &QueueName, job_id: JobId) -> Result<Option<Mark>, kv::Error> {
    let bucket = broker.bucket(broker.names().control_bucket());
    let entry = bucket.get(&broker.names().cancel_key(queue, job_id)).await?;
    Ok(entry.and_then(|e| v1::CancelMark::decode(e.value).ok()).map(|wire| Mark {
        job_id,
        token: wire.token,
        reason: wire.reason,
    }))
}

// === impl Marks ===

impl Marks {
    /// Listens to the marks of these queues, at least. A plain subscription sees what is put into a bucket, and needs no
    /// consumer.
    pub async fn listen(broker: &Broker, queues: &[QueueName]) -> Result<Self, connect::Error> {
        let bucket = broker.names().control_bucket();
        let one_by_one = queues.iter().filter(|_| queues.len() <= QUEUES).map(QueueName::as_str);
        let all = (queues.len() > QUEUES).then_some("*");
        let mut subscribers = Vec::new();
        for queue in one_by_one.chain(all) {
            let subject = Names::key_subject(&bucket, &format!("cancel.{queue}.*"));
            subscribers.push(broker.client().subscribe(subject).await.map_err(|_| connect::Error::Closed)?);
        }
        Ok(Self { arriving: select_all(subscribers) })
    }

    /// The next mark, and the job's queue; none at the end of the connection.
    pub async fn next(&mut self) -> Option<(QueueName, Mark)> {
        loop {
            let message = self.arriving.next().await?;
            let mut words = message.subject.rsplit('.');
            let job_id = words.next().and_then(|id| id.parse().ok());
            let queue = words.next().and_then(|queue| queue.parse().ok());
            if let (Some(job_id), Some(queue), Ok(wire)) =
                (job_id, queue, v1::CancelMark::decode(message.payload))
            {
                return Some((queue, Mark { job_id, token: wire.token, reason: wire.reason }));
            }
        }
    }
}
