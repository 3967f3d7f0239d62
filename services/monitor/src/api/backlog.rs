//! What stands in all queues together.

use crate::store::QueueCounts;

/// Jobs of all queues that have not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Backlog {
    pub(super) ready: u64,
    pub(super) deferred: u64,
    pub(super) held: u64,
    pub(super) running: u64,
    /// How long the oldest that could run has waited.
    pub(super) oldest_seconds: Option<f64>,
}

// === impl Backlog ===

impl Backlog {
    pub(super) fn of(queues: &[QueueCounts]) -> Self {
        let count = |name: &str| queues.iter().filter_map(|queue| queue.counts.get(name)).sum::<u64>();
        let oldest = queues.iter().filter_map(|queue| queue.oldest_queued_age_seconds);
        Self {
            ready: count("queued"),
            deferred: count("scheduled") + count("retrying"),
            held: count("held"),
            running: count("running"),
            oldest_seconds: oldest.reduce(f64::max),
        }
    }
}
