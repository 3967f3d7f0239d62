//! What was read of a job, and the events that it tells.

use jiff::Timestamp;
use windlass_core::Event;
use windlass_core::protocol::{Record, View};
use windlass_core::trace::TraceParent;
use windlass_proto::{Done, RecordBody, Teller};

use super::Address;

/// A job as its leader's stream shows it, with what its messages say.
#[derive(Debug, Default)]
pub struct Seen {
    /// For the protocol's decisions.
    pub view: View,
    /// The last message.
    pub last: Option<SeenRecord>,
    /// The end, last or not.
    pub done: Option<Done>,
}

/// One message of a job.
#[derive(Debug)]
pub struct SeenRecord {
    /// The job, with the priority of this message.
    pub address: Address,
    /// Its place.
    pub record: Record,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// What it says.
    pub body: RecordBody,
    /// The job's trace.
    pub trace: Option<TraceParent>,
}

// === impl Seen ===

impl Seen {
    /// All that it tells of ends: of attempts, and of the job.
    pub fn past(&self) -> Vec<Event> {
        let Some(last) = &self.last else { return Vec::new() };
        match &self.done {
            Some(done) => last.teller().past(&RecordBody::Done(done.clone())),
            None => last.teller().past(&last.body),
        }
    }
}

// === impl SeenRecord ===

impl SeenRecord {
    /// Who tells events of its job.
    pub fn teller(&self) -> Teller<'_> {
        Teller {
            queue: &self.address.queue,
            job_id: self.address.job_id,
            priority: self.address.priority,
            kind: self.body.kind(),
            accepted_at: self.body.accepted_at(),
            trace: self.trace,
        }
    }

    /// That the job was accepted: whoever made it may not have said so.
    pub fn accepted(&self) -> Event {
        let due_at = match &self.body {
            RecordBody::Job(job) if job.attempts.is_empty() => job.due_at,
            _ => self.body.accepted_at(),
        };
        let accepted = self.teller().accepted(due_at);
        // The record of an end has no task any more.
        match &self.body {
            RecordBody::Job(job) => accepted.of_task(&job.task),
            _ => accepted,
        }
    }
}
