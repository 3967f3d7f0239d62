//! What became of the jobs, by the records of their ends.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use windlass_broker::jobs::{self, End, Jobs};
use windlass_core::{JobId, JobState};

use super::Error;
use super::report::Percentiles;
use crate::dev::screen::Screen;

/// The ends of all jobs.
#[derive(Debug)]
pub(super) struct Records(Vec<End>);

/// Between two counts: each costs the broker a walk over all subjects.
const FIRST_POLL: Duration = Duration::from_millis(100);
const LONGEST_POLL: Duration = Duration::from_secs(1);

// === impl Records ===

impl Records {
    /// Waits until so many jobs have ended, and reads their records. All must have succeeded.
    pub(super) async fn wait(
        jobs: &Jobs,
        expected: u64,
        limit: Duration,
        screen: &Screen,
    ) -> Result<Self, Error> {
        let deadline = Instant::now() + limit;
        let mut pause = FIRST_POLL;
        loop {
            let ended = jobs.count_ends().await.map_err(unread)?;
            screen.progress(ended, expected);
            if ended >= expected {
                break;
            }
            if Instant::now() >= deadline {
                return Err(Error::Unfinished { ended, jobs: expected, waited: limit });
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_POLL);
        }
        let records = Self(jobs.ends().await.map_err(unread)?);
        let mut others = records.0.iter().filter(|end| end.done.state != JobState::Succeeded);
        if let Some(first) = others.next() {
            let first = first.done.error.as_ref().map_or_else(
                || first.done.state.to_string(),
                |error| format!("{}: {}", error.code, error.message),
            );
            return Err(Error::Failed { count: others.count() + 1, jobs: expected, first });
        }
        Ok(records)
    }

    /// When the broker stored the last of them.
    pub(super) fn last_at(&self) -> Timestamp {
        self.0.iter().map(|end| end.stored_at).max().unwrap_or_default()
    }

    /// From the instant that is known of a job, or its acceptance, to the start of its last attempt.
    pub(super) fn waits(&self, since: &HashMap<JobId, Timestamp>) -> Percentiles {
        Percentiles::of(
            self.0
                .iter()
                .filter_map(|end| {
                    let from = since.get(&end.job_id).copied().unwrap_or(end.done.accepted_at);
                    Some(between(from, started_at(end)?))
                })
                .collect(),
        )
    }

    /// From this instant to the start of each.
    pub(super) fn lateness(&self, due_at: Timestamp) -> Percentiles {
        Percentiles::of(self.0.iter().filter_map(|end| Some(between(due_at, started_at(end)?))).collect())
    }

    /// How long the last attempts took.
    pub(super) fn runs(&self) -> Percentiles {
        Percentiles::of(
            self.0
                .iter()
                .filter_map(|end| {
                    let attempt = end.done.attempts.last()?;
                    Some(between(attempt.started_at?, attempt.ended_at))
                })
                .collect(),
        )
    }
}

fn started_at(end: &End) -> Option<Timestamp> {
    end.done.attempts.last()?.started_at
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

fn unread(error: jobs::Error) -> Error {
    match error {
        jobs::Error::Broker { source, .. } => Error::Broker("asked for the ends of jobs", source),
        other => Error::Records(other),
    }
}
