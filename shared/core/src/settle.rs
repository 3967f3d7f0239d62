//! What follows an attempt.

use std::time::Duration;

use crate::attempt::{Attempt, crashes, failures};
use crate::retry::RetryPolicy;

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// Another attempt, after this long.
    Retry(Duration),
    /// None.
    Dead(DeadCause),
}

/// Why a job failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeadCause {
    /// The policy allows no further attempt.
    AttemptsExhausted,
    /// The handler said that no retry can help.
    TerminalError,
    /// It lost its worker too often.
    CrashLoop,
    /// No worker of its queue has a handler for it.
    UnknownKind,
}

/// How often a job may lose its worker before it is taken for the cause.
pub const MAX_CRASHES: u32 = 10;

/// What follows a failure, the attempts including the one that just failed. `retry_after` is the handler's wish and
/// replaces the policy's delay, never its count; `unit` is uniform in `0.0..1.0`.
pub fn after_failure(
    policy: &RetryPolicy,
    attempts: &[Attempt],
    terminal: bool,
    retry_after: Option<Duration>,
    unit: f64,
) -> AfterFailure {
    if terminal {
        return AfterFailure::Dead(DeadCause::TerminalError);
    }
    match policy.delay(failures(attempts), unit) {
        None => AfterFailure::Dead(DeadCause::AttemptsExhausted),
        Some(delay) => AfterFailure::Retry(retry_after.unwrap_or(delay)),
    }
}

/// Whether a job has lost its worker too often to run again.
pub fn is_crash_loop(attempts: &[Attempt]) -> bool {
    crashes(attempts) >= MAX_CRASHES
}

// === impl DeadCause ===

impl DeadCause {
    /// The stable word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::TerminalError => "terminal_error",
            Self::CrashLoop => "crash_loop",
            Self::UnknownKind => "unknown_kind",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn attempt(number: u32, outcome: Outcome) -> Attempt {
        Attempt {
            number,
            worker: "w".into(),
            started_at: None,
            ended_at: Timestamp::UNIX_EPOCH,
            outcome,
            error: None,
        }
    }

    proptest! {
        #[test]
        fn failed_attempts_never_exceed_the_policy(
            max in 1u32..20,
            fates in proptest::collection::vec(
                prop_oneof![
                    Just(Outcome::Failed), Just(Outcome::TimedOut), Just(Outcome::Crashed), Just(Outcome::HandedBack)
                ],
                1..60,
            ),
        ) {
            let policy = RetryPolicy::default().with_max_attempts(max).unwrap();
            let mut attempts = Vec::new();
            for outcome in fates {
                let number = crate::attempt::next_number(&attempts);
                crate::attempt::push_bounded(&mut attempts, attempt(number, outcome));
                // A crash or a hand-back is followed by another attempt without asking.
                if outcome.counts() && after_failure(&policy, &attempts, false, None, 0.5)
                    == AfterFailure::Dead(DeadCause::AttemptsExhausted)
                {
                    break;
                }
            }
            prop_assert!(failures(&attempts) <= max);
        }
    }

    #[test]
    fn a_terminal_error_ends_at_once() {
        let policy = RetryPolicy::default();
        let attempts = [attempt(1, Outcome::Failed)];
        assert_eq!(
            after_failure(&policy, &attempts, true, Some(Duration::ZERO), 0.5),
            AfterFailure::Dead(DeadCause::TerminalError)
        );
        let wish = Duration::from_secs(77);
        assert_eq!(after_failure(&policy, &attempts, false, Some(wish), 0.5), AfterFailure::Retry(wish));
    }
}
