//! Submitting jobs: as fast as they are accepted, or one at each instant of a plan.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::try_join_all;
use futures::stream::{FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use tokio::time::Instant;
use windlass::{Client, RetryPolicy, Submission};
use windlass_core::{JobId, QueueName};

use super::Error;
use super::kinds::{Failing, Held, Nothing, Taking};
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
    pub(super) due: Due,
    pub(super) names: FlowNames,
}

/// Under which keys and for which tenants jobs are, in turn.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FlowNames {
    pub(super) keys: u64,
    pub(super) tenants: u64,
    /// All for this one.
    pub(super) tenant: Option<&'static str>,
}

/// When jobs are due.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    /// At once.
    Now,
    /// All of them then.
    At(Timestamp),
    /// Each after a delay of its own, from a twentieth of this to all but a twentieth.
    Within(Duration),
}

/// What each job is.
#[derive(Debug)]
pub(super) enum What {
    Nothing(Nothing),
    Failing(Failing, RetryPolicy),
    /// May run for so long.
    Held(Held, Duration),
    Taking(Taking),
}

/// What was submitted.
#[derive(Debug, Default)]
pub(super) struct Submitted {
    /// When each job should have been submitted, where there is a plan.
    pub(super) intended: HashMap<JobId, Timestamp>,
    /// How long after its acceptance each is due, where they have delays of their own.
    pub(super) delays: HashMap<JobId, Duration>,
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
        let names = FlowNames { keys: settings.keys, tenants: settings.tenants, tenant: None };
        Self { jobs, what, queues, pace, due: Due::Now, names }
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
            under_way.push(self.one(client, queue, number, intended));
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

    /// Submits all of it at one time; when each was called, by its id.
    pub(super) async fn at_once(&self, client: &Client) -> Result<HashMap<JobId, Timestamp>, Error> {
        let queue = self.queues.first().map_or("default", QueueName::as_str);
        let calls = (0..self.jobs).map(|number| async move {
            let called_at = Timestamp::now();
            Ok((self.one(client, queue, number, None).await?.id, called_at))
        });
        try_join_all(calls).await.map(|all| all.into_iter().collect()).map_err(Error::Submit)
    }

    async fn one(
        &self,
        client: &Client,
        queue: &str,
        number: u64,
        intended: Option<Timestamp>,
    ) -> Result<One, windlass::client::Error> {
        let begun = Instant::now();
        let task = self.names.of(self.what.task(client).queue(queue), number);
        let (task, delay) = match self.due {
            Due::Now => (task, None),
            Due::At(due_at) => (task.run_at(due_at), None),
            Due::Within(longest) => {
                let delay = spread(longest, number);
                (task.delay(delay), Some(delay))
            }
        };
        let submitted = task.submit().await?;
        Ok(One { id: submitted.id, took: begun.elapsed(), intended, delay })
    }
}

// === impl FlowNames ===

impl FlowNames {
    fn of(self, mut task: Submission, number: u64) -> Submission {
        if let Some(key) = number.checked_rem(self.keys) {
            task = task.key(&format!("key-{key}"));
        }
        if let Some(tenant) = number.checked_rem(self.tenants) {
            task = task.tenant(&format!("tenant-{tenant}"));
        }
        if let Some(tenant) = self.tenant {
            task = task.tenant(tenant);
        }
        task
    }
}

// === impl What ===

impl What {
    fn task(&self, client: &Client) -> Submission {
        match self {
            Self::Nothing(job) => client.task(job),
            Self::Failing(job, policy) => client.task(job).retry(policy.clone()),
            Self::Taking(job) => client.task(job),
            Self::Held(job, time) => client.task(job).attempt_timeout(*time),
        }
    }
}

/// An answer.
struct One {
    id: JobId,
    took: Duration,
    intended: Option<Timestamp>,
    delay: Option<Duration>,
}

/// Another one for each number, evenly spread and in no order. In whole milliseconds, as delays are on the wire.
fn spread(longest: Duration, number: u64) -> Duration {
    /// Has no factor in common with the steps, so that each comes once in so many.
    const STRIDE: u64 = 377;
    const STEPS: u64 = 900;
    let place = 50 + number.wrapping_mul(STRIDE) % STEPS;
    let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(millis.saturating_mul(place) / 1000)
}

// === impl Submitted ===

impl Submitted {
    /// Jobs accepted in a second.
    pub(super) fn per_second(&self) -> f64 {
        self.took.len() as f64 / self.lasted.as_secs_f64()
    }

    fn add(&mut self, answer: Option<Result<One, windlass::client::Error>>) -> Result<(), Error> {
        let Some(answer) = answer else { return Ok(()) };
        let One { id, took, intended, delay } = answer.map_err(Error::Submit)?;
        self.took.push(took);
        if let Some(intended) = intended {
            self.intended.insert(id, intended);
        }
        if let Some(delay) = delay {
            self.delays.insert(id, delay);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_spread_over_their_range_without_its_ends() {
        let mut delays: Vec<_> = (0..900).map(|number| spread(Duration::from_secs(1), number)).collect();
        delays.sort_unstable();
        delays.dedup();
        assert_eq!(delays.len(), 900, "each is another");
        let ends = (delays[0], delays[899]);
        assert_eq!(ends, (Duration::from_millis(50), Duration::from_millis(949)));
    }
}
