//! How far the projection has come with EVENTS.

use jiff::Timestamp;

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
}
