//! The queues whose consumer is known to exist.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;
use windlass_broker::Broker;
use windlass_broker::provision::{self, Layout, ensure_queue};
use windlass_core::QueueName;

/// How long that is believed: somebody may delete one.
const BELIEVED: Duration = Duration::from_secs(60);

/// Bounded by the layout's `max_queues`: no other is ever ensured.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    ensured: RwLock<HashMap<QueueName, Instant>>,
}

// === impl Queues ===

impl Queues {
    fn is_ensured(&self, queue: &QueueName) -> bool {
        let ensured = self.ensured.read().unwrap_or_else(PoisonError::into_inner);
        ensured.get(queue).is_some_and(|at| at.elapsed() < BELIEVED)
    }

    /// Makes the queue's consumer with its first task.
    pub(crate) async fn ensure(
        &self,
        broker: &Broker,
        layout: &Layout,
        queue: &QueueName,
    ) -> Result<(), provision::Error> {
        if self.is_ensured(queue) {
            return Ok(());
        }
        ensure_queue(broker, layout, queue).await?;
        let mut ensured = self.ensured.write().unwrap_or_else(PoisonError::into_inner);
        ensured.insert(queue.clone(), Instant::now());
        Ok(())
    }
}
