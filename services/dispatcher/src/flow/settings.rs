//! The settings of queues as this dispatcher knows them: all of them read before it admits anything, and followed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_broker::Broker;
use windlass_broker::queues::{Error, QueueStore, Stored};
use windlass_core::flow::QueueSettings;
use windlass_core::{InvalidTask, QueueName, RecordKind, Task};

/// Before the bucket is read again.
const AGAIN: Duration = Duration::from_secs(1);

type All = HashMap<QueueName, Known>;

/// What is set for a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) settings: Arc<QueueSettings>,
    pub(crate) revision: u64,
}

/// What is set for queues; one that was never set is not there.
#[derive(Debug)]
pub(crate) struct Settings {
    all: watch::Sender<Arc<All>>,
}

impl From<Stored> for Known {
    fn from(stored: Stored) -> Self {
        Self { settings: Arc::new(stored.change.settings), revision: stored.revision }
    }
}

// === impl Settings ===

impl Settings {
    /// What stands there now.
    pub(crate) async fn read(broker: &Broker) -> Result<Self, Error> {
        let stored = QueueStore::new(broker).list().await?;
        let all = stored.into_iter().map(|one| (one.queue.clone(), Known::from(one))).collect();
        Ok(Self { all: watch::Sender::new(Arc::new(all)) })
    }

    /// As a job enters a queue, or comes back to it: for the workers, or for the queue's owner.
    pub(crate) fn entrance(&self, queue: &QueueName) -> RecordKind {
        let all = self.all.borrow();
        let controlled = all.get(queue).is_some_and(|known| known.settings.is_controlled());
        if controlled { RecordKind::Due } else { RecordKind::Ready }
    }

    /// Whether anything was ever set for a queue, so that it has an owner.
    pub(crate) fn knows(&self, queue: &QueueName) -> bool {
        self.all.borrow().contains_key(queue)
    }

    /// What is set for a queue; the defaults if nothing is.
    pub(crate) fn of(&self, queue: &QueueName) -> Arc<QueueSettings> {
        self.all.borrow().get(queue).map(|known| Arc::clone(&known.settings)).unwrap_or_default()
    }

    /// What is wrong with a task under the settings of its queue.
    pub(crate) fn check<P>(&self, queue: &QueueName, task: &Task<P>) -> Result<(), InvalidTask> {
        let all = self.all.borrow();
        let Some(Known { settings, .. }) = all.get(queue) else { return Ok(()) };
        let key_rate = settings.key_rate.filter(|_| task.key.is_some());
        for rate in settings.rate.into_iter().chain(key_rate) {
            rate.check_points(task.points).map_err(|error| InvalidTask::new("points", error.to_string()))?;
        }
        Ok(())
    }

    /// What is set for queues, now and from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<All>> {
        self.all.subscribe()
    }

    /// Follows every change, until told to stop.
    pub(crate) async fn follow(&self, broker: &Broker, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let followed = stop.run_until_cancelled(self.changes(broker)).await;
            if let Some(Err(error)) = followed {
                tracing::warn!(%error, "the settings of queues are not followed at the moment; trying again");
            }
            stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await;
        }
    }

    async fn changes(&self, broker: &Broker) -> Result<(), Error> {
        let mut changes = QueueStore::new(broker).watch().await?;
        while let Some(change) = changes.next().await {
            let (key, stored) = match change {
                Ok(change) => change,
                // What held before goes on to hold.
                Err(error @ Error::Malformed { .. }) => {
                    tracing::error!(error = %anyhow::Error::new(error), "the settings of a queue cannot be read");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Ok(queue) = key.parse::<QueueName>() else { continue };
            let known = stored.map(Known::from).unwrap_or_default();
            self.all.send_if_modified(|all| {
                if all.get(&queue) == Some(&known) {
                    return false;
                }
                tracing::info!(%queue, revision = known.revision, "the settings of a queue were changed");
                Arc::make_mut(all).insert(queue, known);
                true
            });
        }
        Ok(())
    }
}
