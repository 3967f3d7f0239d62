//! A pool's stream of jobs: reading one job from its leader, and moving it on the condition of its token.

mod children;
mod dependencies;
mod edge_marks;
mod ends;
mod expiry;
mod forget;
mod latest;
mod overheard;
mod seen;
pub(crate) mod soon;
mod standing;
mod task;
mod unique;
mod waiting;
mod write;

use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, RawMessageError, Stream};
use jiff::Timestamp;
use tokio::time::timeout;
use windlass_core::protocol::{self, Record, View};
use windlass_core::{JobId, PoolName, Priority, QueueName, RecordKind};
use windlass_proto::RecordBody;

pub use self::children::{ChildMarker, ChildMarks};
pub use self::dependencies::Edge;
pub use self::edge_marks::EdgeMarks;
pub use self::ends::End;
pub use self::overheard::{Due, HeardDue, HeardEnds, Overheard};
pub use self::seen::{Seen, SeenRecord};
pub use self::unique::{FoundMarker, Part};
pub use self::write::{Change, Verdict, nonce};
use crate::batch::Raw;
use crate::connect::{self, Broker};
use crate::trace;

/// For each call that only reads or deletes.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The jobs of a pool.
#[derive(Debug, Clone)]
pub struct Jobs {
    broker: Broker,
    pool: PoolName,
    stream: String,
}

/// Which job, and under which priority its messages stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Where it waits.
    pub queue: QueueName,
    /// Part of its subjects.
    pub priority: Priority,
    /// Which.
    pub job_id: JobId,
}

#[derive(serde::Deserialize)]
struct StreamInfo {
    ts: Timestamp,
}

/// A job could not be read or moved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker did not do it.
    #[error("the stream {stream} cannot be used")]
    Broker {
        /// Which.
        stream: String,
        /// Why.
        source: connect::Error,
    },
    /// A read failed.
    #[error("the stream {stream} cannot be read: {reason}")]
    Read {
        /// Which.
        stream: String,
        /// Why.
        reason: String,
    },
    /// A message in the stream is none of ours.
    #[error("message {sequence} of the stream {stream} cannot be read")]
    Malformed {
        /// Which.
        stream: String,
        /// Which.
        sequence: u64,
        /// Why.
        source: windlass_proto::Error,
    },
}

// === impl Error ===

impl Error {
    /// Whether a newer version wrote what could not be read.
    pub fn is_not_understood(&self) -> bool {
        matches!(self, Self::Malformed { source, .. } if source.is_unknown)
    }
}

// === impl Error ===

impl Error {
    /// Whether the broker will never take what was written, because of its size.
    pub fn is_too_large(&self) -> bool {
        /// JetStream: the message exceeds the stream's or the account's bound.
        const TOO_LARGE: u64 = 10_054;
        match self {
            Self::Broker { source: connect::Error::TooLarge(_), .. } => true,
            Self::Broker { source: connect::Error::Refused { code, .. }, .. } => *code == TOO_LARGE,
            _ => false,
        }
    }
}

// === impl Jobs ===

impl Jobs {
    /// The jobs of this pool.
    pub fn new(broker: &Broker, pool: PoolName) -> Self {
        let stream = broker.names().jobs_stream(&pool);
        Self { broker: broker.clone(), pool, stream }
    }

    /// The connection.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// The pool.
    pub fn pool(&self) -> &PoolName {
        &self.pool
    }

    /// The stream's name.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// Reads a job: its last message, then whether an end exists. In this order, because an end that is written
    /// between the two must be seen.
    pub async fn read(&self, queue: &QueueName, job_id: JobId) -> Result<Seen, Error> {
        let names = self.broker.names();
        let last = self.last_under(&names.job_filter(&self.pool, queue, job_id)).await?;
        let Some(last) = last else { return Ok(Seen::default()) };
        if let RecordBody::Done(done) = &last.body {
            let view = View { last: Some(last.record), done: true };
            return Ok(Seen { view, done: Some(done.clone()), last: Some(last) });
        }
        let done = self.last_under(&names.record_filter(&self.pool, queue, RecordKind::Done, job_id)).await?;
        let done = done.and_then(|d| if let RecordBody::Done(done) = d.body { Some(done) } else { None });
        let view = View { last: Some(last.record), done: done.is_some() };
        Ok(Seen { view, last: Some(last), done })
    }

    /// The last message of a job whose queue is not known. One of them, if several queues have the id.
    pub async fn find(&self, job_id: JobId) -> Result<Option<SeenRecord>, Error> {
        self.last_under(&self.broker.names().job_filter_any_queue(&self.pool, job_id)).await
    }

    /// The work and the claims that a job has in the stream, the last of each sort.
    pub async fn left_over(&self, queue: &QueueName, job_id: JobId) -> Result<Vec<SeenRecord>, Error> {
        let mut records = Vec::new();
        for record in RecordKind::ALL.iter().copied().filter(|record| *record != RecordKind::Done) {
            let filter = self.broker.names().record_filter(&self.pool, queue, record, job_id);
            records.extend(self.last_under(&filter).await?);
        }
        Ok(records)
    }

    /// The pool's oldest message of this sort whose sequence is at least this.
    pub async fn next(&self, record: RecordKind, from: u64) -> Result<Option<SeenRecord>, Error> {
        let filter = self.broker.names().pool_filter(&self.pool, record);
        let stream = self.unseen_stream().await?;
        self.found(stream.get_first_raw_message_by_subject(filter, from)).await
    }

    /// The message of this sequence; none if it is gone.
    pub async fn at(&self, sequence: u64) -> Result<Option<SeenRecord>, Error> {
        let stream = self.unseen_stream().await?;
        self.found(stream.get_raw_message(sequence)).await
    }

    async fn last_under(&self, filter: &str) -> Result<Option<SeenRecord>, Error> {
        let stream = self.unseen_stream().await?;
        self.found(stream.get_last_raw_message_by_subject(filter)).await
    }

    async fn unseen_stream(&self) -> Result<Stream<()>, Error> {
        self.broker.jetstream().get_stream_no_info(&self.stream).await.map_err(|e| self.unread(e))
    }

    /// From the leader, as `STREAM.MSG.GET` is: a replica's answer may be stale just after a write.
    async fn found(
        &self,
        asking: impl Future<Output = Result<StreamMessage, RawMessageError>>,
    ) -> Result<Option<SeenRecord>, Error> {
        let asking = timeout(CALL_TIMEOUT, asking);
        let denied = |source| Error::Broker { stream: self.stream.clone(), source };
        match self.broker.unless_denied(&self.stream, asking).await.map_err(denied)? {
            Err(_) => Err(self.unread("no answer in time")),
            Ok(Err(e)) if e.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Ok(Err(e)) => Err(self.unread(e)),
            Ok(Ok(message)) => self.seen(message.into()).map(Some),
        }
    }

    /// What the broker's clock shows: its timers and the ages of its messages go by it.
    pub async fn broker_time(&self) -> Result<Timestamp, Error> {
        let call = format!("STREAM.INFO.{}", self.stream);
        let info = self.broker.api::<StreamInfo>(&call, &serde_json::json!({}), CALL_TIMEOUT).await;
        info.map(|info| info.ts).map_err(|source| Error::Broker { stream: self.stream.clone(), source })
    }

    /// A message of the stream, understood.
    pub(crate) fn seen(&self, message: Raw) -> Result<SeenRecord, Error> {
        let sequence = message.sequence;
        let malformed = |source: windlass_proto::Error| {
            if source.is_unknown {
                self.broker.not_understood("jobs", &source);
            }
            Error::Malformed { stream: self.stream.clone(), sequence, source }
        };
        let subject = self
            .broker
            .names()
            .parse_job_subject(&message.subject)
            .ok_or_else(|| malformed(self.not_a_job(&message.subject)))?;
        let body = RecordBody::decode(subject.record, message.body).map_err(malformed)?;
        let kind = match (&body, subject.record) {
            (RecordBody::Claim(claim), _) => protocol::Kind::Claim { work: claim.work_sequence },
            (_, RecordKind::Later) => protocol::Kind::Later,
            (_, RecordKind::Held) => protocol::Kind::Held,
            (_, RecordKind::Due) => protocol::Kind::Due,
            (_, RecordKind::Done) => protocol::Kind::Done,
            (_, RecordKind::Ready | RecordKind::Claim) => protocol::Kind::Ready,
        };
        Ok(SeenRecord {
            address: Address { queue: subject.queue, priority: subject.priority, job_id: subject.job_id },
            record: Record { sequence, kind },
            stored_at: message.stored_at,
            body,
            trace: trace::from_headers(Some(&message.headers)),
        })
    }

    /// What is wrong with the subject of a message in a stream of jobs.
    pub fn not_a_job(&self, subject: &str) -> windlass_proto::Error {
        let is_unknown = self.broker.names().is_job_of_newer(subject);
        let error = windlass_proto::Error::new("subject", format!("{subject} is not a job's"));
        windlass_proto::Error { is_unknown, ..error }
    }

    fn unread(&self, reason: impl std::fmt::Display) -> Error {
        Error::Read { stream: self.stream.clone(), reason: reason.to_string() }
    }

    pub(crate) fn subject(&self, address: &Address, record: RecordKind) -> String {
        self.broker.names().job_subject(&self.pool, &address.queue, record, address.priority, address.job_id)
    }

    /// Deletes a message. One that is gone already counts as deleted.
    pub async fn delete(&self, sequence: u64) -> Result<(), Error> {
        let call = format!("STREAM.MSG.DELETE.{}", self.stream);
        let request = serde_json::json!({ "seq": sequence, "no_erase": true });
        match self.broker.api::<serde_json::Value>(&call, &request, CALL_TIMEOUT).await {
            // 10043: no message found (a delete of what is not there), 10057: the same, of a secure delete.
            Ok(_) | Err(connect::Error::Refused { code: 10037 | 10043 | 10057, .. }) => Ok(()),
            Err(source) => Err(Error::Broker { stream: self.stream.clone(), source }),
        }
    }
}
