//! How far a queue's owner goes ahead of the workers, where no limit says how many jobs may run.

use std::time::Duration;

use tokio::time::Instant;
use windlass_broker::flow::Flow;
use windlass_core::flow::{QueueSettings, Window};

/// Between two looks at what the workers do, while the window is full.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The window of a queue without a limit.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) window: Window,
    /// Since the last look as many were let go as may be.
    pub(super) full: bool,
    look_at: Instant,
}

// === impl Ahead ===

impl Ahead {
    /// None where there is a limit, or no turns.
    pub(super) fn of(settings: &QueueSettings) -> Option<Self> {
        let is_free = settings.concurrency.is_none() && settings.has_turn_stage();
        is_free.then(|| Self { window: Window::default(), full: false, look_at: Instant::now() })
    }

    /// When it is to be looked again; none while nobody waits for it.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.full.then(|| self.look_at.saturating_duration_since(Instant::now()))
    }

    /// Looks at what the workers do, if it is time. What cannot be read changes nothing.
    pub(super) async fn look(&mut self, flow: &Flow) {
        if !self.full || Instant::now() < self.look_at {
            return;
        }
        match flow.delivered().await {
            Ok(Some(found)) => self.window.observe(found.out, found.pending, true),
            // No worker's consumer: nothing is taken.
            Ok(None) => self.window.observe(0, 1, true),
            Err(error) => {
                tracing::debug!(queue = %flow.queue(), %error, "what the workers do is not known");
            }
        }
        (self.full, self.look_at) = (false, Instant::now() + LOOK_EVERY);
    }
}
