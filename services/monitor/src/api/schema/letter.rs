//! The shapes of dead letters.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use windlass_core::letter::{Group, LetterRow};

use super::AttemptSchema;

/// Which dead letters: what is left out asks for nothing. Given together, all must hold.
#[derive(IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
pub struct LetterFilter {
    /// Only letters of this queue
    #[schema(nullable = false)]
    pub queue: Option<String>,
    /// Only letters of this kind
    #[schema(nullable = false)]
    pub kind: Option<String>,
    /// Only letters with this code, or whose last attempt failed with it
    #[schema(nullable = false)]
    pub code: Option<String>,
    /// Only letters with this fingerprint
    #[schema(nullable = false)]
    pub fingerprint: Option<String>,
    /// Only letters with this text in their reason, in the error of an attempt, or in the id that a rejected message bears
    #[schema(nullable = false)]
    pub contains: Option<String>,
    /// Only of jobs that died at this instant, or later
    #[schema(nullable = false)]
    pub since: Option<String>,
    /// Only of jobs that died before this instant
    #[schema(nullable = false)]
    pub until: Option<String>,
}

/// A part of the dead letters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LetterList {
    /// In the order of storing, the oldest first.
    #[schema(value_type = Vec<LetterRowSchema>)]
    pub letters: Vec<LetterRow>,
    /// Give it as `cursor` for the part that follows; null at the end. A part may be shorter than asked for while more
    /// follow: no more than a bounded number of letters are looked at for one answer.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// Dead letters, counted by fingerprint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LetterGroups {
    /// The largest first.
    #[schema(value_type = Vec<GroupSchema>)]
    pub groups: Vec<Group>,
    /// Letters that are in none of these groups, as there are too many different ones.
    pub others: u64,
    /// Not null: only a part was counted. Give it as `cursor` for the groups of the part that follows.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// As `core::letter::LetterRow`: a dead letter.
#[derive(ToSchema)]
#[schema(as = DeadLetter)]
pub struct LetterRowSchema {
    /// Of the job, a UUID.
    #[schema(format = "uuid")]
    pub id: String,
    /// Of a rejected message: the id that it bears, a UUID. The letter is not that job's: one may exist.
    #[schema(required, format = "uuid")]
    pub claimed_id: Option<String>,
    /// Of the job.
    pub queue: String,
    /// Empty where none is known.
    pub kind: String,
    /// A short stable word, as `handler`, `terminal_error`, `invalid_task` or `max_deliveries`: why it is dead.
    pub code: String,
    /// The code of its last attempt's error, as its handler gave it.
    #[schema(required)]
    pub error_code: Option<String>,
    /// For people.
    pub reason: String,
    /// Which field was refused, where one was.
    #[schema(required)]
    pub field: Option<String>,
    /// The same for errors that are alike.
    pub fingerprint: String,
    /// When the job died.
    #[schema(format = DateTime)]
    pub dead_at: String,
    /// How many executions there were.
    pub attempt_count: u32,
    /// Whether it can be started again.
    pub redrivable: bool,
}

/// As `core::letter::LetterView`: a dead letter with all that it holds.
#[derive(ToSchema)]
#[schema(as = DeadLetterView)]
pub struct LetterViewSchema {
    /// Of the job, a UUID.
    #[schema(format = "uuid")]
    pub id: String,
    /// Of a rejected message: the id that it bears, a UUID. The letter is not that job's: one may exist.
    #[schema(required, format = "uuid")]
    pub claimed_id: Option<String>,
    /// Of the job.
    pub queue: String,
    /// Empty where none is known.
    pub kind: String,
    /// A short stable word, as `handler`, `terminal_error`, `invalid_task` or `max_deliveries`: why it is dead.
    pub code: String,
    /// The code of its last attempt's error, as its handler gave it.
    #[schema(required)]
    pub error_code: Option<String>,
    /// For people.
    pub reason: String,
    /// Which field was refused, where one was.
    #[schema(required)]
    pub field: Option<String>,
    /// The same for errors that are alike.
    pub fingerprint: String,
    /// When the job died.
    #[schema(format = DateTime)]
    pub dead_at: String,
    /// How many executions there were.
    pub attempt_count: u32,
    /// Whether it can be started again.
    pub redrivable: bool,
    /// Why it cannot be started again; null where it can.
    #[schema(required)]
    pub not_redrivable: Option<String>,
    /// The job that starting it again makes.
    #[schema(format = "uuid")]
    pub redriven_id: String,
    /// The task's payload, or the whole body where it is no task: JSON as itself, text as a string, anything else as
    /// base64 under `base64`.
    pub payload: serde_json::Value,
    /// Of the payload; empty where none is known.
    pub content_type: String,
    /// Where the task was published.
    pub original_subject: String,
    /// Its headers, as they were.
    pub headers: Vec<HeaderSchema>,
    /// Every execution, oldest first.
    pub attempts: Vec<AttemptSchema>,
}

/// As `core::letter::HeaderView`: a header line.
#[derive(ToSchema)]
#[schema(as = Header)]
pub struct HeaderSchema {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// As `core::letter::Group`: the dead letters of one fingerprint.
#[derive(ToSchema)]
#[schema(as = DeadLetterGroup)]
pub struct GroupSchema {
    /// What they have in common.
    pub fingerprint: String,
    /// How many they are.
    pub count: u64,
    /// When the first of them died.
    #[schema(format = DateTime)]
    pub first_dead_at: String,
    /// When the last did.
    #[schema(format = DateTime)]
    pub last_dead_at: String,
    /// The one that died last.
    pub sample: LetterRowSchema,
}
