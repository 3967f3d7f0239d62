//! Forgetting the ends of a queue before their time (`windlass_core::forgetting`).

use serde_json::json;
use windlass_core::forgetting::{Place, Settled};
use windlass_core::{QueueName, RecordKind};

use super::{CALL_TIMEOUT, Error, Jobs};
use crate::connect;
use crate::consumers;
use crate::stream_state::stream_state;

#[derive(serde::Deserialize)]
struct Purged {
    purged: u64,
}

// === impl Jobs ===

impl Jobs {
    /// How far the streams have come, and up to where TASKS and COMMANDS are empty; what is settled of the queues' work is
    /// not looked at, and said to be nothing.
    pub async fn place(&self) -> Result<(Place, Settled), Error> {
        let names = self.broker.names();
        let state = async |stream: String| {
            let state = stream_state(&self.broker, &stream, CALL_TIMEOUT).await;
            state.map_err(|source| Error::Broker { stream, source })
        };
        // In this order: what made a job was stored before the job.
        let jobs = state(self.stream.clone()).await?;
        let tasks = state(names.tasks_stream()).await?;
        let commands = state(names.commands_stream()).await?;
        let place = Place { jobs: jobs.last_seq, tasks: tasks.last_seq, commands: commands.last_seq };
        Ok((place, Settled { work: 0, tasks: tasks.empty_up_to(), commands: commands.empty_up_to() }))
    }

    /// The sequence up to which all work of a queue is settled; 0 where that is not known, or where any waits for the
    /// queue's owner, as it does when limits were lifted a moment ago.
    pub async fn settled(&self, queue: &QueueName) -> Result<u64, Error> {
        let (broker, names) = (&self.broker, self.broker.names());
        let failed = |source: connect::Error| Error::Broker { stream: self.stream.clone(), source };
        if !consumers::is_idle(broker, &self.stream, &names.flow_consumer(queue)).await.map_err(failed)? {
            return Ok(0);
        }
        let settled = consumers::settled(broker, &self.stream, &names.worker_consumer(queue)).await;
        Ok(settled.map_err(failed)?.unwrap_or(0))
    }

    /// Removes the ends of a queue's jobs up to this sequence, and before them the claims of those jobs that were left:
    /// without its end, such a job would look as if it ran. How many ends.
    pub async fn forget_ends(&self, queue: &QueueName, up_to: u64) -> Result<u64, Error> {
        let filter = |record| self.broker.names().queue_filter(&self.pool, queue, record);
        self.purge(&filter(RecordKind::Claim), up_to).await?;
        self.purge(&filter(RecordKind::Done), up_to).await
    }

    /// Removes what stands under a filter up to this sequence; how many messages.
    pub(crate) async fn purge(&self, filter: &str, up_to: u64) -> Result<u64, Error> {
        // The bound is the first that stays; 0 would be none.
        let request = json!({ "filter": filter, "seq": up_to.saturating_add(1) });
        let call = format!("STREAM.PURGE.{}", self.stream);
        let purged = self.broker.api::<Purged>(&call, &request, CALL_TIMEOUT).await;
        purged
            .map(|purged| purged.purged)
            .map_err(|source| Error::Broker { stream: self.stream.clone(), source })
    }
}
