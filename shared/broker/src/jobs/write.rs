//! Moving a job: a write on the condition of its token, until its outcome is known.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::Instant;
use windlass_core::RecordKind;
use windlass_core::protocol::{self, AfterWrite, Answer};
use windlass_core::trace::TraceParent;

use super::soon::Soon;
use super::{Address, Error, Jobs, Seen};
use crate::connect;
use crate::publish::{self, Outcome, Outgoing, header};
use crate::retry::Waits;
use crate::trace;

/// A conditional write.
#[derive(Debug, Clone)]
pub struct Change<'a> {
    /// Which job.
    pub address: &'a Address,
    /// The token: the sequence that must still be last; 0 where the job must not exist.
    pub token: u64,
    /// What is written.
    pub record: RecordKind,
    /// What it says.
    pub body: Bytes,
    /// As in the body.
    pub nonce: &'a Bytes,
    /// The job's trace.
    pub trace: Option<TraceParent>,
    /// How long the message is kept; for good, if none.
    pub ttl: Option<Duration>,
    /// For `later` and `held`: when the timer fires, and as what.
    pub timer: Option<(Timestamp, RecordKind)>,
    /// A timer to purge in the same write.
    pub purge: Option<RecordKind>,
}

/// What became of a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is in force. Its sequence is the new token; it is said of what may hold a job or wait on a timer, and not of
    /// what is `ready` or `done`.
    Won(Option<u64>),
    /// The token was not last any more.
    Lost,
    /// Not known by the deadline: leave the message that led here unacknowledged.
    Undecided,
}

// === impl Jobs ===

impl Jobs {
    /// Writes on the condition of the token, again and again until the outcome is known or the deadline has come. A
    /// timer that is due within a second is fired from here (`jobs/soon.rs`).
    pub async fn write(&self, change: Change<'_>, deadline: Instant) -> Result<Verdict, Error> {
        if change.timer.is_some() {
            return Box::pin(self.write_timer(change, deadline)).await;
        }
        self.write_until(change, deadline).await
    }

    async fn write_timer(&self, mut change: Change<'_>, deadline: Instant) -> Result<Verdict, Error> {
        let soon = Soon::take_over(self, &mut change);
        let verdict = self.write_until(change, deadline).await?;
        if let (Verdict::Won(Some(token)), Some(soon)) = (verdict, soon) {
            soon.start(self, token);
        }
        Ok(verdict)
    }

    pub(super) async fn write_until(&self, change: Change<'_>, deadline: Instant) -> Result<Verdict, Error> {
        let mut first = None;
        let epoch = self.broker.epoch();
        if gathers(change.record, deadline) {
            match self.broker.publish_gathered(&self.stream, self.message(&change)).await {
                Outcome::Stored => return Ok(Verdict::Won(None)),
                Outcome::Refused(error) => first = Some(publish::answer(Err(error))),
                Outcome::Silent => first = Some(Ok(Answer::Silent)),
                Outcome::NotTried => {}
            }
        }
        // Boxed: nearly all jobs' futures do without it.
        Box::pin(self.write_alone(change, first, epoch, deadline)).await
    }

    /// After a try of this answer, if there was one, on a connection of this epoch.
    async fn write_alone(
        &self,
        change: Change<'_>,
        mut first: Option<Result<Answer, connect::Error>>,
        mut epoch: u64,
        deadline: Instant,
    ) -> Result<Verdict, Error> {
        let mut waits = Waits::until(deadline);
        let mut silent_before = false;
        loop {
            let answer = if let Some(first) = first.take() {
                first
            } else {
                let left = waits.left();
                if left.is_zero() {
                    return Ok(Verdict::Undecided);
                }
                epoch = self.broker.epoch();
                // Made anew for each try, because nearly all need only one.
                publish::publish_if(&self.broker, self.message(&change), left).await
            };
            let answer = answer.map_err(|source| Error::Broker { stream: self.stream.clone(), source })?;
            match protocol::after_write(answer, silent_before) {
                AfterWrite::Won(sequence) => return Ok(Verdict::Won(Some(sequence))),
                AfterWrite::Lost => return Ok(Verdict::Lost),
                AfterWrite::Compare => {
                    match Box::pin(self.read(&change.address.queue, change.address.job_id)).await {
                        Ok(seen) => return Ok(compare(&seen, change.nonce)),
                        Err(error) => {
                            tracing::warn!(%error, "a refused write could not be compared; trying again");
                        }
                    }
                }
                AfterWrite::Again => {
                    metrics::counter!("windlass_writes_undecided_total").increment(1);
                    // Even 10164 leaves a write of ours that may still come into force.
                    silent_before |= matches!(answer, Answer::Silent | Answer::Undecided);
                }
            }
            // At once after a reconnection: the broker gives away again what it believes that nobody has.
            let mut status = self.broker.status();
            let reconnected = status.wait_for(|s| s.connected && s.epoch > epoch);
            let again = tokio::select! {
                again = waits.wait() => again,
                Ok(_) = reconnected => true,
            };
            if !again {
                return Ok(Verdict::Undecided);
            }
        }
    }

    pub(super) fn message(&self, change: &Change<'_>) -> Outgoing {
        Outgoing {
            subject: self.subject(change.address, change.record),
            headers: self.headers(change),
            body: change.body.clone(),
        }
    }

    fn headers(&self, change: &Change<'_>) -> HeaderMap {
        let names = self.broker.names();
        let mut headers = HeaderMap::new();
        headers.insert(header::EXPECTED_SEQUENCE, change.token.to_string());
        let filter = names.job_filter(&self.pool, &change.address.queue, change.address.job_id);
        headers.insert(header::EXPECTED_SUBJECT, filter);
        if let Some(ttl) = change.ttl {
            headers.insert(header::TTL, ttl.as_secs().max(1).to_string());
        }
        if let Some((at, target)) = change.timer {
            headers.insert(header::SCHEDULE, format!("@at {at}"));
            headers.insert(header::SCHEDULE_TARGET, self.subject(change.address, target));
        }
        if let Some(timer) = change.purge {
            headers.insert(header::SCHEDULER, self.subject(change.address, timer));
            headers.insert(header::SCHEDULE_NEXT, "purge");
        }
        trace::to_headers(&mut headers, change.trace);
        headers
    }
}

/// Whether a record is written together with others: its sequence is not needed.
fn gathers(record: RecordKind, deadline: Instant) -> bool {
    matches!(record, RecordKind::Ready | RecordKind::Done)
        && publish::has_time(deadline.saturating_duration_since(Instant::now()))
}

/// After a refusal that followed silence: whether what stands is what we wrote.
fn compare(seen: &Seen, nonce: &Bytes) -> Verdict {
    match &seen.last {
        Some(last) if last.body.nonce() == nonce => Verdict::Won(Some(last.record.sequence)),
        _ if seen.done.as_ref().is_some_and(|d| d.nonce == *nonce) => {
            // Something fired after our end; the end is what counts.
            Verdict::Won(seen.view.last.map(|last| last.sequence))
        }
        _ => Verdict::Lost,
    }
}

/// A fresh nonce.
pub fn nonce() -> Bytes {
    Bytes::copy_from_slice(&rand::random::<[u8; 12]>())
}
