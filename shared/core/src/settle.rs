//! What follows an attempt.

use std::time::Duration;

use jiff::Timestamp;

use crate::JobId;
use crate::attempt::{Attempt, crashes, crashes_alone, failures};
use crate::retry::{RetryPolicy, unit};

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
    /// The next attempt would begin later than the policy allows.
    DeadlineExceeded,
    /// The handler said that no retry can help.
    TerminalError,
    /// It lost its worker too often while it ran alone.
    CrashLoop,
    /// No worker of its queue has a handler for it.
    UnknownKind,
    /// Its message was delivered as often as its consumer allows, and is delivered no more.
    MaxDeliveries,
    /// A job that it waited for did not succeed.
    Dependency,
}

/// After so many crashes a job runs with no neighbour in its process, so that the next one tells who caused it.
pub const CRASHES_AMONG_OTHERS: usize = 2;
/// How often a job may lose its worker while it runs alone before it is dead.
pub const MAX_CRASHES_ALONE: usize = 3;

/// A failed attempt, with what decides about the next.
#[derive(Debug, Clone, Copy)]
pub struct Failed<'a> {
    /// Which.
    pub job_id: JobId,
    /// All of them, the one that just failed included.
    pub attempts: &'a [Attempt],
    /// The handler said that no retry can help.
    pub terminal: bool,
    /// The handler's wish: replaces the policy's delay, never its count.
    pub retry_after: Option<Duration>,
    /// Since the job was accepted.
    pub elapsed: Duration,
}

/// What follows a failure.
pub fn after_failure(policy: &RetryPolicy, failed: &Failed<'_>) -> AfterFailure {
    if failed.terminal {
        return AfterFailure::Dead(DeadCause::TerminalError);
    }
    let failures = failures(failed.attempts);
    let Some(delay) = policy.delay(failures, unit(failed.job_id, failures)) else {
        return AfterFailure::Dead(DeadCause::AttemptsExhausted);
    };
    let delay = failed.retry_after.unwrap_or(delay);
    if policy.max_elapsed().is_some_and(|most| failed.elapsed.saturating_add(delay) > most) {
        return AfterFailure::Dead(DeadCause::DeadlineExceeded);
    }
    AfterFailure::Retry(delay)
}

/// Whether a job runs next with no neighbour in its process. A crash among others tells nothing of who caused it: the
/// neighbours of a job that kills its worker are crashed as often as it is.
pub fn runs_alone(attempts: &[Attempt]) -> bool {
    crashes(attempts) >= CRASHES_AMONG_OTHERS
}

/// Whether a job has lost its worker too often to run again. Only what happened while it ran alone counts.
pub fn is_crash_loop(attempts: &[Attempt]) -> bool {
    crashes_alone(attempts) >= MAX_CRASHES_ALONE
}

// === impl DeadCause ===

impl DeadCause {
    /// The stable word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::TerminalError => "terminal_error",
            Self::CrashLoop => "crash_loop",
            Self::UnknownKind => "unknown_kind",
            Self::MaxDeliveries => "max_deliveries",
            Self::Dependency => "dependency",
        }
    }
}

/// After so long a job that a worker knows no handler for is given to the next.
pub const UNKNOWN_KIND_DELAY: Duration = Duration::from_secs(5);

/// How a job was handed on because nobody who was given it has a handler for its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandedOn {
    /// How often it was delivered before.
    pub times: u64,
    /// Since when nobody knew its kind.
    pub since: Timestamp,
}

impl HandedOn {
    /// Whether that was enough: never before the patience has passed. Nor by time alone: one that waited while no worker
    /// was there must still meet those that are.
    pub fn is_enough(self, now: Timestamp, patience: Duration) -> bool {
        let times = u32::try_from(self.times).unwrap_or(u32::MAX);
        let waited = now.duration_since(self.since);
        !waited.is_negative()
            && waited.unsigned_abs() >= patience
            && UNKNOWN_KIND_DELAY.saturating_mul(times) >= patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::retry::Parts;
    use proptest::prelude::*;

    fn attempt(number: u32, outcome: Outcome) -> Attempt {
        Attempt {
            number,
            worker: "w".into(),
            started_at: None,
            ended_at: Timestamp::UNIX_EPOCH,
            outcome,
            error: None,
            alone: false,
            failure: 0,
        }
    }

    fn failed(attempts: &[Attempt]) -> Failed<'_> {
        let job_id = JobId::from_parts(Timestamp::UNIX_EPOCH, [0; 10]);
        Failed { job_id, attempts, terminal: false, retry_after: None, elapsed: Duration::ZERO }
    }

    proptest! {
        #[test]
        fn failed_attempts_never_exceed_the_policy(
            max in 1u32..300,
            fates in proptest::collection::vec(
                prop_oneof![
                    Just(Outcome::Failed), Just(Outcome::TimedOut), Just(Outcome::Crashed), Just(Outcome::HandedBack)
                ],
                1..400,
            ),
        ) {
            let policy = RetryPolicy::default().with_max_attempts(max).unwrap();
            let mut attempts = Vec::new();
            for outcome in fates {
                let number = crate::attempt::next_number(&attempts);
                crate::attempt::push_bounded(&mut attempts, attempt(number, outcome));
                // A crash or a hand-back is followed by another attempt without asking.
                if outcome.counts() && after_failure(&policy, &failed(&attempts))
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
        let (wish, failed) = (Duration::from_secs(77), failed(&attempts));
        let failed = Failed { retry_after: Some(wish), ..failed };
        assert_eq!(after_failure(&policy, &failed), AfterFailure::Retry(wish));
        let failed = Failed { terminal: true, ..failed };
        assert_eq!(after_failure(&policy, &failed), AfterFailure::Dead(DeadCause::TerminalError));
    }

    #[test]
    fn no_attempt_begins_after_the_deadline() {
        let parts =
            Parts { max_elapsed_seconds: Some(100.0), delays_seconds: vec![10.0], ..Parts::default() };
        let policy: RetryPolicy = Parts { jitter: 0.0, ..parts }.try_into().unwrap();
        let attempts = [attempt(1, Outcome::Failed)];
        let after = |seconds| {
            after_failure(&policy, &Failed { elapsed: Duration::from_secs(seconds), ..failed(&attempts) })
        };
        assert_eq!(after(90), AfterFailure::Retry(Duration::from_secs(10)));
        assert_eq!(after(91), AfterFailure::Dead(DeadCause::DeadlineExceeded));
    }

    #[test]
    fn an_unknown_kind_has_all_of_the_patience() {
        let since = Timestamp::from_second(100).unwrap();
        for (times, second, expected) in [
            (1, 106, false),
            // Delivered more often than every 5 s, as by workers that stop.
            (9, 107, false),
            (2, 108, true),
            // Nobody was there meanwhile.
            (1, 900, false),
            (u64::MAX, 90, false),
        ] {
            let now = Timestamp::from_second(second).unwrap();
            let enough = HandedOn { times, since }.is_enough(now, Duration::from_secs(8));
            assert_eq!(enough, expected, "{times} times, at {second}");
        }
    }
}
