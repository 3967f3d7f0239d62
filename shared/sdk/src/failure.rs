//! How a handler says that it did not succeed, and what is to follow.

use std::fmt;
use std::time::Duration;

use windlass_core::JobError;

/// Why a handler did not succeed, and what follows.
///
/// Any error becomes one by `?`, and then means "try again as the retry policy says". What else it can mean:
///
/// | made by | the job | uses an attempt |
/// |---|---|---|
/// | `?`, [`Failure::new`] | runs again as its retry policy says, or is dead | yes |
/// | [`Failure::retry_after`] | runs again after this delay, or is dead | yes |
/// | [`Failure::terminal`] | is dead | yes |
/// | [`Failure::snooze`] | runs again after this delay | no |
/// | [`Failure::throttled`] | runs again after this delay, and so does all of its key | no |
/// | [`Failure::cancel`] | ends as cancelled | no |
///
/// It does not implement `Error` itself, so that the conversion can be general (as in `anyhow`).
#[derive(Debug, Clone)]
pub struct Failure {
    message: String,
    code: String,
    follows: Follows,
    /// Ours: tells nothing of a payload, and is not sealed.
    in_clear: bool,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// Another attempt, as the retry policy says.
    Retry,
    /// Another attempt after this delay, as often as the retry policy says.
    RetryAfter(Duration),
    /// The job is dead: no retry can help.
    Death,
    /// Another attempt after this delay; this one is not counted.
    Snooze(Duration),
    /// The same, and nothing of its key starts before.
    Throttle(Duration),
    /// The job ends as cancelled.
    Cancellation,
}

/// The longest message that is kept, in bytes: histories travel with their jobs.
const MESSAGE_LIMIT: usize = 4096;
/// The longest time for which a handler may slow others down.
const LONGEST_THROTTLE: Duration = Duration::from_hours(24);
/// The longest code, in bytes.
const CODE_LIMIT: usize = 64;
/// The longest delay: what is meant to be for ever is a failure.
const LONGEST_DELAY: Duration = Duration::from_secs(366 * 86_400);

// === impl Failure ===

impl Failure {
    /// A failure that another attempt may mend.
    pub fn new(message: impl fmt::Display) -> Self {
        Self::following(Follows::Retry, "handler", shorten(message.to_string()))
    }

    /// Not now: run again after this delay, of at most 366 days. Uses no attempt, however often.
    pub fn snooze(delay: Duration) -> Self {
        Self::following(Follows::Snooze(delay.min(LONGEST_DELAY)), "snoozed", String::new())
    }

    /// Somebody else sets the pace, as a service that answers 429: run again after this delay, of at most a day, and let
    /// no job of the same key start before, on any worker; of the same queue, where jobs have no key. Uses no attempt.
    /// Where the queue is not under flow control, it is a snooze.
    pub fn throttled(delay: Duration) -> Self {
        Self::following(Follows::Throttle(delay.min(LONGEST_THROTTLE)), "throttled", String::new())
    }

    /// There is nothing to do any more: the job ends as cancelled, for this reason.
    pub fn cancel(reason: impl fmt::Display) -> Self {
        Self::following(Follows::Cancellation, "cancelled", shorten(reason.to_string()))
    }

    fn following(follows: Follows, code: &str, message: String) -> Self {
        Self { message, code: code.to_owned(), follows, in_clear: false }
    }

    /// No retry can help: the job is dead at once.
    #[must_use]
    pub fn terminal(mut self) -> Self {
        self.follows = Follows::Death;
        self
    }

    /// When to try again, instead of when the policy says; at most 366 days later. It still uses an attempt.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.follows = Follows::RetryAfter(delay.min(LONGEST_DELAY));
        self
    }

    /// A short stable word to group failures by; `handler` unless set. Of a longer one the first 64 bytes count, and
    /// what is not to be printed is left out.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        let code: String = code.into();
        let printable = code.trim().chars().filter(|c| !c.is_control());
        let mut kept = String::new();
        for c in printable.take(CODE_LIMIT) {
            if kept.len() + c.len_utf8() > CODE_LIMIT {
                break;
            }
            kept.push(c);
        }
        if !kept.is_empty() {
            self.code = kept;
        }
        self
    }

    /// What follows.
    pub fn follows(&self) -> Follows {
        self.follows
    }

    /// For people.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn in_clear(mut self) -> Self {
        self.in_clear = true;
        self
    }

    pub(crate) fn is_in_clear(&self) -> bool {
        self.in_clear
    }

    pub(crate) fn into_error(self) -> JobError {
        let terminal = matches!(self.follows, Follows::Death | Follows::Cancellation);
        JobError { message: self.message, code: self.code, terminal }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(chain(&error))
    }
}

/// What an error says, and each of its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
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

    /// A code of two megabytes made a record that no broker took, and a job whose worker seemed to be lost.
    #[test]
    fn codes_and_delays_are_bounded() {
        let code = |code: &str| Failure::new("x").code(code).into_error().code;
        assert_eq!(code("card_declined"), "card_declined");
        assert_eq!(code(&"ä".repeat(1_000_000)), "ä".repeat(32));
        assert_eq!(code(" a\nb\u{1b}[1m "), "ab[1m");
        assert_eq!(code("\n"), "handler");
        let year = Follows::Snooze(LONGEST_DELAY);
        assert_eq!(Failure::snooze(Duration::MAX).follows(), year);
        let later = Failure::new("x").retry_after(Duration::MAX).follows();
        assert_eq!(later, Follows::RetryAfter(LONGEST_DELAY));
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        let long = format!("{}ä", "x".repeat(MESSAGE_LIMIT - 1));
        assert_eq!(shorten(long).chars().last(), Some('…'));
        assert_eq!(shorten("ä".to_owned()), "ä");
    }
}
