//! What a running handler tells of itself: how far it is, and lines for its log.
//!
//! Neither moves the job. They travel with the events and may be lost.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{JobId, QueueName};

/// How far an attempt says it is. Only the latest of a job counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Of the job.
    pub queue: QueueName,
    /// Of the job.
    pub job_id: JobId,
    /// From 1.
    pub attempt: u32,
    /// 0 to 1, where it is known.
    pub fraction: Option<f64>,
    /// For people.
    pub note: String,
    /// When.
    pub at: Timestamp,
}

/// A line that a handler logged. Idempotent by (queue, job, attempt, sequence).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Of the job.
    pub queue: QueueName,
    /// Of the job.
    pub job_id: JobId,
    /// From 1.
    pub attempt: u32,
    /// From 1, without gaps but for lines that were dropped because there were too many.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// How much it matters.
    pub level: LogLevel,
    /// The line.
    pub message: String,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// For the author of the handler.
    Trace,
    /// For the author of the handler.
    Debug,
    /// What happens.
    Info,
    /// What may be wrong.
    Warn,
    /// What is wrong.
    Error,
}

// === impl LogLevel ===

impl LogLevel {
    /// Every level.
    pub const ALL: [Self; 5] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// Reads the word; a word of a later version is taken as `info`.
    pub fn of_word(word: &str) -> Self {
        Self::ALL.into_iter().find(|level| level.as_str() == word).unwrap_or(Self::Info)
    }
}
