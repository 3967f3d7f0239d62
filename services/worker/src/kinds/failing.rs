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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the outer")]
    struct Outer {
        terminal: bool,
        retry_after: Option<Duration>,
        source: std::fmt::Error,
    }

    impl Failing for Outer {
        fn code(&self) -> String {
            "a_code".to_owned()
        }

        fn is_terminal(&self) -> bool {
            self.terminal
        }

        fn retry_after(&self) -> Option<Duration> {
            self.retry_after
        }
    }

    #[test]
    fn everything_is_passed_on() {
        let source = std::fmt::Error;
        let message = format!("the outer: {source}");
        let failed = |terminal, retry_after| failure(Outer { terminal, retry_after, source });
        let wait = Duration::from_secs(7);
        // A failure shows itself in no other way.
        let same = |found: Failure, wanted: Failure| assert_eq!(format!("{found:?}"), format!("{wanted:?}"));
        same(failed(false, None), Failure::new(&message).code("a_code"));
        same(failed(true, None), Failure::new(&message).code("a_code").terminal());
        same(failed(false, Some(wait)), Failure::new(&message).code("a_code").retry_after(wait));
    }
}
