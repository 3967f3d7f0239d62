//! Markers of unique keys and of groups, and the writes that move them together with jobs.
//!
//! A marker is a timer set far away: one that is written anew takes the place of the old one in the same step.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::{Instant, timeout};
use windlass_core::protocol::Answer;
use windlass_core::{JobId, QueueName};
use windlass_proto::{KeyMarker, read_replaced, replaced};

use super::{CALL_TIMEOUT, Change, Error, Jobs, Verdict};
use crate::batch::{self, Start};
use crate::names::MarkerOf;
use crate::publish::{self, Outgoing, header};
use crate::retry::Waits;

/// When a timer fires that is there only to be replaced or removed.
const NEVER: &str = "@at 2200-01-01T00:00:00Z";
/// For one try of a write.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);

/// A marker as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundMarker {
    /// Of its message.
    pub sequence: u64,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// Whose keys are meant.
    pub queue: QueueName,
    /// What it stands for.
    pub of: MarkerOf,
    /// What it says.
    pub marker: KeyMarker,
}

/// One message of those that are written together. All are of one queue.
#[derive(Debug, Clone)]
pub enum Part<'a> {
    /// A job's, on the condition of its token. Short timers are left to the broker.
    Record(Change<'a>),
    /// A marker, on the condition of the one that it replaces; 0: there must be none.
    Marker {
        /// What it stands for.
        of: &'a MarkerOf,
        /// The sequence of the one before.
        before: u64,
        /// What it says.
        marker: KeyMarker,
    },
    /// That one job was ended in favour of another.
    Replaced {
        /// The other.
        by: JobId,
        /// Which.
        job_id: JobId,
        /// For how long it is kept.
        ttl: Duration,
    },
    /// Has the dispatchers look at a job at this instant, as the timer of its expiry does, and in its place.
    Look {
        /// Which.
        job_id: JobId,
        /// When.
        at: Timestamp,
    },
}

impl Jobs {
    /// The marker that stands for this: from the stream's leader.
    pub async fn marker(&self, queue: &QueueName, of: &MarkerOf) -> Result<Option<FoundMarker>, Error> {
        let subject = self.broker.names().marker_subject(&self.pool, queue, of);
        let Some(message) = self.last_beside(&subject).await? else { return Ok(None) };
        let stored_at =
            Timestamp::from_nanosecond(message.time.unix_timestamp_nanos()).unwrap_or(Timestamp::MIN);
        let malformed =
            |source| Error::Malformed { stream: self.stream.clone(), sequence: message.sequence, source };
        let marker = KeyMarker::decode(message.payload.clone()).map_err(malformed)?;
        let (queue, of) = (queue.clone(), of.clone());
        Ok(Some(FoundMarker { sequence: message.sequence, stored_at, queue, of, marker }))
    }

    /// Which job was ended in favour of this one, as long as that is remembered.
    pub async fn replaced_by(&self, queue: &QueueName, job_id: JobId) -> Result<Option<JobId>, Error> {
        let subject = self.broker.names().replaced_subject(&self.pool, queue, job_id);
        let Some(message) = self.last_beside(&subject).await? else { return Ok(None) };
        let sequence = message.sequence;
        let malformed = |source| Error::Malformed { stream: self.stream.clone(), sequence, source };
        read_replaced(message.payload).map(Some).map_err(malformed)
    }

    async fn last_beside(&self, subject: &str) -> Result<Option<StreamMessage>, Error> {
        let stream = self.unseen_stream().await?;
        let asking = timeout(CALL_TIMEOUT, stream.get_last_raw_message_by_subject(subject));
        match asking.await {
            Err(_) => Err(self.unread("no answer in time")),
            Ok(Err(e)) if e.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Ok(Err(e)) => Err(self.unread(e)),
            Ok(Ok(message)) => Ok(Some(message)),
        }
    }

    /// The pool's next markers from this sequence on, under one of its filters (see `Names::marker_filters`); and where
    /// those that follow begin, if some do. Any replica may answer.
    pub async fn markers(
        &self,
        filter: &str,
        from: u64,
        most: usize,
    ) -> Result<(Vec<FoundMarker>, Option<u64>), Error> {
        let failed = |source| Error::Broker { stream: self.stream.clone(), source };
        let start = Start::Sequence(from.max(1));
        let batch = batch::read(&self.broker, &self.stream, filter, start, most).await.map_err(failed)?;
        let next = batch.messages.last().map(|last| last.sequence + 1).filter(|_| batch.more);
        let found = batch.messages.into_iter().filter_map(|raw| {
            let (queue, of) = self.broker.names().parse_marker_subject(&raw.subject)?;
            // What is not understood is a newer version's to remove.
            let marker = KeyMarker::decode(raw.body).ok()?;
            Some(FoundMarker { sequence: raw.sequence, stored_at: raw.stored_at, queue, of, marker })
        });
        Ok((found.collect(), next))
    }

    /// Writes all of these or none, again and again until the outcome is known or the deadline has come. After silence
    /// even what won may be refused: whoever lost looks whether what it made is there.
    pub async fn write_together(
        &self,
        queue: &QueueName,
        parts: &[Part<'_>],
        deadline: Instant,
    ) -> Result<Verdict, Error> {
        let mut waits = Waits::until(deadline);
        loop {
            let left = waits.left();
            if left.is_zero() {
                return Ok(Verdict::Undecided);
            }
            let messages = parts.iter().map(|part| self.part(queue, part)).collect();
            let answer = publish::publish_all_if(&self.broker, messages, left.min(TRY_TIMEOUT)).await;
            match answer.map_err(|source| Error::Broker { stream: self.stream.clone(), source })? {
                Answer::Stored(first) => return Ok(Verdict::Won(Some(first))),
                Answer::Refused => return Ok(Verdict::Lost),
                Answer::Undecided | Answer::Silent => {
                    metrics::counter!("windlass_writes_undecided_total").increment(1);
                }
            }
            if !waits.wait().await {
                return Ok(Verdict::Undecided);
            }
        }
    }

    fn part(&self, queue: &QueueName, part: &Part<'_>) -> Outgoing {
        let names = self.broker.names();
        let mut headers = HeaderMap::new();
        match part {
            Part::Record(change) => self.message(change),
            Part::Marker { of, before, marker } => {
                let subject = names.marker_subject(&self.pool, queue, of);
                headers.insert(header::EXPECTED_SEQUENCE, before.to_string());
                headers.insert(header::EXPECTED_SUBJECT, subject.as_str());
                headers.insert(header::SCHEDULE, NEVER);
                let target = names.expired_subject(&self.pool, queue, marker.job_id);
                headers.insert(header::SCHEDULE_TARGET, target);
                Outgoing { subject, headers, body: marker.encode() }
            }
            Part::Replaced { by, job_id, ttl } => {
                headers.insert(header::TTL, ttl.as_secs().max(1).to_string());
                let subject = names.replaced_subject(&self.pool, queue, *by);
                Outgoing { subject, headers, body: replaced(*job_id) }
            }
            Part::Look { job_id, at } => {
                headers.insert(header::SCHEDULE, format!("@at {at}"));
                headers.insert(header::SCHEDULE_TARGET, names.expired_subject(&self.pool, queue, *job_id));
                let subject = names.expiry_subject(&self.pool, queue, *job_id);
                Outgoing { subject, headers, body: Bytes::new() }
            }
        }
    }
}
