//! The clock of a fleet: the real one, and what the test has moved it on by.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use windlass_broker::commands::{self, Command, Verb};
use windlass_core::{JobId, RecordKind};
use windlass_proto::RecordBody;

use crate::error::Error;
use crate::fleet::Fleet;
use crate::known::Key;

/// How far the clock has been moved, and when.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// Real instants, each with all that the clock was moved by until then.
    moves: Vec<(Timestamp, SignedDuration)>,
}

// === impl Clock ===

impl Clock {
    fn moved_until(&self, instant: Timestamp) -> SignedDuration {
        self.moves.iter().rev().find(|(at, _)| *at <= instant).map_or(SignedDuration::ZERO, |(_, by)| *by)
    }

    fn advance(&mut self, now: Timestamp, by: Duration) {
        let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        self.moves.push((now, self.moved_until(now).saturating_add(by)));
    }

    fn now(&self, real: Timestamp) -> Timestamp {
        real.saturating_add(self.moved_until(real)).unwrap_or(Timestamp::MAX)
    }

    /// Whether a wait that began at one instant, and ends at another by the real clock, is over by this one. What the
    /// clock was moved by before it began is no part of it.
    fn is_over(&self, began_at: Timestamp, due_at: Timestamp, real: Timestamp) -> bool {
        let moved = self.moved_until(real).saturating_sub(self.moved_until(began_at));
        due_at <= real.saturating_add(moved).unwrap_or(Timestamp::MAX)
    }
}

// === impl Fleet ===

impl Fleet {
    /// What the fleet's clock shows: the real time, and all that [`Fleet::advance`] moved it on by.
    pub fn now(&self) -> Timestamp {
        self.clock().now(Timestamp::now())
    }

    /// Moves the clock on, and lets every job run at once whose wait is over by it; returns these jobs.
    ///
    /// It ends waits: of a task with a delay or an instant, of a retry (also one that its handler asked for), of a
    /// snooze. A wait counts from when it began: after an advance by an hour, a delay of ten minutes takes ten minutes
    /// or another advance. The instant of `run_at` is read against the real clock.
    ///
    /// It moves nothing else: the time limit of an attempt, leases, the bound of a retry policy on the time since the
    /// acceptance, expiry (`max_wait`) and the horizon go by the real clock; schedules need a scheduler, which a fleet
    /// of a test does not have. Nor do histories and handlers see the moved time.
    ///
    /// What was submitted before has its effect: this waits until the dispatcher has admitted it. A retry is there once
    /// it was heard ([`Fleet::heard`]), or after [`Fleet::drain`].
    pub async fn advance(&self, by: Duration) -> Result<Vec<JobId>, Error> {
        self.settle().await?;
        self.clock().advance(Timestamp::now(), by);
        let waits_over = self.waits_over().await?;
        for (queue, job_id) in &waits_over {
            let command = Command {
                queue,
                verb: Verb::Release,
                job_id: *job_id,
                reason: "the clock was moved on",
                requested_by: "testing",
                dead_at: None,
            };
            commands::publish(self.broker(), command).await?;
        }
        let what = "every job whose wait is over runs, or is queued";
        let still_waits = |key: &Key, known: &crate::known::Known| {
            known.state(key, Timestamp::now()).is_some_and(|state| {
                matches!(state, windlass::JobState::Scheduled | windlass::JobState::Retrying)
            })
        };
        self.ear()
            .until(what, |known| waits_over.iter().all(|key| !still_waits(key, known)).then_some(()))
            .await?;
        Ok(waits_over.into_iter().map(|(_, job_id)| job_id).collect())
    }

    /// The jobs whose timers would have fired by the fleet's clock, the longest overdue first.
    async fn waits_over(&self) -> Result<Vec<Key>, Error> {
        let (mut over, mut from) = (Vec::new(), 0);
        while let Some(found) = self.jobs().next(RecordKind::Later, from).await? {
            from = found.record.sequence + 1;
            let RecordBody::Job(job) = &found.body else { continue };
            let is_over = self.clock().is_over(found.stored_at, job.due_at, Timestamp::now());
            if is_over {
                over.push((job.due_at, (found.address.queue.clone(), found.address.job_id)));
            }
        }
        over.sort();
        Ok(over.into_iter().map(|(_, key)| key).collect())
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;

    #[test]
    fn a_wait_counts_from_when_it_began() {
        let start = Timestamp::UNIX_EPOCH;
        let minute = |minutes: i64| start + minutes.minutes();
        let mut clock = Clock::default();
        let check = |clock: &Clock, began, due, real, expected| {
            assert_eq!(
                clock.is_over(minute(began), minute(due), minute(real)),
                expected,
                "{began} {due} {real}"
            );
        };
        check(&clock, 0, 60, 59, false);
        check(&clock, 0, 60, 60, true);
        clock.advance(minute(1), Duration::from_mins(58));
        assert_eq!(clock.now(minute(1)), minute(59));
        check(&clock, 0, 60, 1, false);
        check(&clock, 0, 60, 2, true);
        // Begun after the move, which is no part of it.
        check(&clock, 2, 12, 3, false);
        clock.advance(minute(3), Duration::from_mins(9));
        check(&clock, 2, 12, 3, true);
        check(&clock, 3, 13, 3, false);
        // Both moves are part of one that began before them.
        check(&clock, 0, 70, 3, true);
        check(&clock, 0, 71, 3, false);
    }
}
