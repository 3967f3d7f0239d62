//! Workers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The workers that live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerList {
    /// By id.
    pub workers: Vec<Worker>,
}

/// A worker as it says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Worker {
    /// Its id, as attempts name it.
    pub id: String,
    /// Whose jobs it runs.
    pub pool: String,
    /// The queues that it serves.
    pub queues: Vec<String>,
    /// The kinds that it has handlers for.
    pub kinds: Vec<String>,
    /// How many attempts it runs at a time, over all of its queues.
    pub slots: u32,
    /// How many it runs now.
    pub running: u32,
    /// Attempts whose handlers ignore that they were cancelled: each keeps its slot.
    pub stuck: u32,
    /// Of its program.
    pub version: String,
    /// Where it runs.
    pub host: String,
    /// Since when; null if it does not say.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// It takes nothing more, and will end.
    pub draining: bool,
}
