//! What clients submitted, and what they were told.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use windlass_core::audit::{self, JobKey};
use windlass_core::{JobState, RetryPolicy};

use super::load::Order;
use super::seed::Seed;

/// Everything that was submitted; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    submissions: Vec<audit::Submission>,
    orders: Vec<Order>,
}

// === impl Ledger ===

impl Ledger {
    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job that may be submitted again from now on.
    pub(super) fn ordered(&self, order: &Order) {
        self.lock().orders.push(order.clone());
    }

    /// Before it is sent: what is not on record would be a phantom. Returns its number.
    pub(super) fn submitted(&self, order: &Order) -> usize {
        let submissions = &mut self.lock().submissions;
        submissions.push(audit::Submission {
            job: order.job.clone(),
            at: Timestamp::now(),
            acknowledged: false,
            expected: order.expected,
            max_attempts: order.retry.as_ref().map(RetryPolicy::max_attempts),
            key: order.key.as_ref().or(order.unique.as_ref()).cloned(),
        });
        submissions.len() - 1
    }

    pub(super) fn acknowledged_now(&self, number: usize) {
        if let Some(submission) = self.lock().submissions.get_mut(number) {
            submission.acknowledged = true;
            submission.at = Timestamp::now();
        }
    }

    /// What is known of a job that no client submitted, but a schedule.
    pub(super) fn scheduled(&self, job: JobKey, at: Timestamp, acknowledged: bool) {
        let expected = Some(JobState::Succeeded);
        self.lock().submissions.push(audit::Submission {
            job,
            at,
            acknowledged,
            expected,
            max_attempts: None,
            key: None,
        });
    }

    pub(super) fn submissions(&self) -> Vec<audit::Submission> {
        self.lock().submissions.clone()
    }

    /// The jobs that must end.
    pub(super) fn acknowledged(&self) -> Vec<JobKey> {
        let submissions = &self.lock().submissions;
        let mut jobs: Vec<_> = submissions.iter().filter(|s| s.acknowledged).map(|s| s.job.clone()).collect();
        jobs.sort();
        jobs.dedup();
        jobs
    }

    /// Some jobs that a client may submit again without options.
    pub(super) fn some(&self, seed: &mut Seed, count: usize) -> Vec<Order> {
        let entries = self.lock();
        let plain: Vec<_> = entries.orders.iter().filter(|order| order.is_plain()).collect();
        (0..count).filter_map(|_| seed.pick(&plain).map(|order| (*order).clone())).collect()
    }
}
