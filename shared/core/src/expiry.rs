//! The time that a job may wait for its first attempt.

use std::time::Duration;

use jiff::Timestamp;

use crate::Attempt;

/// The instant past which a job that has had no attempt expires; none if it may wait for ever.
///
/// The wait is counted from the instant at which the job may run. Only the first attempt has to begin in time: a job
/// that ran and waits again, for a retry or after a crash, has its attempts and its retry policy to bound it.
pub fn expires_at(due_at: Timestamp, max_wait: Option<Duration>) -> Option<Timestamp> {
    max_wait.map(|wait| due_at.saturating_add(wait).unwrap_or(Timestamp::MAX))
}

/// Whether a job has waited longer than it may.
pub fn is_expired(
    attempts: &[Attempt],
    due_at: Timestamp,
    max_wait: Option<Duration>,
    now: Timestamp,
) -> bool {
    attempts.is_empty() && expires_at(due_at, max_wait).is_some_and(|at| now >= at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    #[test]
    fn only_the_first_attempt_has_to_begin_in_time() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let wait = Some(Duration::from_secs(10));
        let attempt = Attempt {
            number: 1,
            worker: String::new(),
            started_at: None,
            ended_at: at(5),
            outcome: Outcome::Crashed,
            error: None,
            alone: false,
            failure: 0,
        };
        for (attempts, wait, now, expected) in [
            (&[][..], wait, 109, false),
            (&[][..], wait, 110, true),
            (&[][..], None, i64::from(u32::MAX), false),
            (&[attempt][..], wait, 1000, false),
        ] {
            assert_eq!(is_expired(attempts, at(100), wait, at(now)), expected, "{now}");
        }
        assert_eq!(expires_at(Timestamp::MAX, wait), Some(Timestamp::MAX));
    }
}
