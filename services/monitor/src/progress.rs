//! How far the projection has come with EVENTS.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How far the projection has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Sequence of the newest message of the stream; none until the broker said.
    pub last_sequence: Option<u64>,
    /// The highest sequence that was processed.
    pub processed_sequence: u64,
    /// Messages that are stored and not yet processed.
    pub lag: Option<u64>,
    /// When the stream was last looked at.
    pub checked_at: Option<Timestamp>,
    /// Why nothing is stored just now; none while all is well.
    pub standstill: Option<Standstill>,
}

/// Events come, and are not stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Standstill {
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Why, as it was last seen.
    pub reason: String,
}
