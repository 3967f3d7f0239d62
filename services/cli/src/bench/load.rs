//! Submitting jobs: as fast as they are accepted, or one at each instant of a plan.

use std::collections::HashMap;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use tokio::time::Instant;
use windlass::{Client, RetryPolicy, Submission};
use windlass_core::{JobId, QueueName};

use super::Error;
use super::kinds::{Failing, Held, Nothing};
use super::pace::{Pace, Plan};
use super::settings::Settings;
use super::work;
use crate::dev::screen::Screen;

/// Submissions that wait for their answer at a time.
const IN_FLIGHT: usize = 500;
/// How often progress is shown.
const SHOWN_EVERY: u64 = 1000;

/// What is submitted.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) jobs: u64,
    pub(super) what: What,
    pub(super) queues: Vec<QueueName>,
    pub(super) pace: Pace,
    /// When all of them are due; at once, if none.
    pub(super) due_at: Option<Timestamp>,
}

/// What each job is.
#[derive(Debug)]
pub(super) enum What {
    Nothing(Nothing),
    Failing(Failing, RetryPolicy),
    /// May run for so long.
    Held(Held, Duration),
}

/// What was submitted.
#[derive(Debug, Default)]
pub(super) struct Submitted {
    /// When each job should have been submitted, where there is a plan.
    pub(super) intended: HashMap<JobId, Timestamp>,
    /// From the call to the answer.
    pub(super) took: Vec<Duration>,
    /// Of the first call.
    pub(super) begun_at: Timestamp,
    /// From the first call to the last answer.
    pub(super) lasted: Duration,
}

// === impl Load ===

impl Load {
    /// So many jobs that do nothing, due at once.
    pub(super) fn new(settings: &Settings, jobs: u64, pace: Pace) -> Self {
        let queues = work::queues(settings.queues);
        let what = What::Nothing(Nothing::of(settings.payload));
        Self { jobs, what, queues, pace, due_at: None }
    }

    /// Submits all of it; returns once all are accepted.
    pub(super) async fn submit(&self, client: &Client, screen: &Screen) -> Result<Submitted, Error> {
        let mut submitted = Submitted { begun_at: Timestamp::now(), ..Submitted::default() };
        let mut under_way = FuturesUnordered::new();
        let begun = Instant::now();
        let mut plan = match self.pace {
            Pace::AsAccepted => None,
            Pace::Rate(rate) => Some(Plan::begin(rate, self.jobs)),
        };
        let queues: Vec<&str> = self.queues.iter().map(QueueName::as_str).collect();
        for (number, queue) in (0..self.jobs).zip(queues.iter().cycle()) {
            while under_way.len() >= IN_FLIGHT {
                submitted.add(under_way.next().await)?;
            }
            if let Some(plan) = &mut plan {
                loop {
                    tokio::select! {
                        () = plan.reached(number) => break,
                        Some(answer) = under_way.next() => submitted.add(Some(answer))?,
                    }
                }
            }
            let intended = plan.as_ref().map(|plan| submitted.begun_at + plan.instant(number));
            under_way.push(self.one(client, queue, intended));
            if number % SHOWN_EVERY == 0 {
                screen.progress(number, self.jobs);
            }
        }
        while let Some(answer) = under_way.next().await {
            submitted.add(Some(answer))?;
        }
        submitted.lasted = begun.elapsed();
        Ok(submitted)
    }

    async fn one(
        &self,
        client: &Client,
        queue: &str,
        intended: Option<Timestamp>,
    ) -> Result<One, windlass::client::Error> {
        let begun = Instant::now();
        let mut submission = self.what.task(client).queue(queue);
        if let Some(due_at) = self.due_at {
            submission = submission.run_at(due_at);
        }
        let submitted = submission.submit().await?;
        Ok(One { id: submitted.id, took: begun.elapsed(), intended })
    }
}

// === impl What ===

impl What {
    fn task(&self, client: &Client) -> Submission {
        match self {
            Self::Nothing(job) => client.task(job),
            Self::Failing(job, policy) => client.task(job).retry(policy.clone()),
            Self::Held(job, time) => client.task(job).attempt_timeout(*time),
        }
    }
}

/// An answer.
struct One {
    id: JobId,
    took: Duration,
    intended: Option<Timestamp>,
}

// === impl Submitted ===

impl Submitted {
    /// Jobs accepted in a second.
    pub(super) fn per_second(&self) -> f64 {
        self.took.len() as f64 / self.lasted.as_secs_f64()
    }

    fn add(&mut self, answer: Option<Result<One, windlass::client::Error>>) -> Result<(), Error> {
        let Some(answer) = answer else { return Ok(()) };
        let One { id, took, intended } = answer.map_err(Error::Submit)?;
        self.took.push(took);
        if let Some(intended) = intended {
            self.intended.insert(id, intended);
        }
        Ok(())
    }
}
