//! What a job is to do.

use bytes::Bytes;
use windlass_core::protocol::Kind;
use windlass_core::{JobId, QueueName, Task};
use windlass_proto::RecordBody;

use super::{Error, Jobs};

impl Jobs {
    /// The task of a job that has not ended; none of another. A read, and one more of a job that was claimed.
    pub async fn task(&self, queue: &QueueName, job_id: JobId) -> Result<Option<Task<Bytes>>, Error> {
        let filter = self.broker.names().job_filter(&self.pool, queue, job_id);
        let Some(last) = self.last_under(&filter).await? else { return Ok(None) };
        let body = match last.record.kind {
            // It says whose turn it is, and its work message what to do.
            Kind::Claim { work } => self.at(work).await?.map(|work| work.body),
            _ => Some(last.body),
        };
        Ok(match body {
            Some(RecordBody::Job(job)) => Some(job.task),
            _ => None,
        })
    }
}
