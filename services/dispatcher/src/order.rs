//! What an operator wants of a job, and what became of it.

use windlass_core::{JobId, QueueName};

/// A command that can be read.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) queue: QueueName,
    pub(crate) job_id: JobId,
    pub(crate) reason: String,
    pub(crate) requested_by: String,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    /// Done, or nothing was left to do.
    Out,
    /// There is no such job.
    NoJob,
    /// Not known, or not possible now.
    Open,
}
