//! The conservation audit: every job that was accepted has ended, or stands in a stream.
//!
//! The database knows what was accepted and what has ended; the streams know what stands. Of each queue the counts are
//! compared first. Where the database knows more jobs that live than stand in the stream, or a while has passed, they
//! are compared one by one. A job that is missing then is a suspect only: it may have ended meanwhile. So the audit
//! waits until the database has all that was told before it looked, asks for the job once more, and asks the stream's
//! leader for any message of it, its end included. What has none is lost, and is named.
//!
//! Nothing here moves a job. A round that fails, or is stopped, is made again.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_broker::jobs::Jobs;
use windlass_broker::{Broker, events, jobs, locate};
use windlass_core::{JobId, QueueName};

use crate::progress::Progress;
use crate::store::{self, Store, Totals};

/// About so many jobs are compared one by one at a time; of a queue with more, a part of its jobs, and the others in the
/// next rounds.
pub(crate) const COMPARED: u64 = 200_000;
/// A bound to what is held in memory of them: some 20 MB.
const MOST_COMPARED: usize = 400_000;
/// Fewer are asked for one after the other, without a list of all.
const FEW: usize = 200;
/// So many suspects are looked at in a round; others in the next.
const MOST_SUSPECTS: usize = 5000;
/// A queue whose counts agree is compared after this all the same, and later if it is long: work that is left of a job
/// that ended would hide the loss of another.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// For the database to have what was told.
const CATCH_UP: Duration = Duration::from_secs(20);

/// What is audited, and how far it is.
pub(crate) struct Audit {
    pub(crate) broker: Broker,
    pub(crate) store: Store,
    pub(crate) progress: watch::Receiver<Progress>,
    /// Between two rounds; jobs that were accepted later than that are left to the next.
    pub(crate) every: Duration,
    /// About so many jobs are compared one by one at a time: [`COMPARED`].
    pub(crate) compared: u64,
    pub(crate) audited: watch::Sender<Audited>,
}

/// What the latest round found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audited {
    /// When it ended; none before the first.
    pub at: Option<Timestamp>,
    /// Why the latest round came to no end; none if it did.
    pub failure: Option<String>,
    /// How many jobs that have not ended stand in the streams, by queue, where that was counted.
    pub standing: BTreeMap<String, u64>,
}

/// What was compared of a queue.
#[derive(Debug, Clone, Copy, Default)]
struct Swept {
    /// Last.
    at: Option<Instant>,
    /// So many parts, one after the other.
    parts: u64,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the database cannot be asked")]
    Store(#[from] store::Error),
    #[error("the streams cannot be asked")]
    Jobs(#[from] jobs::Error),
    #[error("the stream of events cannot be asked")]
    Events(#[from] events::Error),
    #[error("the database is behind with the events: it was not audited")]
    Behind,
}

// === impl Audit ===

impl Audit {
    /// Runs until stopped.
    pub(crate) async fn run(self, stop: &CancellationToken) {
        let mut swept = BTreeMap::<QueueName, Swept>::new();
        while !stop.is_cancelled() {
            stop.run_until_cancelled(tokio::time::sleep(self.every)).await;
            match stop.run_until_cancelled(self.round(&mut swept)).await {
                None => break,
                Some(Ok(standing)) => self.audited.send_modify(|audited| {
                    *audited = Audited { at: Some(Timestamp::now()), failure: None, standing };
                }),
                Some(Err(error)) => {
                    metrics::counter!("windlass_monitor_audit_errors_total").increment(1);
                    let failure = format!("{:#}", anyhow::Error::new(error));
                    tracing::debug!(failure, "the audit comes to no end, trying again");
                    self.audited.send_modify(|audited| audited.failure = Some(failure));
                }
            }
        }
    }

    async fn round(&self, swept: &mut BTreeMap<QueueName, Swept>) -> Result<BTreeMap<String, u64>, Error> {
        self.resolve().await?;
        let mut standing = BTreeMap::new();
        for (queue, Totals { live, .. }) in self.store.totals().await? {
            let before = swept.entry(queue.clone()).or_default();
            if live == 0 {
                before.at = Some(Instant::now());
                standing.insert(queue.to_string(), 0);
                continue;
            }
            let jobs = Jobs::new(&self.broker, locate::serving(&self.broker, &queue).await?);
            let counted = u64::try_from(jobs.count_standing(&queue).await?).unwrap_or(u64::MAX);
            standing.insert(queue.to_string(), counted);
            let patience = SWEEP_EVERY * u32::try_from(1 + live / 100_000).unwrap_or(u32::MAX);
            let is_due = before.at.is_none_or(|at| at.elapsed() >= patience);
            if live > counted || is_due {
                let parts = live.div_ceil(self.compared.max(1)).max(1);
                self.sweep(&jobs, &queue, (before.parts % parts, parts)).await?;
                *before = Swept { at: Some(Instant::now()), parts: before.parts + 1 };
            }
        }
        let lost = self.store.count_lost().await?;
        for queue in standing.keys() {
            let count = lost.get(queue).copied().unwrap_or_default();
            #[allow(clippy::cast_precision_loss, reason = "a gauge is for people")]
            metrics::gauge!("windlass_monitor_lost_jobs", "queue" => queue.clone()).set(count as f64);
        }
        Ok(standing)
    }

    /// Compares the jobs of a queue one by one: one part of so many.
    async fn sweep(&self, jobs: &Jobs, queue: &QueueName, part: (u64, u64)) -> Result<(), Error> {
        let age = SignedDuration::try_from(self.every).unwrap_or(SignedDuration::ZERO);
        let before = Timestamp::now().checked_sub(age).unwrap_or(Timestamp::MIN);
        let mut suspects = self.store.live(queue, before, part, MOST_COMPARED).await?;
        if suspects.len() > FEW {
            jobs.strike_out(queue, &mut suspects).await?;
        }
        if suspects.is_empty() {
            return Ok(());
        }
        self.catch_up().await?;
        let mut lost = Vec::new();
        for id in suspects.into_iter().take(MOST_SUSPECTS) {
            if self.store.lives(queue, id).await? && !self.stands(queue, id).await? {
                lost.push(id);
            }
        }
        for job_id in self.store.record_lost(queue, &lost, Timestamp::now()).await? {
            metrics::counter!("windlass_monitor_lost_jobs_total").increment(1);
            tracing::error!(%queue, %job_id, "a job is lost: it has not ended, and no message of it is left");
        }
        Ok(())
    }

    /// Waits until the database has every event that stands in the stream by now.
    async fn catch_up(&self) -> Result<(), Error> {
        let told = events::extent(&self.broker).await?.last_sequence;
        let mut progress = self.progress.clone();
        let has_all = |progress: &Progress| {
            let (last, lag) = (progress.last_sequence.unwrap_or_default(), progress.lag.unwrap_or(u64::MAX));
            // With holes below the highest, more are missing than lie above it.
            progress.processed_sequence >= told && lag <= last.saturating_sub(progress.processed_sequence)
        };
        match tokio::time::timeout(CATCH_UP, progress.wait_for(has_all)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Error::Behind),
        }
    }

    /// Whether any message of a job is left, its end included.
    async fn stands(&self, queue: &QueueName, id: JobId) -> Result<bool, Error> {
        Ok(!locate::places(&self.broker, Some(queue), id).await?.is_empty())
    }

    /// Looks whether what was lost is so still.
    async fn resolve(&self) -> Result<(), Error> {
        for lost in self.store.lost(true, u32::try_from(FEW).unwrap_or_default()).await? {
            let Ok(queue) = lost.queue.parse::<QueueName>() else { continue };
            if !self.store.lives(&queue, lost.id).await? || self.stands(&queue, lost.id).await? {
                self.store.resolve_lost(&queue, lost.id, Timestamp::now()).await?;
                tracing::info!(%queue, job_id = %lost.id, "a job that was lost has ended, or is there again");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
