//! The queues whose consumer is known to exist.

use std::collections::HashSet;
use std::sync::RwLock;

use windlass_broker::provision::{self, ensure_queue};
use windlass_core::QueueName;

use crate::service::Shared;

/// Bounded by the layout's `max_queues`: no other is ever ensured.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    ensured: RwLock<HashSet<QueueName>>,
}

// === impl Queues ===

impl Queues {
    fn is_ensured(&self, queue: &QueueName) -> bool {
        self.ensured.read().is_ok_and(|ensured| ensured.contains(queue))
    }

    /// Makes the queue's consumer with its first task.
    pub(crate) async fn ensure(&self, shared: &Shared, queue: &QueueName) -> Result<(), provision::Error> {
        if self.is_ensured(queue) {
            return Ok(());
        }
        ensure_queue(&shared.broker, &shared.layout, queue).await?;
        if let Ok(mut ensured) = self.ensured.write() {
            ensured.insert(queue.clone());
        }
        Ok(())
    }
}
