//! Schedules.

use serde_json::Value;
use utoipa::ToSchema;

use super::JobStateSchema;

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
    /// The last of its instants that made a job; null: none of the last 32 entries of its history did.
    #[schema(required)]
    pub last_fire: Option<PastInstant>,
    /// The last entries of its history, at most 10, the newest at the end.
    pub recent: Vec<PastInstant>,
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
    /// Where that job stands; null if the monitor does not know it.
    #[schema(required)]
    pub state: Option<JobStateSchema>,
}
