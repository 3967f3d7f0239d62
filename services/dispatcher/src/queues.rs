//! The queues whose consumer is known to exist, and looking after them: somebody may remove one, and then its work
//! would lie there, asked for by nobody.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_broker::provision::{self, Layout, ensure_queue};
use windlass_broker::{Broker, consumers, jobs};
use windlass_core::QueueName;

use crate::shared::Shared;

/// How long that is believed.
const BELIEVED: Duration = Duration::from_secs(60);
/// Between two looks at all that are known.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Between two of them within a look, so that a thousand are not felt.
const PACE: Duration = Duration::from_millis(20);

/// Bounded by the layout's `max_queues`: no other is ever ensured.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    known: RwLock<HashMap<QueueName, Known>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    ensured_at: Instant,
    /// It was there at the last look.
    exists: bool,
}

// === impl Queues ===

impl Queues {
    /// Whether there is nothing to do. Of those who find that it was long ago, the first is told so and the others go on
    /// believing it: else all tasks on their way would ask at once.
    fn is_ensured(&self, queue: &QueueName, now: Instant) -> bool {
        let is_believed = |known: &Known| known.exists && now.duration_since(known.ensured_at) < BELIEVED;
        if self.read().get(queue).is_some_and(is_believed) {
            return true;
        }
        match self.write().get_mut(queue) {
            Some(known) if is_believed(known) => true,
            Some(known) => {
                known.ensured_at = now;
                false
            }
            None => false,
        }
    }

    /// Makes the queue's consumer with its first task.
    pub(crate) async fn ensure(
        &self,
        broker: &Broker,
        layout: &Layout,
        queue: &QueueName,
    ) -> Result<(), provision::Error> {
        if self.is_ensured(queue, Instant::now()) {
            return Ok(());
        }
        let ensured = Box::pin(ensure_queue(broker, layout, queue)).await;
        let mut known = self.write();
        if ensured.is_ok() {
            known.insert(queue.clone(), Known { ensured_at: Instant::now(), exists: true });
        } else if let Some(known) = known.get_mut(queue) {
            known.exists = false;
        }
        ensured
    }

    /// Looks again and again whether the consumers of the known queues are there, and makes those anew for which work
    /// waits.
    pub(crate) async fn look_after(&self, shared: &Shared) {
        let now = Instant::now();
        for pool in shared.layout.all_pools() {
            for queue in shared.layout.queues_of(&pool) {
                // Believed by nobody; but looked at from now on.
                self.write().entry(queue.clone()).or_insert(Known { ensured_at: now, exists: false });
            }
        }
        loop {
            let known: Vec<_> = self.read().keys().cloned().collect();
            for queue in known {
                if let Err(error) = self.look_at(shared, &queue).await {
                    tracing::warn!(%queue, error = format!("{error:#}"), "a queue's consumer could not be looked at");
                }
                sleep(PACE).await;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn look_at(&self, shared: &Shared, queue: &QueueName) -> anyhow::Result<()> {
        let jobs = shared.jobs(queue);
        let consumer = shared.broker.names().worker_consumer(queue);
        if consumers::settled(&shared.broker, jobs.stream(), &consumer).await?.is_some() {
            return Ok(());
        }
        // In this order: from here on the next task makes it.
        if let Some(known) = self.write().get_mut(queue) {
            known.exists = false;
        }
        let waits = match jobs.has_work(queue).await {
            Err(jobs::Error::Malformed { .. }) => true,
            other => other?,
        };
        if waits {
            tracing::warn!(%queue, "the queue's consumer is gone, and work waits; making it anew");
            self.ensure(&shared.broker, &shared.layout, queue).await?;
            metrics::counter!("windlass_reconciled_total", "found" => "consumer").increment(1);
        } else if !shared.layout.queues_of(&shared.layout.pool_of(queue)).contains(queue) {
            // A queue that is not used any more. Not at once: a job may be on its way that was made in good faith.
            let mut known = self.write();
            known.retain(|name, known| name != queue || known.ensured_at.elapsed() < BELIEVED * 2);
        }
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<QueueName, Known>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<QueueName, Known>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_ensured_long_ago_is_asked_for_once() {
        let (queues, queue, now) = (Queues::default(), QueueName::default(), Instant::now());
        assert!(!queues.is_ensured(&queue, now));
        queues.write().insert(queue.clone(), Known { ensured_at: now, exists: true });
        assert!(queues.is_ensured(&queue, now));
        let later = now + BELIEVED;
        assert!(!queues.is_ensured(&queue, later), "long ago");
        assert!(queues.is_ensured(&queue, later), "asked for by the first");
        queues.write().insert(queue.clone(), Known { ensured_at: later, exists: false });
        assert!(!queues.is_ensured(&queue, later) && !queues.is_ensured(&queue, later), "it is gone");
    }
}
