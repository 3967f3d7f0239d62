//! What an operator asks of schedules.

use serde_json::Value;
use utoipa::ToSchema;

/// How to pause a schedule.
#[derive(ToSchema)]
pub struct PauseSchedule {
    /// For people; it is the note of the pause.
    #[schema(required = false, max_length = 500)]
    pub reason: String,
    /// It goes on by itself after this, as `2h`.
    #[schema(required = false, nullable = false)]
    #[serde(rename = "for")]
    pub length: Option<String>,
    /// Or then.
    #[schema(required = false, nullable = false, format = DateTime)]
    pub until: Option<String>,
    /// Only if the schedule still has this revision.
    #[schema(required = false, nullable = false)]
    pub expected_revision: Option<u32>,
}

/// How to resume a schedule.
#[derive(ToSchema)]
pub struct ResumeSchedule {
    /// For people.
    #[schema(required = false, max_length = 500)]
    pub reason: String,
    /// Only if the schedule still has this revision.
    #[schema(required = false, nullable = false)]
    pub expected_revision: Option<u32>,
}

/// How a schedule's pause stands.
#[derive(ToSchema)]
pub struct PausedSchedule {
    /// Which schedule.
    pub id: String,
    /// Whether it is paused.
    pub paused: bool,
    /// Why.
    #[schema(required)]
    pub pause_note: Option<String>,
    /// It ends by itself then.
    #[schema(required, format = DateTime)]
    pub paused_until: Option<String>,
    /// Of the schedule now.
    pub revision: u64,
}

/// Why a job is asked for.
#[derive(ToSchema)]
pub struct TriggerSchedule {
    /// For people.
    #[schema(required = false, max_length = 500)]
    pub reason: String,
    /// Only if the schedule still has this revision.
    #[schema(required = false, nullable = false)]
    pub expected_revision: Option<u32>,
}

/// A job that a schedule is asked for.
#[derive(ToSchema)]
pub struct TriggeredSchedule {
    /// Which schedule.
    pub id: String,
    /// The job, which the scheduler that leads makes.
    #[schema(format = "uuid")]
    pub job_id: String,
    /// Its queue.
    pub queue: String,
    /// When it was asked for.
    #[schema(format = DateTime)]
    pub requested_at: String,
    /// The policy for overlaps that does not hold for it; null where all are allowed anyway.
    #[schema(required)]
    pub passes_over_overlap: Option<String>,
}

/// Which instants of the past are to have a job.
#[derive(ToSchema)]
pub struct BackfillSchedule {
    /// The first that may.
    #[schema(format = DateTime)]
    pub from: String,
    /// The last; now, if it is not given.
    #[schema(required = false, nullable = false, format = DateTime)]
    pub until: Option<String>,
    /// Of those that have had none (`missing`), of those whose job is dead or expired (`failed`), or of `all`.
    #[schema(required = false, default = "missing")]
    pub which: String,
    /// How many of its jobs may be live at one time.
    #[schema(required = false, default = 1, minimum = 1, maximum = 1000)]
    pub concurrency: u32,
    /// True: the latest first.
    #[schema(required = false, default = false)]
    pub reverse: bool,
    /// True: only say which instants.
    #[schema(required = false, default = false)]
    pub dry_run: bool,
    /// Only if the schedule still has this revision.
    #[schema(required = false, nullable = false)]
    pub expected_revision: Option<u32>,
    /// For people.
    #[schema(required = false, max_length = 500)]
    pub reason: String,
}

/// A backfill.
#[derive(ToSchema)]
pub struct Backfilled {
    /// Which schedule.
    pub id: String,
    /// How many instants.
    pub count: u64,
    /// Which, in the order in which they get their jobs.
    pub instants: Vec<String>,
    /// Whether nothing was stored, as asked.
    pub dry_run: bool,
    /// When it was asked for; null if nothing was stored.
    #[schema(required, format = DateTime)]
    pub requested_at: Option<String>,
}

/// A schedule that is no more.
#[derive(ToSchema)]
pub struct DeletedSchedule {
    /// Which.
    pub id: String,
    /// Always true.
    pub deleted: bool,
    /// That it had.
    pub revision: u64,
}

/// What schedules are to be.
#[derive(ToSchema)]
pub struct ApplySchedules {
    /// Each as a file of `windlass schedule apply` has it, without `exclude_calendar`.
    pub schedules: Vec<Value>,
    /// By id: only if the schedule still has this revision, 0 if it must be new.
    #[schema(required = false, nullable = false)]
    pub expected_revisions: Option<std::collections::BTreeMap<String, u64>>,
    /// True: delete the schedules that are not among these.
    #[schema(required = false, default = false)]
    pub prune: bool,
    /// True: only say what would be changed.
    #[schema(required = false, default = false)]
    pub dry_run: bool,
    /// For people; it is kept with each change.
    #[schema(required = false, max_length = 500)]
    pub reason: String,
}

/// What was, or would be, changed.
#[derive(ToSchema)]
pub struct AppliedSchedules {
    /// In the order in which they were given; those that are deleted at the end.
    pub schedules: Vec<AppliedSchedule>,
    /// Whether nothing was changed, as asked.
    pub dry_run: bool,
}

/// What was, or would be, done with a schedule.
#[derive(ToSchema)]
pub struct AppliedSchedule {
    /// Which.
    pub id: String,
    /// `created`, `updated`, `unchanged` or `deleted`.
    pub result: String,
    /// What is other than before; of what is new all that it says.
    pub changes: Vec<ChangedField>,
}

/// A field that is other than before.
#[derive(ToSchema)]
pub struct ChangedField {
    /// As a file has it.
    pub field: String,
    /// Null: it was not said.
    #[schema(required)]
    pub from: Option<Value>,
    /// Null: it is not said.
    #[schema(required)]
    pub to: Option<Value>,
}
