//! Marks: who holds the marked token ends the job as cancelled, or hands it back.

use std::time::Duration;

use async_nats::Subscriber;
use futures::StreamExt as _;
use futures::stream::{SelectAll, select_all};
use prost::Message as _;
use windlass_core::{JobId, QueueName};
use windlass_proto::v1;

use crate::connect::{self, Broker};
use crate::kv;
use crate::names::{CANCEL, Names, RECALL};

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
    /// Whether the job is handed back, to be decided on anew, instead of being cancelled.
    pub hand_back: bool,
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
    let key = key(broker.names(), queue, mark.job_id, mark.hand_back);
    let value = v1::CancelMark { token: mark.token, reason: mark.reason.clone() }.encode_to_vec();
    bucket.put(&key, value.into(), Some(TTL)).await.map(|_| ())
}

/// Looks the mark of a token up, for one who may have missed its announcement.
pub async fn find(
    broker: &Broker,
    queue: &QueueName,
    job_id: JobId,
    token: u64,
) -> Result<Option<Mark>, kv::Error> {
    let bucket = broker.bucket(broker.names().control_bucket());
    let mut found = None;
    // The end of a job is the stronger wish.
    for hand_back in [true, false] {
        let entry = bucket.get(&key(broker.names(), queue, job_id, hand_back)).await?;
        let wire = entry.and_then(|e| v1::CancelMark::decode(e.value).ok());
        let mark = wire.map(|wire| Mark { job_id, token: wire.token, reason: wire.reason, hand_back });
        found = mark.filter(|mark| mark.token == token).or(found);
    }
    Ok(found)
}

fn key(names: &Names, queue: &QueueName, job_id: JobId, hand_back: bool) -> String {
    if hand_back { names.recall_key(queue, job_id) } else { names.cancel_key(queue, job_id) }
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
            for word in [CANCEL, RECALL] {
                let subject = Names::key_subject(&bucket, &format!("{word}.{queue}.*"));
                let subscriber = broker.client().subscribe(subject).await;
                subscribers.push(subscriber.map_err(|_| connect::Error::Closed)?);
            }
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
            let hand_back = words.next() == Some(RECALL);
            if let (Some(job_id), Some(queue), Ok(wire)) =
                (job_id, queue, v1::CancelMark::decode(message.payload))
            {
                return Some((queue, Mark { job_id, token: wire.token, reason: wire.reason, hand_back }));
            }
        }
    }
}
