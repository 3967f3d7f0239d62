//! When jobs are to be submitted.

use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Whenever there is room, or by a plan.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// Whenever there is room.
    AsAccepted,
    /// So many a second, whatever becomes of those before: who comes late has waited since their instant.
    Rate(f64),
}

/// A plan that has begun: job `n`, from 0, is due `n / rate` seconds after its begin.
///
/// A thread of its own keeps it. The runtime's timers are late by up to a millisecond, which is as long as a job waits.
#[derive(Debug)]
pub(super) struct Plan {
    rate: f64,
    /// How many are due.
    due: watch::Receiver<u64>,
}

/// At high rates several are due at once rather than a thread busy with its clock.
const LEAST_PAUSE: Duration = Duration::from_micros(200);

// === impl Plan ===

impl Plan {
    /// Begins now, for so many jobs.
    pub(super) fn begin(rate: f64, jobs: u64) -> Self {
        let (telling, due) = watch::channel(0);
        let begun = Instant::now();
        thread::spawn(move || {
            for number in 0..jobs {
                let left = instant(rate, number).saturating_sub(begun.elapsed());
                if left.is_zero() && number + 1 < jobs {
                    continue;
                }
                // Those before it have been due since.
                if telling.send(number).is_err() {
                    return;
                }
                thread::sleep(left.max(LEAST_PAUSE));
            }
            let _ = telling.send(jobs);
        });
        Self { rate, due }
    }

    /// How long after the begin it is due.
    pub(super) fn instant(&self, number: u64) -> Duration {
        instant(self.rate, number)
    }

    /// Waits until it is due. Cancel-safe.
    pub(super) async fn reached(&mut self, number: u64) {
        // Without the thread all are due: it has told so before it ended.
        let _ = self.due.wait_for(|due| *due > number).await;
    }
}

fn instant(rate: f64, number: u64) -> Duration {
    Duration::from_secs_f64(number as f64 / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn none_is_due_before_its_instant_and_all_are_in_the_end() {
        let begun = Instant::now();
        let mut plan = Plan::begin(2000.0, 20);
        for number in 0..20 {
            plan.reached(number).await;
            assert!(begun.elapsed() >= plan.instant(number), "{number}");
        }
    }
}
