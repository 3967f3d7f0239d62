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
#[derive(Debug, Default)]
pub(super) struct Records(Vec<Row>);

/// What is kept of an end: there may be millions.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) job_id: JobId,
    pub(super) accepted_at: Timestamp,
    /// When the broker stored it.
    pub(super) stored_at: Timestamp,
    /// Those before the last one, which most jobs have none of.
    pub(super) before: Box<[Attempt]>,
    pub(super) last: Attempt,
}

/// An attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    /// Where it is known.
    pub(super) started_at: Option<Timestamp>,
    pub(super) ended_at: Timestamp,
}

/// Between two looks at how many messages there are.
const POLL: Duration = Duration::from_millis(50);
/// Between two counts of ends where that does not tell: each is a walk over all subjects, which the broker's streams wait
/// for, and the measurement with them.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// Without another end: something is wrong.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);

// === impl Records ===

impl Records {
    /// Waits until so many jobs have ended, and reads their records. All must have succeeded. The wait ends when no
    /// further job has for this long.
    pub(super) async fn wait(
        jobs: &Jobs,
        expected: u64,
        patience: Duration,
        screen: &Screen,
    ) -> Result<Self, Error> {
        Self::ended(jobs, expected, patience, screen).await?;
        Self::read(jobs, expected).await
    }

    /// The same, without reading them: whoever counts CPU does so in between.
    pub(super) async fn ended(
        jobs: &Jobs,
        expected: u64,
        patience: Duration,
        screen: &Screen,
    ) -> Result<(), Error> {
        let (mut most, mut since, mut counted_at) = (0, Instant::now(), Instant::now());
        loop {
            // With no task left and one message for each job, these are the ends, or nothing has begun yet.
            let may_be_all = jobs.messages().await.map_err(unread)? == (0, expected);
            if may_be_all || counted_at.elapsed() >= COUNT_EVERY {
                let ended = jobs.count_ends().await.map_err(unread)?;
                counted_at = Instant::now();
                screen.progress(ended, expected);
                if ended >= expected {
                    return Ok(());
                }
                if ended > most {
                    (most, since) = (ended, Instant::now());
                } else if since.elapsed() >= patience {
                    return Err(Error::Unfinished { ended, jobs: expected, waited: patience });
                }
            }
            sleep(POLL).await;
        }
    }

    /// Reads them.
    pub(super) async fn read(jobs: &Jobs, expected: u64) -> Result<Self, Error> {
        let (mut rows, mut failed, mut first) = (Vec::new(), 0, String::new());
        jobs.ends(|end| {
            if end.done.state != JobState::Succeeded {
                failed += 1;
                if failed == 1 {
                    first = words(&end);
                }
            }
            rows.extend(Row::of(&end));
        })
        .await
        .map_err(unread)?;
        if failed > 0 {
            return Err(Error::Failed { count: failed, jobs: expected, first });
        }
        let read = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        if read < expected {
            // Each has been counted: they went away before they were read.
            return Err(Error::Expired { read, jobs: expected });
        }
        Ok(Self(rows))
    }

    /// These, of so many jobs. All must have succeeded.
    pub(super) fn of(ends: &[End], expected: u64) -> Result<Self, Error> {
        let mut failed = ends.iter().filter(|end| end.done.state != JobState::Succeeded).peekable();
        if let Some(first) = failed.peek().map(|end| words(end)) {
            return Err(Error::Failed { count: failed.count(), jobs: expected, first });
        }
        Ok(Self(ends.iter().filter_map(Row::of).collect()))
    }

    /// All of them.
    pub(super) fn rows(&self) -> &[Row] {
        &self.0
    }

    /// One of them, and all others.
    pub(super) fn without(mut self, job_id: JobId) -> (Option<Row>, Self) {
        let at = self.0.iter().position(|row| row.job_id == job_id);
        (at.map(|at| self.0.swap_remove(at)), self)
    }

    /// When the broker stored the last of them.
    pub(super) fn last_at(&self) -> Timestamp {
        self.0.iter().map(|row| row.stored_at).max().unwrap_or_default()
    }

    /// When the first job's last attempt ended.
    pub(super) fn first_at(&self) -> Timestamp {
        self.0.iter().map(|row| row.last.ended_at).min().unwrap_or_default()
    }

    /// From the instant that is known of a job, or its acceptance, to the start of its last attempt.
    pub(super) fn waits(&self, since: &HashMap<JobId, Timestamp>) -> Percentiles {
        let wait = |row: &Row| {
            let from = since.get(&row.job_id).copied().unwrap_or(row.accepted_at);
            Some(between(from, row.last.started_at?))
        };
        Percentiles::of(self.0.iter().filter_map(wait).collect())
    }

    /// From the instant at which each is due to its start; of those only of which that is told.
    pub(super) fn lateness(&self, due_at: impl Fn(&Row) -> Option<Timestamp>) -> Percentiles {
        let late = |row: &Row| Some(between(due_at(row)?, row.last.started_at?));
        Percentiles::of(self.0.iter().filter_map(late).collect())
    }

    /// How much later than this long after the end of the attempt before it each further attempt started.
    pub(super) fn retries(&self, delay: Duration) -> Vec<Duration> {
        let of_row = |row: &Row| {
            let next = row.before.iter().skip(1).copied().chain([row.last]).collect::<Vec<_>>();
            let late = |(before, next): (&Attempt, Attempt)| {
                Some(between(before.ended_at, next.started_at?).saturating_sub(delay))
            };
            row.before.iter().zip(next).filter_map(late).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of_row).collect()
    }

    /// How long the last attempts took.
    pub(super) fn runs(&self) -> Percentiles {
        let run = |row: &Row| Some(between(row.last.started_at?, row.last.ended_at));
        Percentiles::of(self.0.iter().filter_map(run).collect())
    }
}

// === impl Row ===

impl Row {
    /// None of a job that had no attempt.
    pub(super) fn of(end: &End) -> Option<Self> {
        let attempt = |attempt: &windlass_core::Attempt| Attempt {
            started_at: attempt.started_at,
            ended_at: attempt.ended_at,
        };
        let (last, before) = end.done.attempts.split_last()?;
        Some(Self {
            job_id: end.job_id,
            accepted_at: end.done.accepted_at,
            stored_at: end.stored_at,
            before: before.iter().map(attempt).collect(),
            last: attempt(last),
        })
    }
}

/// From one instant to a later one; nothing, if it is not later.
pub(super) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

fn words(end: &End) -> String {
    let said = |error: &windlass_core::JobError| format!("{}: {}", error.code, error.message);
    end.done.error.as_ref().map_or_else(|| end.done.state.to_string(), said)
}

pub(super) fn unread(error: jobs::Error) -> Error {
    match error {
        jobs::Error::Broker { source, .. } => Error::Broker("asked for the ends of jobs", source),
        other => Error::Records(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_is_late_from_the_instant_that_its_delay_sets() {
        let at = |millis: i64| Timestamp::from_millisecond(millis).unwrap();
        let attempt = |from, to| Attempt { started_at: Some(at(from)), ended_at: at(to) };
        let row = Row {
            job_id: JobId::from_parts(at(0), [1; 10]),
            accepted_at: at(0),
            stored_at: at(2300),
            before: [attempt(5, 10), attempt(1030, 1040)].into(),
            last: attempt(2100, 2200),
        };
        let once = Row { before: [].into(), ..row.clone() };
        let late = Records(vec![row, once]).retries(Duration::from_secs(1));
        assert_eq!(late, [20, 60].map(Duration::from_millis));
    }
}
