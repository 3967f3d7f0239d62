//! The markers of a job's children, so that they can be cancelled with it.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::timeout;
use windlass_core::{JobId, QueueName};

use super::{CALL_TIMEOUT, Error, Jobs};
use crate::names::ChildSubject;
use crate::publish::{self, header};

/// A marker that nobody removed.
const TTL: Duration = Duration::from_secs(28 * 86_400);
/// For storing one.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

/// A child of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildMarker {
    /// In the stream.
    pub sequence: u64,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// Whose child it is, and which.
    pub child: ChildSubject,
}

impl Jobs {
    /// Marks a job of this pool as the parent of another job, of any pool.
    pub async fn mark_child(&self, child: &ChildSubject) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        headers.insert(header::TTL, TTL.as_secs().to_string());
        let subject = self.broker.names().child_subject(&self.pool, child);
        let stored =
            publish::publish_until(&self.broker, subject, headers, Bytes::new(), WRITE_TIMEOUT).await;
        stored.map(|_| ()).map_err(|source| Error::Broker { stream: self.stream.clone(), source })
    }

    /// The oldest marker of a child of this job whose sequence is at least this.
    pub async fn next_child_of(
        &self,
        queue: &QueueName,
        job_id: JobId,
        from: u64,
    ) -> Result<Option<ChildMarker>, Error> {
        self.next_marker(self.broker.names().children_filter(&self.pool, queue, job_id), from).await
    }

    /// The pool's oldest marker of a child whose sequence is at least this.
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
            let stored_at =
                Timestamp::from_nanosecond(message.time.unix_timestamp_nanos()).unwrap_or(Timestamp::MIN);
            match self.broker.names().parse_child_subject(&message.subject) {
                Some(child) => return Ok(Some(ChildMarker { sequence: message.sequence, stored_at, child })),
                // Not written by us: it expires.
                None => from = message.sequence + 1,
            }
        }
    }
}
