//! Events of attempts, and saying again what a crash may have left unsaid.

use jiff::Timestamp;
use windlass_broker::jobs::Seen;
use windlass_core::{Attempt, Event, JobState, Outcome, Transition};
use windlass_proto::{Done, RecordBody};

use super::claim::Held;
use super::{Shared, settle};

/// An event of this job with what the job's events have in common.
pub(super) fn event(held: &Held, transition: Transition, attempt: u32, at: Timestamp) -> Event {
    let address = &held.address;
    let mut event = Event::new(
        address.queue.clone(),
        address.job_id,
        held.job.task.kind.clone(),
        transition,
        attempt,
        at,
    );
    event.accepted_at = Some(held.job.accepted_at);
    event.priority = address.priority;
    event.traceparent = held.trace.map(|t| t.to_string()).unwrap_or_default();
    event
}

/// The event of an attempt's end.
pub(super) fn ended(held: &Held, transition: Transition, attempt: &Attempt) -> Event {
    let mut event = event(held, transition, attempt.number, attempt.ended_at);
    event.worker.clone_from(&attempt.worker);
    event.started_at = attempt.started_at;
    event.outcome = Some(attempt.outcome);
    event.error.clone_from(&attempt.error);
    event
}

/// The event of a job's end.
pub(super) fn end(held: &Held, done: &Done) -> Event {
    let transition = done.state.end().unwrap_or(Transition::Dead);
    let mut event = match done.attempts.last() {
        Some(last) => ended(held, transition, last),
        None => event(held, transition, 0, done.ended_at),
    };
    event.at = done.ended_at;
    event.error.clone_from(&done.error);
    if done.state == JobState::Cancelled {
        event.note = done.error.as_ref().map(|e| e.message.clone()).unwrap_or_default();
    }
    if done.state == JobState::Succeeded {
        event.result = Some(done.result.to_vec());
        event.result_content_type.clone_from(&done.result_content_type);
    }
    event
}

/// Says again what the job's record tells of its past: whoever wrote it may have died before saying so. True once it
/// is stored.
pub(super) async fn again(shared: &Shared, held: &Held, seen: &Seen) -> bool {
    if let Some(done) = &seen.done {
        if done.state == JobState::Dead && !settle::bury(shared, held, done).await {
            return false;
        }
        // The last attempt's end is the job's.
        let earlier = &done.attempts[..done.attempts.len().saturating_sub(1)];
        if !attempts(shared, held, earlier, None).await {
            return false;
        }
        return shared.events.record(end(held, done)).await.is_ok();
    }
    let Some(RecordBody::Job(successor)) = seen.last.as_ref().map(|l| &l.body) else { return true };
    attempts(shared, held, &successor.attempts, Some(successor.due_at)).await
}

/// Says how attempts ended that another followed; `due_at` is when the follower of the last may run.
async fn attempts(shared: &Shared, held: &Held, attempts: &[Attempt], due_at: Option<Timestamp>) -> bool {
    for (index, attempt) in attempts.iter().enumerate() {
        let transition = match attempt.outcome {
            Outcome::Crashed => Transition::Crashed,
            Outcome::HandedBack => Transition::HandedBack,
            _ => Transition::Retried,
        };
        let mut event = ended(held, transition, attempt);
        if index + 1 == attempts.len() {
            event.due_at = due_at;
        }
        if shared.events.record(event).await.is_err() {
            return false;
        }
    }
    true
}
