//! The audit.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::{Gap, LostJob};

/// What the conservation audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditReport {
    /// No job is lost.
    pub holds: bool,
    /// When the latest round ended; null before the first.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub audited_at: Option<Timestamp>,
    /// Why the latest round came to no end; null if it did.
    #[schema(required)]
    pub failure: Option<String>,
    /// By name.
    pub queues: Vec<QueueAudit>,
    /// The latest lost jobs, newest first, those that were found again among them.
    pub lost: Vec<LostJob>,
    /// Events that were gone before they were read, the latest first.
    pub gaps: Vec<Gap>,
}

/// Where the jobs of a queue are: `accepted` is `live` and `ended` together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueAudit {
    /// Its name.
    pub queue: String,
    /// All that the monitor ever heard of.
    pub accepted: u64,
    /// Have not ended.
    pub live: u64,
    /// Have ended.
    pub ended: u64,
    /// How many messages of jobs that have not ended the streams held when they were last counted; null before. Work
    /// that is left of a job that has ended counts too.
    #[schema(required)]
    pub standing: Option<u64>,
    /// Live by the database, and in no stream.
    pub lost: u64,
}
