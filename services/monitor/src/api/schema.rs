//! The shapes of the answers.
//!
//! `windlass-core` knows nothing of HTTP, so its types that are sent as they are get described here once more, for the
//! OpenAPI document alone; a test holds that real answers have the keys that are described.

mod action;
mod alert;
mod audit;
mod calendar;
mod fleet;
mod flow;
mod letter;
mod report;
mod schedule;
mod schedule_change;
mod worker;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use action::{ActionProblems, Commanded, Manner, ManyJobs, ManyLetters, OperationList, Preview, Why};
pub use alert::{AlertList, NewSilence};
pub use audit::{AuditReport, QueueAudit};
pub use calendar::{
    Calendar, CalendarCollision, CalendarDay, CalendarHour, CalendarMoment, FrequentSchedule,
};
pub use fleet::{Figures, Fleet, Instance, StreamFigures};
pub use flow::{
    BacklogSchema, Changed, ChangedSetting, PauseQueue, QueueStateSchema, ResumeQueue, SetQueue, WhySchema,
};
pub use letter::{GroupSchema, LetterFilter, LetterGroups, LetterList, LetterRowSchema, LetterViewSchema};
pub use report::StoredReportList;
pub use schedule::{
    MalformedSchedule, NextInstant, PastInstant, ScheduleEdit, ScheduleHistory, ScheduleList, ScheduleNext,
    ScheduleRow, ScheduleSchema,
};
pub use schedule_change::{
    AppliedSchedule, AppliedSchedules, ApplySchedules, BackfillSchedule, Backfilled, ChangedField,
    DeletedSchedule, PauseSchedule, PausedSchedule, ResumeSchedule, TriggerSchedule, TriggeredSchedule,
};
pub use worker::{Worker, WorkerList};

use crate::progress::{Progress, Standstill};
use crate::store::{Gap, JobRow, Page, QueueCounts};

/// A part of a list of jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobList {
    /// Newest first.
    pub jobs: Vec<JobRow>,
    /// Give it as `cursor` for the part that follows; null at the end.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// The queues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueueList {
    /// By name.
    pub queues: Vec<QueueCounts>,
}

/// How the monitor is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Of this program.
    pub version: String,
    /// How far it has come.
    pub events: EventsStatus,
    /// Events that were gone before they were read, the latest first: what is shown may lack them.
    pub gaps: Vec<Gap>,
}

/// How far the monitor has come with the events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventsStatus {
    /// Sequence of the newest message of the stream; null until the broker said.
    #[schema(required)]
    pub last_sequence: Option<u64>,
    /// The highest sequence that was processed.
    pub processed_sequence: u64,
    /// Messages that are stored and not yet processed; null until the broker said.
    #[schema(required)]
    pub lag: Option<u64>,
    /// When the stream was last looked at.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub checked_at: Option<Timestamp>,
    /// Since when, and why, nothing is stored: the disk is full, say, or the broker is away. Null while all is well.
    #[schema(required)]
    pub standstill: Option<Standstill>,
}

/// As `core::JobState`.
#[derive(ToSchema)]
#[schema(as = JobState)]
#[serde(rename_all = "snake_case")]
pub enum JobStateSchema {
    /// Waits for its first attempt's instant.
    Scheduled,
    /// Waits for somebody's leave.
    Held,
    /// Waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Has run, and waits for the instant of its next attempt: it failed, or snoozed.
    Retrying,
    /// Ended well.
    Succeeded,
    /// Failed for good.
    Dead,
    /// Ended by an operator.
    Cancelled,
    /// Waited longer than it may.
    Expired,
}

/// As `core::Priority`.
#[derive(ToSchema)]
#[schema(as = Priority)]
#[serde(rename_all = "snake_case")]
pub enum PrioritySchema {
    /// Before all others.
    Critical,
    /// Before normal.
    High,
    /// What a task has that names none.
    Normal,
    /// After all others.
    Low,
}

/// As `core::JobError`: why an attempt or a job failed.
#[derive(ToSchema)]
#[schema(as = JobError)]
pub struct JobErrorSchema {
    /// For people.
    pub message: String,
    /// A short stable word to group by, as `handler`, `panic` or `timeout`.
    pub code: String,
    /// No retry can help.
    pub terminal: bool,
    /// The same for errors that are alike: of the code, and of the message without numbers, ids, quoted text and paths.
    pub fingerprint: String,
}

/// As `core::history::JobView`: a job with all that happened to it.
#[derive(ToSchema)]
#[schema(as = JobView)]
pub struct JobViewSchema {
    /// A UUID.
    #[schema(format = "uuid")]
    pub id: String,
    /// Empty only for a rejected message that named none.
    pub kind: String,
    /// Where it waits or waited.
    pub queue: String,
    /// Where it stands.
    pub state: JobStateSchema,
    /// Among the jobs of its queue.
    pub priority: PrioritySchema,
    /// The handler's value: JSON as itself, text as a string, anything else as base64 under `base64`.
    #[schema(required)]
    pub result: Option<serde_json::Value>,
    /// What was done to the result (`encoding`), and where it is (`object`); null if it is shown as it was returned.
    #[schema(required)]
    pub result_form: Option<serde_json::Value>,
    /// Why it ended, or why its last attempt failed.
    #[schema(required)]
    pub error: Option<JobErrorSchema>,
    /// With the error codes `unique`, `merged` and `replaced`: the job that has its unique key, stands for it as well, or
    /// was made in its place.
    #[schema(required, format = "uuid")]
    pub other_id: Option<String>,
    /// The schedule that published it; null if none did.
    #[schema(required)]
    pub schedule_id: Option<String>,
    /// The job whose handler published it; null if none did.
    #[schema(required)]
    pub parent: Option<ParentSchema>,
    /// The jobs that it waited for before it could start, the first 50 of them.
    pub after: Vec<AfterSchema>,
    /// How many those are.
    pub after_count: u32,
    /// What its publisher said of it: values by their names.
    pub labels: BTreeMap<String, String>,
    /// 32 hexadecimal digits; null if the publisher sent no trace context.
    #[schema(required)]
    pub trace_id: Option<String>,
    /// When the dispatcher accepted it.
    #[schema(required, format = DateTime)]
    pub accepted_at: Option<String>,
    /// The instant from which it may (or might) run.
    #[schema(required, format = DateTime)]
    pub due_at: Option<String>,
    /// When it ended.
    #[schema(required, format = DateTime)]
    pub ended_at: Option<String>,
    /// Every execution, oldest first.
    pub attempts: Vec<AttemptSchema>,
    /// Every transition, oldest first.
    pub transitions: Vec<TransitionSchema>,
    /// How far its handler says it is; null where it said nothing.
    #[schema(required)]
    pub progress: Option<ProgressSchema>,
    /// The last lines that its handler logged, oldest first.
    pub logs: Vec<LogSchema>,
}

/// As `core::history::ParentView`: the job whose handler published another.
#[derive(ToSchema)]
#[schema(as = Parent)]
pub struct ParentSchema {
    /// Its queue.
    pub queue: String,
    /// Which.
    #[schema(format = "uuid")]
    pub job_id: String,
    /// Whether the child goes on when it is cancelled.
    pub detached: bool,
}

/// As `core::history::AfterView`: a job that another waited for.
#[derive(ToSchema)]
#[schema(as = After)]
pub struct AfterSchema {
    /// Its queue; null: that of the job which waits.
    #[schema(required)]
    pub queue: Option<String>,
    /// Which.
    #[schema(format = "uuid")]
    pub job_id: String,
    /// What follows if it ends otherwise than well: `fail`, `continue` or `ignore`.
    pub on_failure: String,
}

/// As `core::history::ProgressView`: how far an attempt says it is.
#[derive(ToSchema)]
#[schema(as = JobProgress)]
pub struct ProgressSchema {
    /// The attempt that says so.
    pub attempt: u32,
    /// 0 to 1; null where it is not known.
    #[schema(required)]
    pub fraction: Option<f64>,
    /// For people.
    pub note: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
}

/// As `core::history::LogView`: a line that an attempt logged.
#[derive(ToSchema)]
#[schema(as = LogLine)]
pub struct LogSchema {
    /// The attempt that logged it.
    pub attempt: u32,
    /// From 1 within the attempt; what is missing was dropped.
    pub sequence: u64,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// The line.
    pub message: String,
}

/// As `core::history::AttemptView`: one execution.
#[derive(ToSchema)]
#[schema(as = Attempt)]
pub struct AttemptSchema {
    /// From 1.
    pub number: u32,
    /// The worker's id; null where a crash hid it.
    #[schema(required)]
    pub worker: Option<String>,
    /// When its handler was called.
    #[schema(required, format = DateTime)]
    pub started_at: Option<String>,
    /// Null while it runs.
    #[schema(required, format = DateTime)]
    pub ended_at: Option<String>,
    /// `succeeded`, `failed`, `timed_out`, `cancelled`, `crashed`, `handed_back` or `snoozed`; `unknown` where a newer
    /// version wrote another; null while it runs.
    #[schema(required)]
    pub outcome: Option<String>,
    /// Why it did not succeed.
    #[schema(required)]
    pub error: Option<JobErrorSchema>,
    /// It had no neighbour in its process, because the job had lost its worker twice before.
    pub alone: bool,
}

/// As `core::history::TransitionView`: one thing that happened.
#[derive(ToSchema)]
#[schema(as = Transition)]
pub struct TransitionSchema {
    /// What: `accepted`, `released`, `started`, `crashed`, `handed_back`, `retried`, `snoozed`, `succeeded`, `dead`,
    /// `cancelled`, `expired`, `refused`, `rejected`, `redriven` or `discarded`.
    pub transition: String,
    /// The attempt that it belongs to; 0 before the first.
    pub attempt: u32,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// The worker's id, where one did it.
    #[schema(required)]
    pub worker: Option<String>,
    /// For people.
    #[schema(required)]
    pub note: Option<String>,
}

// === impl JobList ===

impl From<Page> for JobList {
    fn from(page: Page) -> Self {
        Self { jobs: page.jobs, next_cursor: page.next_cursor.map(|cursor| cursor.to_string()) }
    }
}

// === impl EventsStatus ===

impl From<&Progress> for EventsStatus {
    fn from(progress: &Progress) -> Self {
        Self {
            last_sequence: progress.last_sequence,
            processed_sequence: progress.processed_sequence,
            lag: progress.lag,
            checked_at: progress.checked_at,
            standstill: progress.standstill.clone(),
        }
    }
}
