//! Schedules.

use serde_json::Value;
use utoipa::ToSchema;

/// A part of the schedules.
#[derive(ToSchema)]
pub struct ScheduleList {
    /// In the order of their last change.
    pub schedules: Vec<ScheduleRow>,
    /// Entries that are no valid schedules; no scheduler fires them.
    pub malformed: Vec<MalformedSchedule>,
    /// Give it as `cursor` for the part that follows; null at the end.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// What stands under a schedule's key and is none.
#[derive(ToSchema)]
pub struct MalformedSchedule {
    /// The key.
    pub id: String,
    /// Which field is wrong.
    pub field: String,
    /// Why.
    pub reason: String,
}

/// A schedule, with the words of a file, and how far it has come.
#[derive(ToSchema)]
pub struct ScheduleRow {
    /// Names it among all schedules.
    pub id: String,
    /// Where its tasks go.
    pub queue: String,
    /// What they ask for.
    pub kind: String,
    /// The body of each.
    #[schema(required)]
    pub payload: Option<Value>,
    /// `critical`, `high`, `normal` or `low`.
    pub priority: String,
    /// An expression, or a list of them.
    #[schema(required)]
    pub cron: Option<Value>,
    /// Of `cron` and of the days of `exclude`.
    #[schema(required)]
    pub zone: Option<String>,
    /// A period, or a list of them.
    #[schema(required)]
    pub every: Option<Value>,
    /// Of `every`.
    #[schema(required)]
    pub phase: Option<String>,
    /// An instant, or a list of them.
    #[schema(required)]
    pub at: Option<Value>,
    /// No instant lies before.
    #[schema(required, format = DateTime)]
    pub start: Option<String>,
    /// No instant lies after.
    #[schema(required, format = DateTime)]
    pub end: Option<String>,
    /// Days or times that are left out, or a list of them.
    #[schema(required)]
    pub exclude: Option<Value>,
    /// Each instant fires up to so much later.
    #[schema(required)]
    pub jitter: Option<String>,
    /// What it does while the job before is live.
    pub overlap: String,
    /// What it does about instants that came while none could fire.
    pub misfire: String,
    /// Older instants are not made up for; null: 365 days.
    #[schema(required)]
    pub catch_up_window: Option<String>,
    /// Between paced fires; null: 10 s.
    #[schema(required)]
    pub pace: Option<String>,
    /// A job that ends as dead or expired pauses it.
    pub pause_on_failure: bool,
    /// It fires so often, and then no more.
    #[schema(required)]
    pub limit: Option<u64>,
    /// Failed attempts allowed, the first one included; null: the worker's.
    #[schema(required)]
    pub max_attempts: Option<u32>,
    /// Time allowed for one attempt; null: the worker's.
    #[schema(required)]
    pub attempt_timeout: Option<String>,
    /// Time allowed to wait for the first attempt; null: for ever.
    #[schema(required)]
    pub max_wait: Option<String>,
    /// Whether it fires nothing but what is asked for.
    pub paused: bool,
    /// Why.
    #[schema(required)]
    pub pause_note: Option<String>,
    /// The pause ends by itself then.
    #[schema(required, format = DateTime)]
    pub paused_until: Option<String>,
    /// When it was made, given another rule or resumed.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// The instant that it fires next, which may have passed; null: none.
    #[schema(required, format = DateTime)]
    pub next_at: Option<String>,
    /// When that fires: with its part of the jitter.
    #[schema(required, format = DateTime)]
    pub fires_at: Option<String>,
    /// The latest instant that is done with.
    #[schema(required, format = DateTime)]
    pub last_at: Option<String>,
    /// Instants that its rule has fired.
    pub fires: u64,
    /// Instants that were missed.
    pub misfires: u64,
    /// Instants that were passed over because a job was live.
    pub skipped: u64,
    /// Grows with each change: give it as `expected_revision`.
    pub revision: u64,
}

/// A schedule with all that is known of it.
#[derive(ToSchema)]
#[schema(as = Schedule)]
pub struct ScheduleSchema {
    /// Itself.
    #[serde(flatten)]
    pub row: ScheduleRow,
    /// Its next instants, at most five; one that is due is among them.
    #[schema(value_type = Vec<String>)]
    pub next: Vec<String>,
    /// The last changes, at most 20, the newest at the end.
    pub edits: Vec<ScheduleEdit>,
}

/// A change of a schedule.
#[derive(ToSchema)]
pub struct ScheduleEdit {
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// Who.
    pub by: String,
    /// What, and why.
    pub what: String,
}

/// The next instants of a schedule.
#[derive(ToSchema)]
pub struct ScheduleNext {
    /// Which schedule.
    pub id: String,
    /// In order.
    pub instants: Vec<NextInstant>,
    /// Why there are fewer than were asked for: `paused`, `limit`, `end`, `rules`, or `too_far` (its limit is not counted
    /// so far); null if there are not.
    #[schema(required)]
    pub ends: Option<String>,
    /// The same for people.
    #[schema(required)]
    pub note: Option<String>,
}

/// An instant that is going to fire.
#[derive(ToSchema)]
pub struct NextInstant {
    /// Of the rule.
    #[schema(format = DateTime)]
    pub instant: String,
    /// With its part of the jitter.
    #[schema(format = DateTime)]
    pub fires_at: String,
}

/// What became of a schedule's instants.
#[derive(ToSchema)]
pub struct ScheduleHistory {
    /// Which schedule.
    pub id: String,
    /// Instants that its rule has fired.
    pub fires: u64,
    /// Instants that were missed.
    pub misfires: u64,
    /// Instants that were passed over because a job was live.
    pub skipped: u64,
    /// Instants that wait for a job to end.
    pub waiting: Vec<String>,
    /// The last of them, at most 32 entries, the newest at the end.
    pub history: Vec<PastInstant>,
}

/// What became of an instant, or of several in a row.
#[derive(ToSchema)]
pub struct PastInstant {
    /// The instant, or the first of several.
    #[schema(format = DateTime)]
    pub instant: String,
    /// When that was decided.
    #[schema(format = DateTime)]
    pub at: String,
    /// `fired`, `triggered`, `backfilled`, `missed` or `skipped`.
    pub what: String,
    /// Of how many instants.
    pub count: u64,
    /// Of what fired.
    #[schema(required, format = "uuid")]
    pub job_id: Option<String>,
}

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
