//! What happened to a job, as one fact.

use jiff::Timestamp;

use crate::flow::FlowKey;
use crate::labels::Labels;
use crate::payload::Form;
use crate::relations::Relations;
use crate::{JobError, JobId, Kind, Outcome, Priority, QueueName, Task, Transition};

/// One transition of one job. Idempotent by (queue, job, attempt, transition); may come twice and out of order.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Of the job.
    pub job_id: JobId,
    /// Of the job.
    pub queue: QueueName,
    /// Of the job; none only where a rejected message named none.
    pub kind: Option<Kind>,
    /// What happened.
    pub transition: Transition,
    /// The attempt that it belongs to, from 1; 0 before the first.
    pub attempt: u32,
    /// When.
    pub at: Timestamp,
    /// Of the attempt; empty where there is none.
    pub worker: String,
    /// How the attempt ended, where this ends one.
    pub outcome: Option<Outcome>,
    /// Why, where it did not succeed.
    pub error: Option<JobError>,
    /// With succeeded.
    pub result: Option<Vec<u8>>,
    /// Of the result; empty means `application/json`.
    pub result_content_type: String,
    /// What was done to the result, and where it is.
    pub result_form: Form,
    /// With accepted, retried and released: the instant from which the job may run.
    pub due_at: Option<Timestamp>,
    /// When the dispatcher accepted the job.
    pub accepted_at: Option<Timestamp>,
    /// Of the job.
    pub priority: Priority,
    /// W3C trace context of the job; empty where there is none.
    pub traceparent: String,
    /// For people: the reason of a cancellation, what a refused holder tried.
    pub note: String,
    /// When the attempt began, with its end.
    pub started_at: Option<Timestamp>,
    /// Whether the attempt had no neighbour in its process, with its beginning and its end.
    pub alone: bool,
    /// With rejected: the id that the message bears. The event is not that job's: one may exist.
    pub claimed_id: Option<JobId>,
    /// With accepted: the task's key.
    pub key: Option<FlowKey>,
    /// With accepted: the task's tenant.
    pub tenant: Option<FlowKey>,
    /// With an end for another job's sake: that job.
    pub other_id: Option<JobId>,
    /// With accepted: what the task has to do with others; none if nothing.
    pub relations: Option<Box<Relations>>,
    /// With accepted: what the publisher says of the task.
    pub labels: Labels,
}

// === impl Event ===

impl Event {
    /// An event with nothing but what every event has.
    pub fn new(
        queue: QueueName,
        job_id: JobId,
        kind: impl Into<Option<Kind>>,
        transition: Transition,
        attempt: u32,
        at: Timestamp,
    ) -> Self {
        Self {
            job_id,
            queue,
            kind: kind.into(),
            transition,
            attempt,
            at,
            worker: String::new(),
            outcome: None,
            error: None,
            result: None,
            result_content_type: String::new(),
            result_form: Form::default(),
            due_at: None,
            accepted_at: None,
            priority: Priority::default(),
            traceparent: String::new(),
            note: String::new(),
            started_at: None,
            alone: false,
            claimed_id: None,
            key: None,
            tenant: None,
            other_id: None,
            relations: None,
            labels: Labels::default(),
        }
    }

    /// The event with what is told of its task.
    #[must_use]
    pub fn of_task<P>(self, task: &Task<P>) -> Self {
        Self {
            key: task.key.clone(),
            tenant: task.tenant.clone(),
            relations: Relations::of(task).map(Box::new),
            labels: task.labels.clone(),
            ..self
        }
    }
}
