//! How far a queue's owner has come with a change of its settings.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which settings decide, and whether all that waited before goes by them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Of the settings.
    pub revision: u64,
    /// Whether all that waited when they were set has been dealt with.
    pub done: bool,
    /// Whether they control the queue at all.
    pub controlled: bool,
    /// What is looked at: `ready`, `running`, `delayed`, `keys`, `turns`, `kinds`; empty once it is done.
    pub looking_at: String,
    /// How many jobs were looked at.
    pub seen: u64,
    /// How many were moved.
    pub moved: u64,
    /// Who says so.
    pub dispatcher: String,
    /// When.
    pub at: Timestamp,
}
