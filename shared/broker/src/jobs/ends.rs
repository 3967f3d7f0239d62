//! All ends that a pool's stream keeps: to count and to read, for measurements. It is no part of the protocol, and
//! takes rights that no service has.

use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use tokio::time::timeout;
use windlass_core::{JobId, QueueName, RecordKind};
use windlass_proto::Done;

use super::{Error, Jobs};
use crate::connect;
use crate::delivery::Delivered;
use crate::stream_state::stream_state;

/// The end of a job.
#[derive(Debug)]
pub struct End {
    /// Which.
    pub job_id: JobId,
    /// When the broker stored it.
    pub stored_at: Timestamp,
    /// The record.
    pub done: Done,
}

/// For each call.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Messages of one request.
const PORTION: u64 = 10_000;
const CONSUMER: &str = "ends";
/// JetStream's word for a consumer that does not exist.
const NO_CONSUMER: u64 = 10014;

#[derive(serde::Deserialize)]
struct Counted {
    /// Of the subjects that match, over all parts of the answer.
    #[serde(default)]
    total: u64,
}

/// What a consumer has before it, and what is out.
#[derive(serde::Deserialize)]
struct Waiting {
    num_pending: u64,
    num_ack_pending: u64,
}

impl Jobs {
    /// How many ends stand in the stream, exactly.
    pub async fn count_ends(&self) -> Result<u64, Error> {
        let filter = self.broker.names().pool_filter(&self.pool, RecordKind::Done);
        // Beyond all of them: the answer has their number, and none of their names.
        let request = serde_json::json!({ "subjects_filter": filter, "offset": i32::MAX });
        let call = format!("STREAM.INFO.{}", self.stream);
        let counted = self.broker.api::<Counted>(&call, &request, CALL_TIMEOUT).await;
        counted.map(|counted| counted.total).map_err(|source| self.failed(source))
    }

    /// How many messages TASKS has, and the stream of jobs, at no cost: none and one for each job once all have ended.
    pub async fn messages(&self) -> Result<(u64, u64), Error> {
        let count = async |stream: String| {
            let state = stream_state(&self.broker, &stream, CALL_TIMEOUT).await;
            state.map(|state| state.messages).map_err(|source| self.failed(source))
        };
        // In this order: a job that is made in between counts twice, and none is missed.
        Ok((count(self.broker.names().tasks_stream()).await?, count(self.stream.clone()).await?))
    }

    /// How many jobs of a queue are ready: wait for a worker, or are with one. Told by the queue's consumer, at no cost;
    /// none if there is no such queue.
    pub async fn ready(&self, queue: &QueueName) -> Result<Option<u64>, Error> {
        self.waiting(&self.broker.names().worker_consumer(queue)).await
    }

    /// How many jobs of a queue its dispatcher has yet to decide on, as for [`Jobs::ready`].
    pub async fn undecided(&self, queue: &QueueName) -> Result<Option<u64>, Error> {
        self.waiting(&self.broker.names().flow_consumer(queue)).await
    }

    async fn waiting(&self, consumer: &str) -> Result<Option<u64>, Error> {
        let call = format!("CONSUMER.INFO.{}.{consumer}", self.stream);
        match self.broker.api::<Waiting>(&call, &serde_json::json!({}), CALL_TIMEOUT).await {
            Ok(waiting) => Ok(Some(waiting.num_pending + waiting.num_ack_pending)),
            Err(connect::Error::Refused { code: NO_CONSUMER, .. }) => Ok(None),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Every end in the stream, in the order of storing, one after the other.
    pub async fn ends(&self, each: impl FnMut(End)) -> Result<(), Error> {
        let count = self.count_ends().await?;
        let filter = self.broker.names().pool_filter(&self.pool, RecordKind::Done);
        let request = serde_json::json!({ "stream_name": self.stream, "config": {
            "name": CONSUMER, "filter_subject": filter, "ack_policy": "explicit", "deliver_policy": "all",
            "max_ack_pending": -1, "inactive_threshold": 60_000_000_000_u64,
        }});
        let call = |call: &str| format!("CONSUMER.{call}.{}.{CONSUMER}", self.stream);
        let api = async |call: String, request: &serde_json::Value| {
            let answer = self.broker.api::<serde_json::Value>(&call, request, CALL_TIMEOUT).await;
            answer.map(|_| ()).map_err(|source| self.failed(source))
        };
        api(call("CREATE"), &request).await?;
        let read = self.read_ends(&call("MSG.NEXT"), count, each).await;
        api(call("DELETE"), &serde_json::json!({})).await?;
        read
    }

    async fn read_ends(&self, next: &str, count: u64, mut each: impl FnMut(End)) -> Result<(), Error> {
        let closed = || self.failed(connect::Error::Closed);
        let client = &self.broker.client();
        let inbox = client.new_inbox();
        let mut arriving = client.subscribe(inbox.clone()).await.map_err(|_| closed())?;
        let subject = self.broker.api_subject(next);
        let mut asked = 0;
        for number in 0..count {
            if number == asked {
                let batch = PORTION.min(count - asked);
                let request = serde_json::json!({ "batch": batch, "expires": 30_000_000_000_u64 });
                let asking =
                    client.publish_with_reply(subject.clone(), inbox.clone(), request.to_string().into());
                asking.await.map_err(|_| closed())?;
                asked += batch;
            }
            let message = match timeout(CALL_TIMEOUT, arriving.next()).await {
                Ok(Some(message)) if message.status.is_none() => message,
                Ok(None) => return Err(closed()),
                Ok(Some(_)) | Err(_) => {
                    let timed_out = connect::Error::TimedOut { subject, timeout: CALL_TIMEOUT };
                    return Err(self.failed(timed_out));
                }
            };
            let delivered = Delivered::read(&self.broker, message);
            let Some((delivered, _)) = delivered else { continue };
            let malformed = |source| Error::Malformed {
                stream: self.stream.clone(),
                sequence: delivered.sequence,
                source,
            };
            let Some(place) = self.broker.names().parse_job_subject(&delivered.subject) else { continue };
            let done = Done::decode(delivered.body.clone()).map_err(malformed)?;
            each(End { job_id: place.job_id, stored_at: delivered.published_at, done });
        }
        Ok(())
    }

    pub(super) fn failed(&self, source: connect::Error) -> Error {
        Error::Broker { stream: self.stream.clone(), source }
    }
}
