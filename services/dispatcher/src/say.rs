//! The dispatcher's events, also said again from a job's record.

use jiff::Timestamp;
use windlass_broker::jobs::{Seen, SeenRecord};
use windlass_core::{Event, JobState, Transition};
use windlass_proto::{Done, RecordBody};

/// An event of a job, from its record.
pub(crate) fn event(record: &SeenRecord, transition: Transition, at: Timestamp) -> Event {
    let address = &record.address;
    let attempt = record.body.attempts().iter().map(|a| a.number).max().unwrap_or(0);
    let mut event = Event::new(
        address.queue.clone(),
        address.job_id,
        record.body.kind().clone(),
        transition,
        attempt,
        at,
    );
    event.accepted_at = Some(record.body.accepted_at());
    event.priority = address.priority;
    event.traceparent = record.trace.map(|t| t.to_string()).unwrap_or_default();
    event
}

/// That the job was accepted, as its record shows it: a rival, or we before a crash, may not have said so.
pub(crate) fn accepted(record: &SeenRecord) -> Event {
    let mut event = event(record, Transition::Accepted, record.body.accepted_at());
    event.attempt = 0;
    event.due_at = match &record.body {
        RecordBody::Job(job) if job.attempts.is_empty() => Some(job.due_at),
        _ => Some(record.body.accepted_at()),
    };
    event
}

/// The job's end, as its record shows it.
pub(crate) fn ended(seen: &Seen) -> Option<Event> {
    let (record, done) = (seen.last.as_ref()?, seen.done.as_ref()?);
    let transition = done.state.end().unwrap_or(Transition::Dead);
    Some(end(record, done, transition))
}

/// The event of this end.
pub(crate) fn end(record: &SeenRecord, done: &Done, transition: Transition) -> Event {
    let mut event = event(record, transition, done.ended_at);
    event.error.clone_from(&done.error);
    if let Some(last) = done.attempts.last() {
        event.attempt = last.number;
        event.worker.clone_from(&last.worker);
        event.started_at = last.started_at;
        event.outcome = Some(last.outcome);
    }
    if done.state == JobState::Cancelled {
        event.note = done.error.as_ref().map(|e| e.message.clone()).unwrap_or_default();
    }
    if done.state == JobState::Succeeded {
        event.result = Some(done.result.to_vec());
        event.result_content_type.clone_from(&done.result_content_type);
    }
    event
}
