//! The shapes of queues, and of why jobs wait.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use windlass_core::QueueName;
use windlass_core::flow::QueueSettings;

/// As `core::flow::Why`: why a job does not run.
#[derive(ToSchema)]
#[schema(as = WhyWaiting)]
pub struct WhySchema {
    /// Of the job, a UUID.
    #[schema(format = "uuid")]
    pub id: String,
    /// Of the job.
    pub queue: String,
    /// Of the job.
    pub kind: String,
    /// Where it stands: as `state` of a job.
    pub state: String,
    /// Its key; null if its task names none, or it is not known any more.
    #[schema(required)]
    pub key: Option<String>,
    /// Whom it is for, likewise.
    #[schema(required)]
    pub tenant: Option<String>,
    /// `not_due`, `retrying`, `held`, `dependencies`, `queue_paused`, `kind_paused`, `key_paused`, `key_limit`,
    /// `key_order`, `key_rate`, `queue_limit`, `queue_rate`, `turn`, `worker`, `no_worker`, `no_worker_for_kind` or `decision`; or it does not
    /// wait: `running` or `ended`.
    pub cause: String,
    /// By the cause: `until`, `attempts`, `since`, `by`, `reason`, `kind`, `key`, `limit`, `on`, `holders` or `behind` (each with
    /// `job_id`, `doing` and `since`), `ahead`, `dispatcher`, `worker`, `state`, `at`.
    pub detail: Value,
    /// The same, for people.
    pub text: String,
    /// When it was asked.
    #[schema(format = DateTime)]
    pub asked_at: String,
}

/// As `core::flow::Backlog`: what of a queue waits, and why.
#[derive(ToSchema)]
#[schema(as = Backlog)]
pub struct BacklogSchema {
    /// Which queue.
    pub queue: String,
    /// When it was asked.
    #[schema(format = DateTime)]
    pub asked_at: String,
    /// Whether all was read at one moment. If not, a job that moved meanwhile may be counted at both of its places, or
    /// at neither.
    pub exact: bool,
    /// Jobs that wait: the sum of all causes.
    pub backlog: u64,
    /// Jobs that workers have.
    pub running: u64,
    /// Of those that wait: for a worker.
    pub ready: u64,
    /// Of those that wait: for their time.
    pub delayed: u64,
    /// Of those that wait: for limits, rates, order, turns, pauses or a release.
    pub held: u64,
    /// Tasks that no dispatcher has admitted yet; not part of the backlog.
    pub not_admitted: u64,
    /// Since when the one waits that has waited longest, of those that do not wait for their time.
    #[schema(required, format = DateTime)]
    pub oldest_at: Option<String>,
    /// By cause, the most frequent first.
    pub causes: Vec<CountedSchema>,
}

/// As `core::flow::Counted`: how many wait for one cause.
#[derive(ToSchema)]
#[schema(as = CountedCause)]
pub struct CountedSchema {
    /// As `cause` of a job's answer; or `timer`: `not_due` or `retrying`, too many to tell apart.
    pub cause: String,
    /// How many.
    pub count: u64,
    /// One of them.
    #[schema(required, format = "uuid")]
    pub example: Option<String>,
    /// Why that one waits, where it is told.
    #[schema(required)]
    pub text: Option<String>,
}

/// As `broker::why::State`: a queue.
#[derive(ToSchema)]
#[schema(as = QueueState)]
pub struct QueueStateSchema {
    /// Which.
    pub queue: String,
    /// Of its settings; 0 if nothing was ever set.
    pub revision: u64,
    /// Null if nothing was ever set.
    #[schema(required)]
    pub set: Option<QueueChangeSchema>,
    /// How far the settings are in force for what waits; null if no dispatcher has begun with it.
    #[schema(required)]
    pub applied: Option<AppliedSchema>,
    /// What waits.
    pub backlog: BacklogSchema,
}

/// As `core::flow::Change`: what is set.
#[derive(ToSchema)]
#[schema(as = QueueChange)]
pub struct QueueChangeSchema {
    /// As the document on flow control has them; what is not set is not there.
    pub settings: Value,
    /// Who set it.
    pub by: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// Why; not there if nobody said.
    #[schema(required = false, nullable = false)]
    pub note: Option<String>,
    /// What was set before; not there if nothing was.
    #[schema(required = false, nullable = false)]
    pub previous: Option<Value>,
}

/// As `core::flow::Applied`: how far a change has come.
#[derive(ToSchema)]
#[schema(as = Applied)]
pub struct AppliedSchema {
    /// Of the settings.
    pub revision: u64,
    /// Whether all that waited goes by them.
    pub done: bool,
    /// Whether they control the queue at all.
    pub controlled: bool,
    /// What is looked at; empty once it is done.
    pub looking_at: String,
    /// How many jobs were looked at.
    pub seen: u64,
    /// How many were moved.
    pub moved: u64,
    /// Who says so.
    pub dispatcher: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
}

/// What to set.
#[derive(ToSchema)]
pub struct SetQueue {
    /// What to change, as a JSON merge patch: what is null is cleared, what is not named stays. `concurrency`,
    /// `key_concurrency`, `order`, `on_dead`, `at_limit`, `priorities`, `fairness`, `rate`, `key_rate`, `outcome_ttl`.
    pub settings: Value,
    /// For people.
    #[schema(required = false, max_length = 500)]
    pub reason: String,
    /// Only if the settings still have this revision.
    #[schema(required = false, nullable = false)]
    pub expected_revision: Option<u32>,
    /// True: only show what would change.
    #[schema(required = false, default = false)]
    pub dry_run: bool,
}

/// What to pause: the queue, unless a kind or a key is named.
#[derive(ToSchema)]
pub struct PauseQueue {
    /// Only jobs of this kind.
    #[schema(required = false, nullable = false)]
    pub kind: Option<String>,
    /// Only jobs of this key.
    #[schema(required = false, nullable = false)]
    pub key: Option<String>,
    /// Until when; until it is resumed, if not given.
    #[schema(required = false, nullable = false, format = DateTime)]
    pub until: Option<String>,
    /// True: what runs is stopped and handed back.
    #[schema(required = false, default = false)]
    pub hand_back: bool,
    /// For people: at most 256 bytes.
    #[schema(required = false, max_length = 256)]
    pub reason: String,
    /// Only if the settings still have this revision.
    #[schema(required = false, nullable = false)]
    pub expected_revision: Option<u32>,
    /// True: only show what would change.
    #[schema(required = false, default = false)]
    pub dry_run: bool,
}

/// What to resume: the queue, unless a kind or a key is named.
#[derive(ToSchema)]
pub struct ResumeQueue {
    /// This kind.
    #[schema(required = false, nullable = false)]
    pub kind: Option<String>,
    /// This key.
    #[schema(required = false, nullable = false)]
    pub key: Option<String>,
    /// For people.
    #[schema(required = false, max_length = 500)]
    pub reason: String,
    /// Only if the settings still have this revision.
    #[schema(required = false, nullable = false)]
    pub expected_revision: Option<u32>,
    /// True: only show what would change.
    #[schema(required = false, default = false)]
    pub dry_run: bool,
}

/// What was changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// Of which queue.
    #[schema(value_type = String)]
    pub queue: QueueName,
    /// Of the settings as they stand.
    pub revision: u64,
    /// Whether nothing was stored.
    pub dry_run: bool,
    /// Who changed it.
    pub by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What is other than before; empty if nothing is.
    pub changed: Vec<ChangedSetting>,
    /// As they stand.
    pub settings: Value,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChangedSetting {
    /// Which.
    pub setting: String,
    /// Null if it was not set.
    pub before: Value,
    /// Null if it is not set.
    pub after: Value,
}

// === impl Changed ===

impl Changed {
    pub(crate) fn of(
        queue: &QueueName,
        revision: u64,
        dry_run: bool,
        by: &str,
        at: Timestamp,
        before: &QueueSettings,
        after: &QueueSettings,
    ) -> Self {
        let changed = before.difference(after).into_iter();
        Self {
            queue: queue.clone(),
            revision,
            dry_run,
            by: by.to_owned(),
            at,
            changed: changed
                .map(|(setting, before, after)| ChangedSetting { setting, before, after })
                .collect(),
            // Numbers and text: it always is JSON.
            settings: serde_json::to_value(after).unwrap_or_default(),
        }
    }
}
