//! Waiting until a fleet has nothing left to do.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use windlass::testing::EndedJob;
use windlass_broker::{events, tasks};
use windlass_core::{JobId, QueueName};

use crate::error::Error;
use crate::fleet::Fleet;
use crate::known::Key;

/// Nothing tells that a work queue is empty but looking.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// For the end of a job, which is there, and its result.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

// === impl Fleet ===

impl Fleet {
    /// Waits until no job is queued or running, those included that handlers submit meanwhile, and returns the jobs that
    /// have ended since the last drain (or the start), in the order of their ends. What waits for its time stays, and a
    /// task that is no valid one is no job.
    pub async fn drain(&self) -> Result<Vec<EndedJob>, Error> {
        let deadline = Instant::now() + self.patience();
        loop {
            let what = "no job is queued or running";
            let count = self
                .ear()
                .until(what, |known| known.busy(Timestamp::now()).is_empty().then_some(known.events.len()))
                .await?;
            // What these jobs submitted was published before they ended, so a look that begins now finds it. Only if it
            // finds nothing new is there nothing.
            self.settle().await?;
            let is_calm = self
                .ear()
                .look(|known| known.busy(Timestamp::now()).is_empty() && known.events.len() == count);
            if is_calm {
                break;
            }
            if Instant::now() > deadline {
                return Err(self.ear().timed_out(what));
            }
        }
        let ended = self.ear().look(|known| known.ended.clone());
        let told = self.drained().swap(ended.len(), Ordering::Relaxed);
        let mut jobs = Vec::new();
        for key in ended.iter().skip(told) {
            jobs.push(self.read_end(key).await?);
        }
        Ok(jobs)
    }

    /// Waits for the end of a job, also one that has come already, as long as it is remembered (the worker's option
    /// `horizon`).
    pub async fn ended(&self, queue: &QueueName, id: JobId) -> Result<EndedJob, Error> {
        let key = (queue.clone(), id);
        let what = format!("the end of job {id} of the queue {queue}");
        self.ear().until(&what, |known| known.ended.contains(&key).then_some(())).await?;
        self.read_end(&key).await
    }

    /// Waits until all that was submitted so far is admitted, and what was said of it heard.
    pub(crate) async fn settle(&self) -> Result<(), Error> {
        let deadline = Instant::now() + self.patience();
        while tasks::oldest(self.broker()).await?.is_some() {
            if Instant::now() > deadline {
                return Err(self.ear().timed_out("the dispatcher admits every task"));
            }
            sleep(LOOK_AGAIN).await;
        }
        let last = events::extent(self.broker()).await?.last_sequence;
        self.ear().until("every event is read", |known| (known.read >= last).then_some(())).await
    }

    async fn read_end(&self, key: &Key) -> Result<EndedJob, Error> {
        let (queue, id) = key.clone();
        let Some(done) = self.jobs().read(&queue, id).await?.done else {
            return Err(Error::Forgotten { id });
        };
        let ended = self.client().wait_in(self.jobs().pool(), &queue, id, READ_TIMEOUT).await?;
        Ok(EndedJob {
            queue,
            id,
            kind: done.kind,
            state: ended.state,
            result: ended.result,
            error: ended.error,
            attempts: done.attempts,
        })
    }
}
