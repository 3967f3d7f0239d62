//! How a handler says that it failed.

use std::fmt;
use std::time::Duration;

use windlass_core::JobError;

/// Why a handler failed, and whether to try again.
///
/// Any error becomes one by `?`, and then means "try again as the retry policy says". [`Failure::terminal`] and
/// [`Failure::retry_after`] decide otherwise. It does not implement `Error` itself, so that the conversion can be
/// general (as in `anyhow`).
#[derive(Debug)]
pub struct Failure {
    message: String,
    code: String,
    terminal: bool,
    retry_after: Option<Duration>,
    /// Ours: tells nothing of a payload, and is not sealed.
    in_clear: bool,
}

/// The longest message that is kept, in bytes: histories travel with their jobs.
const MESSAGE_LIMIT: usize = 4096;

// === impl Failure ===

impl Failure {
    /// A failure that another attempt may mend.
    pub fn new(message: impl fmt::Display) -> Self {
        Self {
            message: shorten(message.to_string()),
            code: "handler".to_owned(),
            terminal: false,
            retry_after: None,
            in_clear: false,
        }
    }

    /// No retry can help: the job is dead at once.
    #[must_use]
    pub fn terminal(mut self) -> Self {
        self.terminal = true;
        self
    }

    /// When to try again, instead of when the policy says. It still uses an attempt.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// A short stable word to group failures by; `handler` unless set.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = code.into();
        self
    }

    pub(crate) fn in_clear(mut self) -> Self {
        self.in_clear = true;
        self
    }

    pub(crate) fn is_in_clear(&self) -> bool {
        self.in_clear
    }

    pub(crate) fn delay(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) fn into_error(self) -> JobError {
        JobError { message: self.message, code: self.code, terminal: self.terminal }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::new(message)
    }
}

/// Cuts at a character's edge.
pub(crate) fn shorten(mut message: String) -> String {
    if message.len() > MESSAGE_LIMIT {
        let end = (0..=MESSAGE_LIMIT).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_between_characters() {
        let long = format!("{}ä", "x".repeat(MESSAGE_LIMIT - 1));
        assert_eq!(shorten(long).chars().last(), Some('…'));
        assert_eq!(shorten("ä".to_owned()), "ä");
    }
}
