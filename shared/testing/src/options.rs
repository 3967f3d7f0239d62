//! How a fleet of a test runs.

use std::time::Duration;

use windlass::worker;
use windlass_broker::provision::Layout;
use windlass_core::PoolName;

/// How a fleet of a test runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Of its worker: queues, slots, retry policy, keys, and all else as in production.
    pub worker: worker::Options,
    /// How long each wait of the fleet lasts at most.
    pub patience: Duration,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self { worker: worker::Options::default(), patience: Duration::from_secs(30) }
    }
}

impl Options {
    /// The streams that this worker and its dispatcher need.
    pub(crate) fn layout(&self) -> Layout {
        let (pool, queues) = (self.worker.pool.clone(), self.worker.queues.clone());
        let layout = Layout { horizon: self.worker.horizon, ..Layout::default() };
        if pool == PoolName::default() {
            Layout { queues, ..layout }
        } else {
            Layout { pools: [(pool, queues)].into(), ..layout }
        }
    }
}
