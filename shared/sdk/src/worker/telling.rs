//! What a running handler tells: progress, and lines for its log.
//!
//! A handler never waits for it. The latest progress and a bounded number of lines are kept until the worker sends
//! them, a few times a second; what does not fit is dropped, the oldest first, and counted.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use windlass_core::told::{self, LogLevel, LogLine};
use windlass_core::{JobId, QueueName};

use super::context::Context;
use crate::failure::shorten;

/// The most lines, and about the most bytes, that wait to be sent.
const WAITING_LINES: usize = 500;
const WAITING_BYTES: usize = 128 * 1024;

/// What one attempt has told and the worker has not sent yet.
#[derive(Debug)]
pub(crate) struct Telling {
    queue: QueueName,
    job_id: JobId,
    attempt: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    progress: Option<told::Progress>,
    lines: VecDeque<LogLine>,
    bytes: usize,
    sequence: u64,
}

/// Tells how far an attempt is.
#[derive(Debug, Clone)]
pub struct Progress(Context);

/// Tells lines for a job's log, beside the process's own.
///
/// The monitor keeps the last lines of a job. They are for whoever looks at the job; they are neither durable nor
/// complete, other than the job's events.
#[derive(Debug, Clone)]
pub struct Logger(Context);

// === impl Telling ===

impl Telling {
    pub(super) fn new(queue: QueueName, job_id: JobId, attempt: u32) -> Self {
        Self { queue, job_id, attempt, state: Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // It is whole between calls, whoever panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self, fraction: Option<f64>, note: String) {
        let fraction = fraction.map(|f| if f.is_nan() { 0.0 } else { f.clamp(0.0, 1.0) });
        self.state().progress = Some(told::Progress {
            queue: self.queue.clone(),
            job_id: self.job_id,
            attempt: self.attempt,
            fraction,
            note,
            at: Timestamp::now(),
        });
    }

    fn line(&self, level: LogLevel, message: String) {
        let mut state = self.state();
        state.sequence += 1;
        state.bytes += message.len();
        let line = LogLine {
            queue: self.queue.clone(),
            job_id: self.job_id,
            attempt: self.attempt,
            sequence: state.sequence,
            at: Timestamp::now(),
            level,
            message,
        };
        state.lines.push_back(line);
        let mut dropped = 0;
        while state.lines.len() > WAITING_LINES || state.bytes > WAITING_BYTES {
            let Some(oldest) = state.lines.pop_front() else { break };
            state.bytes -= oldest.message.len();
            dropped += 1;
        }
        drop(state);
        if dropped > 0 {
            metrics::counter!("windlass_log_lines_dropped_total").increment(dropped);
        }
    }

    /// What is to be sent; it is not kept.
    pub(crate) fn take(&self) -> (Option<told::Progress>, Vec<LogLine>) {
        let mut state = self.state();
        state.bytes = 0;
        (state.progress.take(), std::mem::take(&mut state.lines).into())
    }
}

// === impl Progress ===

impl Progress {
    pub(super) fn new(context: Context) -> Self {
        Self(context)
    }

    /// How far the attempt is, from 0 to 1, with words for people; may be called as often as one likes.
    pub fn set(&self, fraction: f64, note: impl Display) {
        self.0.telling().progress(Some(fraction), shorten(note.to_string()));
    }

    /// What the attempt does, where nobody knows how far it is.
    pub fn note(&self, note: impl Display) {
        self.0.telling().progress(None, shorten(note.to_string()));
    }
}

// === impl Logger ===

impl Logger {
    pub(super) fn new(context: Context) -> Self {
        Self(context)
    }

    /// A line at this level.
    pub fn log(&self, level: LogLevel, message: impl Display) {
        self.0.telling().line(level, shorten(message.to_string()));
    }

    /// For the author of the handler.
    pub fn debug(&self, message: impl Display) {
        self.log(LogLevel::Debug, message);
    }

    /// What happens.
    pub fn info(&self, message: impl Display) {
        self.log(LogLevel::Info, message);
    }

    /// What may be wrong.
    pub fn warn(&self, message: impl Display) {
        self.log(LogLevel::Warn, message);
    }

    /// What is wrong.
    pub fn error(&self, message: impl Display) {
        self.log(LogLevel::Error, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_make_room() {
        let telling =
            Telling::new(QueueName::default(), JobId::from_parts(Timestamp::UNIX_EPOCH, [0; 10]), 1);
        for n in 0..WAITING_LINES + 3 {
            telling.line(LogLevel::Info, format!("line {n}"));
        }
        let (_, lines) = telling.take();
        assert_eq!(lines.first().map(|l| (l.sequence, l.message.as_str())), Some((4, "line 3")));
        assert_eq!(lines.len(), WAITING_LINES);
        telling.line(LogLevel::Info, "x".repeat(WAITING_BYTES + 1));
        telling.line(LogLevel::Info, "y".to_owned());
        let (_, lines) = telling.take();
        assert_eq!(lines.iter().map(|l| l.sequence).collect::<Vec<_>>(), [WAITING_LINES as u64 + 5]);
        telling.progress(Some(f64::NAN), String::new());
        telling.progress(Some(7.0), "more than all".to_owned());
        assert_eq!(telling.take().0.and_then(|p| p.fraction), Some(1.0));
        assert_eq!(telling.take().0, None);
    }
}
