//! Whether a queue has work.

use windlass_core::{QueueName, RecordKind};

use super::{Error, Jobs};

impl Jobs {
    /// Whether a job of this queue is ready: waits for a worker, or is with one.
    pub async fn has_work(&self, queue: &QueueName) -> Result<bool, Error> {
        let filter = self.broker.names().queue_filter(&self.pool, queue, RecordKind::Ready);
        Ok(self.last_under(&filter).await?.is_some())
    }
}
