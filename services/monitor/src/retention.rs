//! How long the database keeps what has ended.
//!
//! A round removes a piece, pauses, and goes on until nothing old is left; the next round begins a minute later. Stopped
//! anywhere, it has removed whole jobs. Jobs that have not ended are never removed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use windlass_core::JobState;
use windlass_service::Problems;

use crate::store::{Error, Store};

/// How long jobs are kept after their end, by how they ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Jobs that succeeded.
    #[serde(with = "humantime_serde")]
    pub succeeded: Duration,
    /// Jobs that are dead.
    #[serde(with = "humantime_serde")]
    pub dead: Duration,
    /// Jobs that were cancelled.
    #[serde(with = "humantime_serde")]
    pub cancelled: Duration,
    /// Jobs that expired.
    #[serde(with = "humantime_serde")]
    pub expired: Duration,
    /// What happened in each minute: figures for reports and charts, which outlive the jobs.
    #[serde(with = "humantime_serde")]
    pub figures: Duration,
    /// The log of actions.
    #[serde(with = "humantime_serde")]
    pub actions: Duration,
}

/// A late event of a job that was removed would make a part of it anew: events are told again for about the horizon.
const LEAST: Duration = Duration::from_hours(1);
const MOST: Duration = Duration::from_hours(24 * 3650);
/// Sums of five minutes are for charts of some hours.
const FIVES: Duration = Duration::from_hours(48);
const ROUND: Duration = Duration::from_mins(1);
/// Jobs in one transaction, some milliseconds.
const PIECE: u32 = 500;
/// Between two pieces: what is left to the projection.
const PAUSE: Duration = Duration::from_millis(50);

// === impl Retention ===

impl Default for Retention {
    fn default() -> Self {
        let days = |days: u64| Duration::from_hours(24 * days);
        Self {
            succeeded: days(7),
            dead: days(30),
            cancelled: days(7),
            expired: days(7),
            figures: days(90),
            actions: days(365),
        }
    }
}

impl Retention {
    pub(crate) fn validate(&self, problems: &mut Problems) {
        let all = [
            ("retention.succeeded", self.succeeded),
            ("retention.dead", self.dead),
            ("retention.cancelled", self.cancelled),
            ("retention.expired", self.expired),
            ("retention.figures", self.figures),
            ("retention.actions", self.actions),
        ];
        for (key, age) in all {
            if !(LEAST..=MOST).contains(&age) {
                problems.add(key, "expected a duration of 1h to 3650days");
            }
        }
    }

    /// Runs until stopped. A failure is tried again in the next round.
    pub(crate) async fn run(self, store: Store, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.round(&store, stop).await {
                metrics::counter!("windlass_monitor_retention_errors_total").increment(1);
                let error = format!("{:#}", anyhow::Error::new(error));
                tracing::warn!(error, "what is old could not be removed, trying again");
            }
            stop.run_until_cancelled(tokio::time::sleep(ROUND)).await;
        }
    }

    async fn round(&self, store: &Store, stop: &CancellationToken) -> Result<(), Error> {
        let now = Timestamp::now();
        let ages = [
            (JobState::Succeeded, self.succeeded),
            (JobState::Dead, self.dead),
            (JobState::Cancelled, self.cancelled),
            (JobState::Expired, self.expired),
        ];
        for (state, age) in ages {
            let removed = pieces(stop, || store.remove_ended(state, before(now, age), PIECE)).await?;
            if removed > 0 {
                metrics::counter!("windlass_monitor_removed_jobs_total", "state" => state.as_str())
                    .increment(u64::try_from(removed).unwrap_or_default());
                tracing::info!(%state, removed, "jobs were removed for their age");
            }
        }
        pieces(stop, || store.remove_remarks(before(now, self.dead), PIECE)).await?;
        pieces(stop, || store.remove_actions(before(now, self.actions), PIECE)).await?;
        let fives = before(now, self.figures.min(FIVES));
        pieces(stop, || store.remove_fives(fives, PIECE)).await?;
        pieces(stop, || store.remove_figures(before(now, self.figures), PIECE)).await.map(|_| ())
    }
}

/// Removes piece by piece until nothing is left.
async fn pieces<F>(stop: &CancellationToken, mut remove: impl FnMut() -> F) -> Result<usize, Error>
where
    F: Future<Output = Result<usize, Error>>,
{
    let mut all = 0;
    while !stop.is_cancelled() {
        let removed = remove().await?;
        all += removed;
        if removed == 0 {
            break;
        }
        stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
    Ok(all)
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
    now.checked_sub(age).unwrap_or(Timestamp::MIN)
}
