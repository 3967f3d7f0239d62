//! How long a task is waited for that others name, and for how many tasks at one time.
//!
//! A task that names an unknown job stays in the window of what the broker delivers without an acknowledgement. Were that
//! full of such tasks, no other would be admitted: not even those that they wait for.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::JobId;

/// How long a dependency may be published later than the job that waits for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Looks before the last one, after which a task is refused: with the delays between them, no less than the patience.
const LOOKS: u64 = 8;
/// Before the first of them.
const SOON: Duration = Duration::from_millis(250);
/// Between two of the later ones.
const LATER: Duration = Duration::from_secs(8);
/// One that does not come again after its delay is another dispatcher's.
const GRACE: Duration = Duration::from_secs(2);
/// Tasks that wait here at one time: the windows of a few dispatchers fit into that of the broker
/// (`windlass_broker::provision`).
pub(super) const MOST: usize = 2000;

/// What becomes of a task that names an unknown job.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is looked at again after this.
    Again(Duration),
    /// It has waited for long enough.
    TooLate,
    /// Too many others wait.
    TooMany,
}

/// The tasks that are waited with, and until when each is believed to come again here.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    waiting: Mutex<HashMap<JobId, Instant>>,
}

// === impl Patience ===

impl Patience {
    /// Of a task that is delivered for this time, and was published this long ago.
    pub(super) fn wait(&self, job_id: JobId, delivery: u64, age: Duration, now: Instant) -> Verdict {
        // In looks too: after an outage the task that it waits for may be admitted only now.
        if delivery > LOOKS && age > PATIENCE {
            self.forget(job_id);
            return Verdict::TooLate;
        }
        let delay = delay(delivery);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MOST && !waiting.contains_key(&job_id) {
            waiting.retain(|_, until| *until > now);
            if waiting.len() >= MOST {
                return Verdict::TooMany;
            }
        }
        waiting.insert(job_id, now + delay + GRACE);
        Verdict::Again(delay)
    }

    /// A task that is waited with no longer.
    pub(super) fn forget(&self, job_id: JobId) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&job_id);
    }
}

fn delay(delivery: u64) -> Duration {
    let doublings = u32::try_from(delivery.saturating_sub(1)).unwrap_or(u32::MAX);
    2_u32.checked_pow(doublings).map_or(LATER, |times| SOON.saturating_mul(times).min(LATER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> JobId {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.to_be_bytes());
        JobId::from_parts(jiff::Timestamp::UNIX_EPOCH, random)
    }

    #[test]
    fn the_looks_before_the_last_take_no_less_than_the_patience() {
        let all: Duration = (1..=LOOKS).map(delay).sum();
        assert!(all >= PATIENCE, "{all:?}");
        assert!(delay(1) < Duration::from_secs(1), "what was published together is found at once");
        assert_eq!(delay(u64::MAX), LATER);
    }

    #[test]
    fn a_task_is_refused_after_its_last_look_and_no_sooner() {
        let (patience, id, now) = (Patience::default(), id(0), Instant::now());
        let long = PATIENCE * 10;
        for delivery in 1..=LOOKS {
            assert_eq!(patience.wait(id, delivery, long, now), Verdict::Again(delay(delivery)));
        }
        assert_eq!(patience.wait(id, LOOKS + 1, PATIENCE / 2, now), Verdict::Again(LATER), "too young");
        assert_eq!(patience.wait(id, LOOKS + 1, long, now), Verdict::TooLate);
    }

    #[test]
    fn only_so_many_wait_at_one_time() {
        let (patience, now) = (Patience::default(), Instant::now());
        let waiting: Vec<JobId> = (1..=MOST).map(id).collect();
        for id in &waiting {
            assert!(matches!(patience.wait(*id, 1, Duration::ZERO, now), Verdict::Again(_)));
        }
        let one_more = id(0);
        assert_eq!(patience.wait(one_more, 1, Duration::ZERO, now), Verdict::TooMany);
        assert!(matches!(patience.wait(waiting[0], 2, SOON, now), Verdict::Again(_)), "it waits already");
        patience.forget(waiting[1]);
        assert!(matches!(patience.wait(one_more, 1, Duration::ZERO, now), Verdict::Again(_)));
        // The others were not heard of again.
        let later = now + SOON + GRACE;
        assert!(matches!(patience.wait(id(MOST + 1), 1, Duration::ZERO, later), Verdict::Again(_)));
    }
}
