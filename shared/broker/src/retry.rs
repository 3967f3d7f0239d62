//! How long to wait before a call to the broker is tried again.
//!
//! The only user of the `backoff` crate, so that replacing it touches this file alone (see `deny.toml`).

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use tokio::time::Instant;

/// Growing, jittered waits until a deadline.
#[derive(Debug)]
pub struct Waits {
    policy: ExponentialBackoff,
    deadline: Instant,
}

// === impl Waits ===

impl Waits {
    /// From 20 ms to 1 s, until the deadline.
    pub fn until(deadline: Instant) -> Self {
        let policy = ExponentialBackoff {
            initial_interval: Duration::from_millis(20),
            current_interval: Duration::from_millis(20),
            max_interval: Duration::from_secs(1),
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self { policy, deadline }
    }

    /// What is left of the time.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits for the next try; false, at once, if the deadline falls before it.
    pub async fn wait(&mut self) -> bool {
        let Some(delay) = self.policy.next_backoff() else { return false };
        if delay >= self.left() {
            return false;
        }
        tokio::time::sleep(delay).await;
        true
    }
}
