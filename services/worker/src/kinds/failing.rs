//! From a kind's error to what it means for the job.

use std::time::Duration;

use windlass::Failure;

/// An error of a kind.
pub(crate) trait Failing: std::error::Error {
    /// A short stable word to group failures by.
    fn code(&self) -> String;

    /// Whether another attempt cannot help.
    fn is_terminal(&self) -> bool;

    /// When to try again, if the error knows better than the retry policy.
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

/// The failure of the attempt: the error with its causes.
pub(crate) fn failure(error: impl Failing) -> Failure {
    let (code, terminal, retry_after) = (error.code(), error.is_terminal(), error.retry_after());
    let mut failure = Failure::from(error).code(code);
    if terminal {
        failure = failure.terminal();
    }
    match retry_after {
        Some(delay) => failure.retry_after(delay),
        None => failure,
    }
}
