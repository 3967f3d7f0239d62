//! What an operator wants of a job, and what became of it.

use jiff::Timestamp;
use tokio::time::Instant;
use windlass_core::trace::TraceParent;
use windlass_core::{JobId, QueueName};

/// A command that can be read.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) queue: QueueName,
    pub(crate) job_id: JobId,
    pub(crate) reason: String,
    pub(crate) requested_by: String,
    /// Of the letter that is meant, where one is.
    pub(crate) dead_at: Option<Timestamp>,
    /// When the command was stored.
    pub(crate) ordered_at: Timestamp,
    /// Whether it was delivered before, or may have been.
    pub(crate) delivered: Before,
    /// Of the command, if it came with one.
    pub(crate) trace: Option<TraceParent>,
    /// Until when what it makes may be written: another replica may have the command after that.
    pub(crate) deadline: Instant,
}

/// Whether a command was delivered before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// No.
    Never,
    /// Perhaps, by a broker that has forgotten it.
    Perhaps,
    /// Yes.
    Certainly,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    /// Done, or nothing was left to do.
    Out,
    /// There is no such job.
    NoJob,
    /// It cannot be done, now or later.
    Refused,
    /// Not known, or not possible now.
    Open,
}

// === impl Order ===

impl Order {
    /// Who asks, and why, for people.
    pub(crate) fn words(&self) -> String {
        let by = if self.requested_by.is_empty() { "somebody" } else { &self.requested_by };
        if self.reason.is_empty() { format!("by {by}") } else { format!("by {by}: {}", self.reason) }
    }
}
