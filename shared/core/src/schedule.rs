//! Schedules: which instants a rule names, and which of them to fire after a pause of the scheduler.

mod cron;
mod due;
mod interval;

use std::time::Duration;

use jiff::Timestamp;

pub use cron::Cron;
pub use due::{CatchUp, Cursor, Due, InDoubt};
pub use interval::Interval;

use crate::{JobId, Kind, Priority, QueueName, RetryPolicy, ScheduleId, Task};

/// A rule that publishes tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule<P> {
    /// Names it among all schedules.
    pub id: ScheduleId,
    /// Where its tasks go.
    pub queue: QueueName,
    /// What it publishes.
    pub task: Template<P>,
    /// When.
    pub spec: Spec,
    /// While true, it fires nothing.
    pub paused: bool,
    /// When it was made, given another rule or resumed: instants up to then are never made up for.
    pub created_at: Timestamp,
}

/// A task without its id and its start: each fire gives both.
#[derive(Debug, Clone, PartialEq)]
pub struct Template<P> {
    /// Chooses the handler.
    pub kind: Kind,
    /// What the handler works on.
    pub payload: P,
    /// Of the payload.
    pub content_type: String,
    /// Among the jobs of its queue.
    pub priority: Priority,
    /// The fleet's default, if none.
    pub retry: Option<RetryPolicy>,
    /// Time allowed for one attempt; the fleet's default, if none.
    pub attempt_timeout: Option<Duration>,
    /// Time allowed to wait for the first attempt; for ever, if none.
    pub max_wait: Option<Duration>,
}

/// Which instants a schedule names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    /// By the calendar and the clock of a zone.
    Cron(Cron),
    /// Evenly, from the Unix epoch.
    Interval(Interval),
}

/// A part of a rule is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is `{value}`: expected {expected}")]
pub struct Error {
    /// Which part, as `cron.hour`.
    pub field: &'static str,
    /// What it was, cut to a length that can be shown.
    pub value: String,
    /// What it must be.
    pub expected: String,
}

// === impl Spec ===

impl Spec {
    /// The first instant after this one; none if the rule names no further one that can be written down.
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(cron) => cron.next_after(instant),
            Self::Interval(interval) => interval.next_after(instant),
        }
    }

    /// The instants after `after` and up to `until`, in order, the first `limit` of them.
    pub fn instants_between(&self, after: Timestamp, until: Timestamp, limit: usize) -> Vec<Timestamp> {
        std::iter::successors(self.next_after(after), |instant| self.next_after(*instant))
            .take_while(|instant| *instant <= until)
            .take(limit)
            .collect()
    }
}

// === impl Schedule ===

impl<P> Schedule<P> {
    /// The instant after which it is to fire: those up to it are done with.
    fn start(&self, cursor: Option<&Cursor>) -> Timestamp {
        cursor.map_or(self.created_at, |cursor| cursor.last_instant.max(self.created_at))
    }

    /// The instant at which it fires next, which may have passed; none while it is paused.
    pub fn next(&self, cursor: Option<&Cursor>) -> Option<Timestamp> {
        if self.paused { None } else { self.spec.next_after(self.start(cursor)) }
    }

    /// What to do now: see [`Due`].
    ///
    /// Looks at no more than `limit` instants (at least one), so that the work of one call is bounded after any
    /// downtime.
    pub fn due(&self, cursor: Option<&Cursor>, now: Timestamp, catch_up: &CatchUp, limit: usize) -> Due {
        if self.paused {
            return Due::default();
        }
        due::decide(&self.spec, self.start(cursor), cursor.and_then(|c| c.in_doubt), now, catch_up, limit)
    }
}

impl<P: Clone> Schedule<P> {
    /// The task of this instant: the same id each time.
    pub fn task_at(&self, instant: Timestamp) -> Task<P> {
        let id = JobId::of_fire(&self.id, instant);
        Task {
            content_type: self.task.content_type.clone(),
            priority: self.task.priority,
            retry: self.task.retry.clone(),
            attempt_timeout: self.task.attempt_timeout,
            max_wait: self.task.max_wait,
            ..Task::new(id, self.task.kind.clone(), self.task.payload.clone())
        }
    }
}

// === impl Error ===

impl Error {
    fn new(field: &'static str, value: &str, expected: impl Into<String>) -> Self {
        Self { field, value: value.chars().take(80).collect(), expected: expected.into() }
    }
}
