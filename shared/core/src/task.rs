//! The task: what a service publishes, once it is known to be valid.

use std::time::Duration;

use jiff::Timestamp;

use crate::dependency::Dependency;
use crate::flow::FlowKey;
use crate::labels::Labels;
use crate::payload::Form;
use crate::unique::{self, Aggregate, Unique};
use crate::{JobId, Kind, Priority, QueueName, RetryPolicy, ScheduleId};

/// A valid task.
///
/// `P` is the payload's type: the wire crate uses reference-counted bytes, tests use what they like.
#[derive(Debug, Clone, PartialEq)]
pub struct Task<P> {
    /// Of the job, unique within its queue.
    pub id: JobId,
    /// Chooses the handler.
    pub kind: Kind,
    /// What the handler works on; empty where the form names an object.
    pub payload: P,
    /// What was done to the payload, and where it is.
    pub form: Form,
    /// Of the payload.
    pub content_type: String,
    /// Among the jobs of its queue.
    pub priority: Priority,
    /// When.
    pub start: Start,
    /// The fleet's default, if none.
    pub retry: Option<RetryPolicy>,
    /// Time allowed for one attempt; the fleet's default, if none.
    pub attempt_timeout: Option<Duration>,
    /// Time allowed to wait for the first attempt, from the instant at which the task may start: past it the job
    /// expires. Without a bound, if none.
    pub max_wait: Option<Duration>,
    /// The job whose handler published it.
    pub parent: Option<Parent>,
    /// The job that died and was started again as this one: its payload was sealed for that one.
    pub origin: Option<JobId>,
    /// What limits, orders and rates by key count it under.
    pub key: Option<FlowKey>,
    /// Whom it is for: among tenants a queue's turns are shared out.
    pub tenant: Option<FlowKey>,
    /// What it costs where its queue or its key has a rate: 1 to [`MAX_POINTS`].
    pub points: u32,
    /// The jobs that it waits for.
    pub after: Vec<Dependency>,
    /// The schedule that published it, for people.
    pub schedule_id: Option<ScheduleId>,
    /// What its publisher says of it, for people.
    pub labels: Labels,
    /// Whether another job of its key makes it needless.
    pub unique: Option<Box<Unique>>,
    /// With which others it becomes one job.
    pub aggregate: Option<Box<Aggregate>>,
}

/// The most that a task may cost.
pub const MAX_POINTS: u32 = 1_000_000;

/// The job whose handler published a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Parent {
    /// Of the parent.
    pub queue: QueueName,
    /// The parent.
    pub job_id: JobId,
    /// Whether the child goes on when its parent is cancelled.
    pub detached: bool,
}

/// When a task may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At once.
    #[default]
    Now,
    /// This long after its acceptance.
    After(Duration),
    /// At this instant; at once, if it has passed.
    At(Timestamp),
}

/// What a payload and its options may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of one payload in the task itself.
    pub max_payload_bytes: usize,
    /// Of one payload in Object Store, as stored.
    pub max_object_bytes: u64,
    /// From now to a task's start, and from there to its expiry.
    pub max_delay: Duration,
    /// Of one attempt.
    pub max_attempt_timeout: Duration,
}

/// A field of a task is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidTask {
    /// Which, as the envelope or the headers name it.
    pub field: &'static str,
    /// What it was, and what was expected.
    pub reason: String,
}

// === impl Task ===

impl<P> Task<P> {
    /// With nothing but what every task has.
    pub fn new(id: JobId, kind: Kind, payload: P) -> Self {
        Self {
            id,
            kind,
            payload,
            form: Form::default(),
            content_type: String::new(),
            priority: Priority::default(),
            start: Start::Now,
            retry: None,
            attempt_timeout: None,
            max_wait: None,
            parent: None,
            origin: None,
            key: None,
            tenant: None,
            points: 1,
            after: Vec::new(),
            schedule_id: None,
            labels: Labels::default(),
            unique: None,
            aggregate: None,
        }
    }
}

// === impl Start ===

impl Start {
    /// The instant from which a task that is accepted now may run.
    pub fn due_at(self, accepted_at: Timestamp) -> Timestamp {
        match self {
            Self::Now => accepted_at,
            Self::After(delay) => accepted_at.saturating_add(delay).unwrap_or(Timestamp::MAX),
            Self::At(at) => at.max(accepted_at),
        }
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Half of what a broker takes by default, so that a job's history and a dead letter's headers fit beside.
            max_payload_bytes: 512 * 1024,
            // What a client takes by default, and room for a seal.
            max_object_bytes: 64 * 1024 * 1024 + 1024,
            max_delay: Duration::from_secs(366 * 86_400),
            max_attempt_timeout: Duration::from_secs(86_400),
        }
    }
}

impl Limits {
    /// Checks what depends on limits; names and ids are valid by their types.
    pub fn check<P: AsRef<[u8]>>(&self, task: &Task<P>, now: Timestamp) -> Result<(), InvalidTask> {
        let payload_bytes = task.payload.as_ref().len();
        if payload_bytes > self.max_payload_bytes {
            return Err(InvalidTask::new(
                "payload",
                format!("has {payload_bytes} bytes: expected at most {}", self.max_payload_bytes),
            ));
        }
        if let Some(object) = &task.form.object {
            if payload_bytes > 0 {
                return Err(InvalidTask::new(
                    "payload",
                    "stands beside payload_object: expected one of them",
                ));
            }
            if object.bytes > self.max_object_bytes {
                return Err(InvalidTask::new(
                    "payload_object",
                    format!("has {} bytes: expected at most {}", object.bytes, self.max_object_bytes),
                ));
            }
        }
        if !(1..=MAX_POINTS).contains(&task.points) {
            let reason = format!("is {}: expected 1 to {MAX_POINTS}", task.points);
            return Err(InvalidTask::new("points", reason));
        }
        if !task.after.is_empty() && (task.unique.is_some() || task.aggregate.is_some()) {
            let reason = "stands beside unique or aggregate: expected one of them";
            return Err(InvalidTask::new("after", reason));
        }
        let wait = task.start.due_at(now).duration_since(now);
        if wait.unsigned_abs() > self.max_delay {
            let field = if matches!(task.start, Start::At(_)) { "run_at" } else { "delay" };
            return Err(InvalidTask::new(
                field,
                format!("is {} s away: expected at most {} s", wait.as_secs(), self.max_delay.as_secs()),
            ));
        }
        if let Some(max_wait) = task.max_wait.filter(|wait| wait.is_zero() || *wait > self.max_delay) {
            return Err(InvalidTask::new(
                "max_wait",
                format!(
                    "is {} s: expected more than 0 and at most {} s",
                    max_wait.as_secs_f64(),
                    self.max_delay.as_secs()
                ),
            ));
        }
        unique::check(task, self.max_delay)?;
        match task.attempt_timeout {
            Some(timeout) if timeout.is_zero() || timeout > self.max_attempt_timeout => {
                Err(InvalidTask::new(
                    "attempt_timeout",
                    format!(
                        "is {} s: expected more than 0 and at most {} s",
                        timeout.as_secs_f64(),
                        self.max_attempt_timeout.as_secs()
                    ),
                ))
            }
            _ => Ok(()),
        }
    }
}

// === impl InvalidTask ===

impl InvalidTask {
    /// With a reason for people.
    pub fn new(field: &'static str, reason: impl std::fmt::Display) -> Self {
        Self { field, reason: reason.to_string() }
    }
}
