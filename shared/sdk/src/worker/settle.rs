//! From the end of an attempt to the job's next record: the write on the token, its events, then the acknowledgement.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::Instant;
use windlass_broker::flow;
use windlass_broker::jobs::{Address, Change, Verdict, nonce};
use windlass_core::admission::kept_for;
use windlass_core::attempt::{push_bounded, without_messages};
use windlass_core::flow::Follows;
use windlass_core::settle::{AfterFailure, Failed, after_failure};
use windlass_core::{Attempt, Form, JobError, JobState, Outcome, RecordKind};
use windlass_proto::{Done, Job, v1};

use super::claim::{Restated, restate};
use super::held::{Held, WRITE_TIMEOUT};
use super::payload;
use super::results::Recorded;
use super::shared::Shared;
use super::stale::{bury, refused, tell_children};
use crate::failure::chain;

/// The largest result that the record of a job's end holds; a larger one is in Object Store.
pub(super) const RESULT_INLINE_BYTES: usize = 64 * 1024;

/// For telling that others are to wait.
const SLOW_DOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The code of a job whose record the broker never takes.
const RECORD_TOO_LARGE: &str = "record_too_large";

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    /// It is in force.
    Yes,
    /// It is not, and that has been dealt with.
    No,
    /// The broker will never take so much.
    TooLarge,
}

/// Ends a job. `attempt` is the one that just ended, if one ran.
pub(super) async fn end(
    shared: &Shared,
    held: &mut Held,
    attempt: Option<Attempt>,
    state: JobState,
    result: impl Into<Recorded>,
    error: Option<JobError>,
) {
    let mut attempts = held.attempts.clone();
    if let Some(attempt) = attempt {
        push_bounded(&mut attempts, attempt);
    }
    let result = result.into();
    let mut done = Done {
        kind: held.job.task.kind.clone(),
        state,
        attempts,
        result: result.bytes,
        result_form: result.form,
        result_content_type: String::new(),
        error,
        accepted_at: held.job.accepted_at,
        ended_at: shared.broker.now(),
        nonce: nonce(),
        other_id: None,
    };
    let mut written = write_end(shared, held, &done).await;
    if written == Written::TooLarge {
        done.attempts = without_messages(&done.attempts);
        written = write_end(shared, held, &done).await;
    }
    if written == Written::TooLarge {
        // What cannot be recorded has not succeeded. To leave it to the lease would run it again, to the same end.
        let message = format!("the record of its end as {} is larger than the broker takes", done.state);
        done.error = Some(JobError { message, code: RECORD_TOO_LARGE.to_owned(), terminal: true });
        done.state = JobState::Dead;
        (done.result, done.result_form) = (Bytes::new(), Form::default());
        written = write_end(shared, held, &done).await;
    }
    if written != Written::Yes {
        return;
    }
    windlass_broker::failpoint::hit(windlass_broker::failpoint::Point::WorkerDoneWritten).await;
    if !give_back(shared, held, Follows::End(done.state)).await {
        return;
    }
    // The letter first: an event that says "dead" can be acted upon.
    let state = done.state;
    if state == JobState::Dead && !Box::pin(bury(shared, held, &done)).await {
        return;
    }
    if state == JobState::Dead {
        windlass_broker::failpoint::hit(windlass_broker::failpoint::Point::WorkerLetterStored).await;
    }
    if state == JobState::Cancelled && !Box::pin(tell_children(shared, held)).await {
        return;
    }
    let event = held.teller().ended(&done);
    if held.unsaid.finish(&shared.events, event).await {
        release(shared, held).await;
        payload::collect(shared, held, state).await;
    }
}

/// After a failure: another attempt as the policy says, or the end.
pub(super) async fn fail(shared: &Shared, held: &mut Held, attempt: Attempt, retry_after: Option<Duration>) {
    let kind = &held.job.task.kind;
    let of_kind = || shared.handlers.get(kind).and_then(|handler| handler.retry.as_ref());
    let policy = held.job.task.retry.as_ref().or_else(of_kind).unwrap_or(&shared.options.retry);
    let mut attempts = held.attempts.clone();
    push_bounded(&mut attempts, attempt.clone());
    let failed = Failed {
        job_id: held.address.job_id,
        attempts: &attempts,
        terminal: attempt.error.as_ref().is_some_and(|e| e.terminal),
        retry_after,
        elapsed: shared.broker.now().duration_since(held.job.accepted_at).unsigned_abs(),
    };
    match after_failure(policy, &failed) {
        AfterFailure::Dead(_) => {
            let error = attempt.error.clone();
            end(shared, held, Some(attempt), JobState::Dead, Bytes::new(), error).await;
        }
        AfterFailure::Retry(delay) => again(shared, held, &attempt, delay, "retry").await,
    }
}

/// The attempt asked to run again after this delay; the retry policy does not count it.
pub(super) async fn snooze(shared: &Shared, held: &mut Held, attempt: Attempt, delay: Duration) {
    again(shared, held, &attempt, delay, "snooze").await;
}

/// The attempt was stopped because its queue, kind or key is paused: the job is decided on anew, at once. The retry
/// policy does not count it.
pub(super) async fn recalled(shared: &Shared, held: &mut Held, attempt: Attempt) {
    again(shared, held, &attempt, Duration::ZERO, "recall").await;
}

/// Nothing of the job's key is to start before this delay is over, on any worker. It is told as well as can be: where
/// it cannot, the others find out for themselves.
pub(super) async fn slow_down(shared: &Shared, held: &Held, delay: Duration) {
    let Some(slots) = &held.job.slots else { return };
    let Address { queue, job_id, .. } = &held.address;
    let until = shared.broker.now().saturating_add(delay).unwrap_or(Timestamp::MAX);
    if let Err(error) = flow::hold(&shared.jobs, queue, *job_id, slots, until, SLOW_DOWN_TIMEOUT).await {
        tracing::warn!(%job_id, %error, "a handler's wish to slow others down could not be told");
    }
}

/// Another attempt after this delay.
async fn again(shared: &Shared, held: &mut Held, attempt: &Attempt, delay: Duration, tried: &'static str) {
    let mut attempts = held.attempts.clone();
    push_bounded(&mut attempts, attempt.clone());
    let due_at = shared.broker.now().saturating_add(delay).unwrap_or(Timestamp::MAX);
    let mut job = Job {
        attempts,
        checkpoint: held.checkpoint().clone(),
        slots: held.job.slots.as_ref().and_then(|slots| slots.after(Follows::Another, held.work)),
        ..Job::new(held.job.task.clone(), held.job.accepted_at, due_at, nonce())
    };
    let mut written = write_later(shared, held, &job, tried).await;
    if written == Written::TooLarge {
        job.attempts = without_messages(&job.attempts);
        written = write_later(shared, held, &job, tried).await;
    }
    if written == Written::TooLarge {
        let last = attempt.error.as_ref().map(|error| error.message.as_str()).unwrap_or_default();
        let message =
            format!("the record of another attempt is larger than the broker takes; the last error: {last}");
        let error = JobError { message, code: RECORD_TOO_LARGE.to_owned(), terminal: true };
        return end(shared, held, Some(attempt.clone()), JobState::Dead, Bytes::new(), Some(error)).await;
    }
    if written != Written::Yes {
        return;
    }
    windlass_broker::failpoint::hit(windlass_broker::failpoint::Point::WorkerLaterWritten).await;
    if !give_back(shared, held, Follows::Another).await {
        return;
    }
    let mut event = held.teller().attempt_ended(attempt);
    event.due_at = Some(due_at);
    if held.unsaid.finish(&shared.events, event).await {
        release(shared, held).await;
    }
}

/// Gives the job back: a claim that says so, then a nak. Uses no attempt, and counts no crash.
pub(super) async fn hand_back(
    shared: &Shared,
    held: &mut Held,
    attempt: Option<Attempt>,
    delay: Option<Duration>,
) {
    let mut attempts = held.attempts.clone();
    if let Some(attempt) = &attempt {
        push_bounded(&mut attempts, attempt.clone());
    }
    let reason = v1::ClaimReason::HandBack;
    let restated = Restated { on: held.token(), reason, attempts, checkpoint: held.checkpoint().clone() };
    match restate(shared, held, restated, Instant::now() + WRITE_TIMEOUT).await {
        Verdict::Won(_) => {}
        // Without the mark its next holder would count a crash: the lease decides.
        Verdict::Undecided => return,
        Verdict::Lost => return refused(shared, held, "hand back").await,
    }
    windlass_broker::failpoint::hit(windlass_broker::failpoint::Point::WorkerHandBackWritten).await;
    // If it is not stored, the lease decides; the next holder says again what the claim tells.
    if let Some(attempt) = attempt {
        let event = held.teller().attempt_ended(&attempt);
        if !held.unsaid.finish(&shared.events, event).await {
            return;
        }
    }
    // A stale nak would take the message from whoever has it now; then its lease decides.
    if held.is_leased() {
        let _ = held.handle.nak(delay).await;
    }
}

async fn write_later(shared: &Shared, held: &Held, job: &Job, tried: &'static str) -> Written {
    let last = job.attempts.last().map(|attempt| attempt.outcome);
    let passes_gate = held.job.slots.is_some() || last == Some(Outcome::HandedBack);
    let change = Change {
        address: &held.address,
        token: held.token(),
        record: RecordKind::Later,
        body: job.encode(),
        nonce: &job.nonce,
        trace: held.trace,
        ttl: None,
        // Under flow control it passes the gate again; so does one that flow control has stopped.
        timer: Some((job.due_at, if passes_gate { RecordKind::Due } else { RecordKind::Ready })),
        purge: None,
    };
    write(shared, held, change, tried).await
}

async fn write_end(shared: &Shared, held: &Held, done: &Done) -> Written {
    let change = Change {
        address: &held.address,
        token: held.token(),
        record: RecordKind::Done,
        body: done.encode(),
        nonce: &done.nonce,
        trace: held.trace,
        ttl: Some(kept_for(shared.options.horizon)),
        timer: None,
        purge: None,
    };
    write(shared, held, change, "finish").await
}

/// Writes on our token. A refusal is dealt with here.
///
/// While the broker is away nobody else is given the job, so what an attempt has come to is kept for it: as long as a
/// claim may stand, or until a drain has no more time.
async fn write(shared: &Shared, held: &Held, change: Change<'_>, tried: &'static str) -> Written {
    let patience = (held.attempt_timeout(shared) + shared.options.horizon).max(WRITE_TIMEOUT);
    let writing = shared.jobs.write(change, Instant::now() + patience);
    let drained = async {
        shared.hand_back.cancelled().await;
        tokio::time::sleep(WRITE_TIMEOUT).await;
    };
    let verdict = tokio::select! {
        verdict = writing => verdict,
        () = drained => Ok(Verdict::Undecided),
    };
    let job_id = held.address.job_id;
    match verdict {
        Ok(Verdict::Won(_)) => return Written::Yes,
        Ok(Verdict::Lost) => Box::pin(refused(shared, held, tried)).await,
        Ok(Verdict::Undecided) => {
            tracing::warn!(%job_id, tried, "the outcome of a write is not known; leaving the job to its lease");
        }
        Err(error) if error.is_too_large() => {
            tracing::warn!(%job_id, tried, "a record is larger than the broker takes");
            return Written::TooLarge;
        }
        Err(error) => {
            let error = chain(&error);
            tracing::error!(%job_id, tried, error, "a write failed; leaving the job to its lease");
        }
    }
    Written::No
}

/// Gives back what the job holds under flow control, before its work message is acknowledged; true once that is stored.
/// If it is not, the redelivery finds the record and does it.
pub(super) async fn give_back(shared: &Shared, held: &Held, follows: Follows) -> bool {
    let Some(slots) = &held.job.slots else { return true };
    let Address { queue, job_id, .. } = &held.address;
    let freeing = flow::free(&shared.jobs, queue, *job_id, slots, held.work, follows, WRITE_TIMEOUT);
    match Box::pin(freeing).await {
        Ok(()) => {
            windlass_broker::failpoint::hit(windlass_broker::failpoint::Point::WorkerSlotsFreed).await;
            true
        }
        Err(error) => {
            tracing::warn!(%job_id, %error, "slots are not given back yet; leaving that to the lease");
            false
        }
    }
}

/// The work message has no further use: acknowledged, and our claim removed with it.
async fn release(shared: &Shared, held: &Held) {
    windlass_broker::failpoint::hit(windlass_broker::failpoint::Point::WorkerEventSaid).await;
    if let Err(error) = held.handle.ack().await {
        tracing::debug!(%error, "an acknowledgement was not sent; the redelivery will find the record");
        return;
    }
    windlass_broker::failpoint::hit(windlass_broker::failpoint::Point::WorkerAcked).await;
    let token = held.token();
    if token != held.work
        && let Err(error) = Box::pin(shared.jobs.delete(token)).await
    {
        tracing::debug!(%error, "a claim was not removed; it expires by itself");
    }
}

/// What an attempt that has just ended is recorded as.
pub(super) fn ended_attempt(
    shared: &Shared,
    held: &Held,
    started_at: Timestamp,
    outcome: Outcome,
    error: Option<JobError>,
) -> Attempt {
    Attempt {
        number: held.attempt_number(),
        worker: shared.options.id.clone(),
        started_at: Some(started_at),
        ended_at: shared.broker.now(),
        outcome,
        error,
        alone: held.is_alone(),
        failure: 0,
    }
}
