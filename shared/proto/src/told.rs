//! What running handlers tell.

use windlass_core::QueueName;
use windlass_core::told::{LogLevel, LogLine, Progress};

use crate::{Error, time, v1};

impl From<Progress> for v1::Progress {
    fn from(progress: Progress) -> Self {
        Self {
            job_id: progress.job_id.to_string(),
            attempt: progress.attempt,
            fraction: progress.fraction,
            note: progress.note,
            at: Some(time::to_wire(progress.at)),
        }
    }
}

impl v1::Progress {
    /// Reads the progress of a job of this queue.
    pub fn into_domain(self, queue: &QueueName) -> Result<Progress, Error> {
        Ok(Progress {
            queue: queue.clone(),
            job_id: self.job_id.parse().map_err(|e| Error::new("progress.job_id", e))?,
            attempt: self.attempt,
            fraction: self.fraction.map(|f| if f.is_nan() { 0.0 } else { f.clamp(0.0, 1.0) }),
            note: self.note,
            at: time::required("progress.at", self.at)?,
        })
    }
}

impl From<LogLine> for v1::LogLine {
    fn from(line: LogLine) -> Self {
        Self {
            job_id: line.job_id.to_string(),
            attempt: line.attempt,
            sequence: line.sequence,
            at: Some(time::to_wire(line.at)),
            level: line.level.as_str().to_owned(),
            message: line.message,
        }
    }
}

impl v1::LogLine {
    /// Reads a line of a job of this queue.
    pub fn into_domain(self, queue: &QueueName) -> Result<LogLine, Error> {
        Ok(LogLine {
            queue: queue.clone(),
            job_id: self.job_id.parse().map_err(|e| Error::new("logs.job_id", e))?,
            attempt: self.attempt,
            sequence: self.sequence,
            at: time::required("logs.at", self.at)?,
            level: LogLevel::of_word(&self.level),
            message: self.message,
        })
    }
}
