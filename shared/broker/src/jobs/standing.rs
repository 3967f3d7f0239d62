//! Which jobs of a queue have not ended, by what their stream holds: for audits. Told by the stream's leader, with no
//! message read.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use windlass_core::{JobId, QueueName, RecordKind};

use super::{Error, Jobs};

/// For each call: a part of many names takes a while.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// What jobs that have not ended stand under. A claim stands beside the message that it claims, or alone.
const LIVE: [RecordKind; 5] =
    [RecordKind::Later, RecordKind::Held, RecordKind::Due, RecordKind::Ready, RecordKind::Claim];

#[derive(serde::Deserialize)]
struct Listed {
    /// Of the subjects that match, over all parts of the answer.
    #[serde(default)]
    total: usize,
    state: Subjects,
}

#[derive(serde::Deserialize)]
struct Subjects {
    #[serde(default)]
    subjects: Option<BTreeMap<String, u64>>,
}

impl Jobs {
    /// How many messages of jobs that have not ended a queue has, but for claims. Work that is left of a job that
    /// has ended counts too, until it is removed.
    pub async fn count_standing(&self, queue: &QueueName) -> Result<usize, Error> {
        let mut count = 0;
        // Claims stand beside what they claim.
        for record in LIVE.into_iter().filter(|record| *record != RecordKind::Claim) {
            // Beyond all of them: the answer has their number, and none of their names.
            count += self.list(queue, record, usize::try_from(i32::MAX).unwrap_or_default()).await?.total;
        }
        Ok(count)
    }

    /// Strikes out those of these jobs that have such a message, or a claim: page by page, so however many there are.
    /// While jobs move, one may be overlooked.
    pub async fn strike_out(&self, queue: &QueueName, jobs: &mut HashSet<JobId>) -> Result<(), Error> {
        for record in LIVE {
            let mut offset = 0;
            while !jobs.is_empty() {
                let Listed { total, state } = self.list(queue, record, offset).await?;
                let subjects = state.subjects.unwrap_or_default();
                for subject in subjects.keys() {
                    if let Some(job) = self.broker.names().parse_job_subject(subject) {
                        jobs.remove(&job.job_id);
                    }
                }
                offset += subjects.len();
                if subjects.is_empty() || offset >= total {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn list(&self, queue: &QueueName, record: RecordKind, offset: usize) -> Result<Listed, Error> {
        let filter = self.broker.names().queue_filter(&self.pool, queue, record);
        let request = serde_json::json!({ "subjects_filter": filter, "offset": offset });
        let call = format!("STREAM.INFO.{}", self.stream);
        self.broker.api(&call, &request, CALL_TIMEOUT).await.map_err(|source| self.failed(source))
    }
}
