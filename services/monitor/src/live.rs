//! What changes, told to whoever looks on while it happens.
//!
//! Told once and never waited for: a reader that does not keep up is told that it missed something, and asks again.
//! Nothing is prepared while nobody looks on.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{self, WeakSender};
use utoipa::ToSchema;
use windlass_core::history::{JobView, state_at};
use windlass_core::{JobId, JobState};

use crate::api::schema::JobStateSchema;

/// Batches that a slow reader may be behind: some seconds.
const BEHIND: usize = 64;

/// Who tells; once it is gone, nobody is told anything more.
#[derive(Debug, Clone)]
pub struct Teller(broadcast::Sender<Arc<Vec<JobChange>>>);

/// Where one may look on.
#[derive(Debug, Clone)]
pub struct Live(WeakSender<Arc<Vec<JobChange>>>);

/// A job that changed, as it stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobChange {
    /// Of the job.
    #[schema(value_type = String, format = "uuid")]
    pub id: JobId,
    /// Where it waits or waited.
    pub queue: String,
    /// Its kind.
    pub kind: String,
    /// Where it stands.
    #[schema(value_type = JobStateSchema)]
    pub state: JobState,
    /// How many executions there were.
    pub attempt_count: usize,
    /// When it ended; null while it lives.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
}

// === impl Teller ===

impl Teller {
    /// Nobody looks on yet.
    pub fn new() -> Self {
        Self(broadcast::Sender::new(BEHIND))
    }

    /// Where one may look on.
    pub fn live(&self) -> Live {
        Live(self.0.downgrade())
    }

    /// Tells of jobs that changed.
    pub fn tell(&self, jobs: &[JobView]) {
        if self.0.receiver_count() == 0 || jobs.is_empty() {
            return;
        }
        let now = Timestamp::now();
        let change = |job: &JobView| JobChange {
            id: job.id,
            queue: job.queue.clone(),
            kind: job.kind.clone(),
            state: state_at(job.state, job.due_at, now),
            attempt_count: job.attempts.len(),
            ended_at: job.ended_at,
        };
        // The last reader may have gone away meanwhile.
        let _ = self.0.send(Arc::new(jobs.iter().map(change).collect()));
    }
}

impl Default for Teller {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Live ===

impl Live {
    /// Looks on from now on; none if nothing is told any more.
    pub fn look(&self) -> Option<broadcast::Receiver<Arc<Vec<JobChange>>>> {
        Some(self.0.upgrade()?.subscribe())
    }
}
