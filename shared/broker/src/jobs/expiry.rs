//! The timers that end a job's wait for its first attempt.
//!
//! A timer stands beside its job's messages, under a subject that the job's condition does not name, so it neither is
//! nor changes the token. What it publishes tells a dispatcher to look at the job; what it finds decides.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use jiff::Timestamp;
use windlass_core::{JobId, QueueName};

use super::{CALL_TIMEOUT, Error, Jobs};
use crate::connect;
use crate::publish::{self, header};

/// A broker's clock and a worker's may differ: the worker decides first.
const SLACK: Duration = Duration::from_secs(1);

#[derive(serde::Deserialize)]
struct ConsumerInfo {
    delivered: SequencePair,
}

#[derive(serde::Deserialize)]
struct SequencePair {
    stream_seq: u64,
}

impl Jobs {
    /// Sets the timer of a job that expires at this instant, in the place of one that it may have; returns its sequence.
    pub async fn set_expiry(
        &self,
        queue: &QueueName,
        job_id: JobId,
        at: Timestamp,
        timeout: Duration,
    ) -> Result<u64, Error> {
        let names = self.broker.names();
        let at = at.saturating_add(SLACK).unwrap_or(Timestamp::MAX);
        let mut headers = HeaderMap::new();
        headers.insert(header::SCHEDULE, format!("@at {at}"));
        headers.insert(header::SCHEDULE_TARGET, names.expired_subject(&self.pool, queue, job_id));
        let subject = names.expiry_subject(&self.pool, queue, job_id);
        let stored = publish::publish_until(&self.broker, subject, headers, Bytes::new(), timeout).await;
        stored
            .map(|stored| stored.sequence)
            .map_err(|source| Error::Broker { stream: self.stream.clone(), source })
    }

    /// Asks the dispatchers to look at a job at once, as the timer of its expiry would: what they find decides.
    pub async fn ask_for_a_look(
        &self,
        queue: &QueueName,
        job_id: JobId,
        timeout: Duration,
    ) -> Result<(), Error> {
        let subject = self.broker.names().expired_subject(&self.pool, queue, job_id);
        let stored =
            publish::publish_until(&self.broker, subject, HeaderMap::new(), Bytes::new(), timeout).await;
        stored.map(|_| ()).map_err(|source| Error::Broker { stream: self.stream.clone(), source })
    }

    /// Whether a message of the queue's `ready` was ever delivered to a worker. The consumer delivers in the stream's
    /// order; a broker that was killed may forget its last deliveries.
    pub async fn was_delivered(&self, queue: &QueueName, sequence: u64) -> Result<bool, Error> {
        let consumer = self.broker.names().worker_consumer(queue);
        let call = format!("CONSUMER.INFO.{}.{consumer}", self.stream);
        let info = self.broker.api::<ConsumerInfo>(&call, &serde_json::json!({}), CALL_TIMEOUT).await;
        match info {
            Ok(info) => Ok(info.delivered.stream_seq >= sequence),
            // 10014: no such consumer, so that nobody was given anything.
            Err(connect::Error::Refused { code: 10014, .. }) => Ok(false),
            Err(source) => Err(Error::Broker { stream: self.stream.clone(), source }),
        }
    }
}
