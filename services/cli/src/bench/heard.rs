//! The ends of jobs heard as they are written, for queues that forget them soon.
//!
//! What is heard may have been refused. So the measurement ends when an end of every job was heard *and* neither a task
//! nor work of any is left: whatever takes work away has stored its end before.

use std::collections::HashMap;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use windlass_broker::jobs::{End, HeardEnds, Jobs};
use windlass_core::JobId;

use super::Error;
use super::records::{PATIENCE, Records, unread};
use super::stage::Stage;

/// Between two looks at what is left.
const POLL: std::time::Duration = std::time::Duration::from_millis(20);

/// Hears them from its making on.
pub(super) struct Heard {
    jobs: u64,
    hearing: JoinHandle<Vec<End>>,
}

// === impl Heard ===

impl Heard {
    /// Listens for the ends of so many jobs.
    pub(super) async fn listen(jobs: &Jobs, expected: u64) -> Result<Self, Error> {
        let mut ends = HeardEnds::listen(jobs)
            .await
            .map_err(|error| Error::Broker("asked for the ends of jobs", error))?;
        let hearing = tokio::spawn(async move {
            // The last that was heard of a job counts: one before it may have been refused.
            let mut heard = HashMap::<JobId, End>::new();
            while (heard.len() as u64) < expected {
                match timeout(PATIENCE, ends.next()).await {
                    Ok(Some(end)) => drop(heard.insert(end.job_id, end)),
                    Ok(None) | Err(_) => break,
                }
            }
            heard.into_values().collect()
        });
        Ok(Self { jobs: expected, hearing })
    }

    /// All of them, once nothing is left to be done.
    pub(super) async fn all(self, stage: &Stage) -> Result<Records, Error> {
        let Self { jobs, hearing } = self;
        let ends = hearing.await.unwrap_or_default();
        let since = Instant::now();
        loop {
            let (tasks, _) = stage.jobs.messages().await.map_err(unread)?;
            let ended = ends.len() as u64;
            if ended == jobs && tasks + stage.ready().await? == 0 {
                return Records::of(&ends, jobs);
            }
            if ended < jobs || since.elapsed() >= PATIENCE {
                return Err(Error::Unfinished { ended, jobs, waited: PATIENCE });
            }
            sleep(POLL).await;
        }
    }
}
