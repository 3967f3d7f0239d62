//! A job's history, folded from its events: what the API and the command line show.

mod fold;
mod past;
mod relations;
#[cfg(test)]
mod tests;
mod value;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use fold::History;
pub use relations::{AfterView, ParentView, RelationsView};
pub use value::result_value;

use crate::labels::Labels;
use crate::told::LogLevel;
use crate::{Form, JobError, JobId, JobState, Outcome, Priority};

/// A job as `windlass job get -o json` and `GET /api/v1/jobs/{id}` show it: one shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    /// Of the job.
    pub id: JobId,
    /// Empty only for a rejected message that named none.
    pub kind: String,
    /// Where it waits or waited.
    pub queue: String,
    /// Where it stands.
    pub state: JobState,
    /// Among the jobs of its queue.
    pub priority: Priority,
    /// The handler's value: JSON as itself, text as a string, anything else as base64 under `base64`.
    pub result: Option<serde_json::Value>,
    /// What was done to the result, and where it is; none if it is shown as it was returned.
    #[serde(default)]
    pub result_form: Option<Form>,
    /// Why it ended, or why its last attempt failed.
    pub error: Option<JobError>,
    /// The job for whose sake it ended: that has its unique key, stands for it as well, or was made in its place.
    #[serde(default)]
    pub other_id: Option<JobId>,
    /// What its task had to do with others.
    #[serde(flatten)]
    pub relations: RelationsView,
    /// What its publisher said of its task.
    #[serde(default)]
    pub labels: Labels,
    /// 32 hexadecimal digits; none if the publisher sent no trace context.
    pub trace_id: Option<String>,
    /// When the dispatcher accepted it.
    pub accepted_at: Option<Timestamp>,
    /// The instant from which it may (or might) run.
    pub due_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Every execution, oldest first.
    pub attempts: Vec<AttemptView>,
    /// Every transition, oldest first; empty where only the live record could be read.
    #[serde(default)]
    pub transitions: Vec<TransitionView>,
    /// How far its handler says it is; none where it said nothing.
    #[serde(default)]
    pub progress: Option<ProgressView>,
    /// The last lines that its handler logged, oldest first.
    #[serde(default)]
    pub logs: Vec<LogView>,
}

/// How far an attempt says it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProgressView {
    /// The attempt that says so.
    pub attempt: u32,
    /// 0 to 1; none where it is not known.
    pub fraction: Option<f64>,
    /// For people.
    pub note: String,
    /// When.
    pub at: Timestamp,
}

/// A line that an attempt logged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogView {
    /// The attempt that logged it.
    pub attempt: u32,
    /// From 1 within the attempt; what is missing was dropped.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// How much it matters.
    pub level: LogLevel,
    /// The line.
    pub message: String,
}

/// One execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptView {
    /// From 1.
    pub number: u32,
    /// The worker's id; none where a crash hid it.
    pub worker: Option<String>,
    /// When its handler was called.
    pub started_at: Option<Timestamp>,
    /// None while it runs.
    pub ended_at: Option<Timestamp>,
    /// None while it runs.
    pub outcome: Option<Outcome>,
    /// Why it did not succeed.
    pub error: Option<JobError>,
    /// It had no neighbour in its process, because the job had lost its worker before.
    #[serde(default)]
    pub alone: bool,
}

/// One transition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TransitionView {
    /// What happened.
    pub transition: crate::Transition,
    /// The attempt that it belongs to; 0 before the first.
    pub attempt: u32,
    /// When.
    pub at: Timestamp,
    /// The worker's id, where one did it.
    pub worker: Option<String>,
    /// For people.
    pub note: Option<String>,
}

/// A folded state at an instant: no event says that a timer ended, so a job that waited for one is queued from then.
pub fn state_at(state: JobState, due_at: Option<Timestamp>, now: Timestamp) -> JobState {
    match state {
        JobState::Scheduled | JobState::Retrying if due_at.is_some_and(|due| due <= now) => JobState::Queued,
        other => other,
    }
}

// === impl JobView ===

impl JobView {
    /// The job at an instant, see [`state_at`].
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        Self { state: state_at(self.state, self.due_at, now), ..self.clone() }
    }
}
