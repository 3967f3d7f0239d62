//! Which instants of the past are to have a job.

use std::str::FromStr;

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};
use windlass_core::schedule::{Backfill, MOST_BACKFILLED, Schedule};
use windlass_core::{JobId, JobState};

use crate::Invalid;

/// Of the instants of a time, those that are to have a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// That have had none.
    Missing,
    /// Whose job is dead or expired.
    Failed,
    /// Every one.
    All,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The first instant that may have a job.
    pub from: Timestamp,
    /// The last; now, if it is not said.
    pub until: Option<Timestamp>,
    /// Of which instants.
    pub which: Which,
    /// How many of its jobs may be live at one time.
    pub concurrency: usize,
    /// The latest instant first.
    pub reverse: bool,
}

/// Jobs that are asked about at one time.
const QUESTIONS: usize = 8;
/// Of a backfill's jobs.
pub const MOST_LIVE: usize = 1000;

// === impl Which ===

impl Which {
    /// All of them, as they are written.
    pub const WORDS: [&str; 3] = ["missing", "failed", "all"];

    fn is_chosen(self, state: Option<JobState>) -> bool {
        match self {
            Self::Missing => state.is_none(),
            Self::Failed => matches!(state, Some(JobState::Dead | JobState::Expired)),
            Self::All => true,
        }
    }
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "missing" => Ok(Self::Missing),
            "failed" => Ok(Self::Failed),
            "all" => Ok(Self::All),
            other => Err(format!("is `{other}`: expected one of {}", Self::WORDS.join(", "))),
        }
    }
}

// === impl Asked ===

impl Asked {
    /// The backfill of a schedule. `state_of` says how the job of an instant stands, if there is one; it is not asked
    /// where all are meant.
    pub async fn plan<P: Sync, E: From<Invalid>, F: Future<Output = Result<Option<JobState>, E>>>(
        &self,
        schedule: &Schedule<P>,
        now: Timestamp,
        state_of: impl Fn(JobId) -> F,
    ) -> Result<Backfill, E> {
        let mut instants = self.instants(schedule, now)?;
        if self.which != Which::All {
            let ask = |at: Timestamp| {
                let state = state_of(JobId::of_fire(&schedule.id, at));
                async move { Ok::<_, E>(self.which.is_chosen(state.await?).then_some(at)) }
            };
            let found: Vec<Option<Timestamp>> = futures::stream::iter(instants.into_iter().map(ask))
                .buffered(QUESTIONS)
                .try_collect()
                .await?;
            instants = found.into_iter().flatten().collect();
        }
        if self.reverse {
            instants.reverse();
        }
        // The job of an instant that has had none is its own.
        Ok(Backfill { instants, concurrency: self.concurrency, again: self.which != Which::Missing })
    }

    /// Those of the rule.
    fn instants<P>(&self, schedule: &Schedule<P>, now: Timestamp) -> Result<Vec<Timestamp>, Invalid> {
        if !(1..=MOST_LIVE).contains(&self.concurrency) {
            let reason = format!("is {}: expected 1 to {MOST_LIVE}", self.concurrency);
            return Err(Invalid { field: "concurrency", reason });
        }
        let until = self.until.map_or(now, |until| until.min(now));
        let before = self.from.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MIN);
        let instants = schedule.spec.instants_between(before, until, MOST_BACKFILLED + 1);
        if instants.len() > MOST_BACKFILLED {
            let reason =
                format!("to {until} there are more than {MOST_BACKFILLED} instants: expected a shorter time");
            return Err(Invalid { field: "from", reason });
        }
        Ok(instants)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{at, schedule};

    async fn plan(asked: Asked) -> Result<Vec<i64>, Invalid> {
        let schedule = schedule("a", 60, 0);
        let jobs = [(60, JobState::Succeeded), (120, JobState::Dead), (180, JobState::Running)];
        let state_of = |job| {
            let state = jobs.iter().find(|(second, _)| JobId::of_fire(&schedule.id, at(*second)) == job);
            std::future::ready(Ok::<_, Invalid>(state.map(|(_, state)| *state)))
        };
        let backfill = asked.plan(&schedule, at(250), state_of).await?;
        assert_eq!(
            (backfill.concurrency, backfill.again),
            (asked.concurrency, asked.which != Which::Missing)
        );
        Ok(backfill.instants.iter().map(|instant| instant.as_second()).collect())
    }

    #[tokio::test]
    async fn what_an_instant_has_had_decides() {
        let all = Asked { from: at(60), until: None, which: Which::All, concurrency: 1, reverse: false };
        assert_eq!(plan(all).await, Ok(vec![60, 120, 180, 240]));
        assert_eq!(plan(Asked { which: Which::Missing, ..all }).await, Ok(vec![240]));
        assert_eq!(plan(Asked { which: Which::Failed, ..all }).await, Ok(vec![120]));
        assert_eq!(plan(Asked { reverse: true, from: at(61), ..all }).await, Ok(vec![240, 180, 120]));
        // The last belongs to it, and nothing of the future does.
        assert_eq!(plan(Asked { until: Some(at(120)), ..all }).await, Ok(vec![60, 120]));
        assert_eq!(plan(Asked { until: Some(at(9999)), ..all }).await, Ok(vec![60, 120, 180, 240]));
        let field = |result: Result<_, Invalid>| result.unwrap_err().field;
        assert_eq!(field(plan(Asked { concurrency: 0, ..all }).await), "concurrency");
        assert_eq!(field(plan(Asked { from: at(-60 * 10_001), ..all }).await), "from");
        for word in Which::WORDS {
            assert!(word.parse::<Which>().is_ok());
        }
        assert!("some".parse::<Which>().unwrap_err().contains("missing, failed, all"));
    }
}
