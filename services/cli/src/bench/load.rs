//! Submitting jobs: as fast as they are accepted, or one at each instant of a plan.

use std::collections::HashMap;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};
use windlass::Client;
use windlass_core::{JobId, QueueName};

use super::Error;
use super::settings::Settings;
use super::work::{self, Nothing};
use crate::dev::screen::Screen;

/// Submissions that wait for their answer at a time.
const IN_FLIGHT: usize = 500;
/// How often progress is shown.
const SHOWN_EVERY: u64 = 1000;

/// What is submitted.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) jobs: u64,
    pub(super) payload: usize,
    pub(super) queues: Vec<QueueName>,
    pub(super) pace: Pace,
    /// When all of them are due; at once, if none.
    pub(super) due_at: Option<Timestamp>,
}

/// When it is submitted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// Whenever there is room.
    AsAccepted,
    /// So many a second, whatever becomes of those before: who comes late has waited since their instant.
    Rate(f64),
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
}

// === impl Load ===

impl Load {
    /// So many jobs, due at once.
    pub(super) fn new(settings: &Settings, jobs: u64, pace: Pace) -> Self {
        let queues = work::queues(settings.queues);
        Self { jobs, payload: settings.payload, queues, pace, due_at: None }
    }

    /// Submits all of it; returns once all are accepted.
    pub(super) async fn submit(&self, client: &Client, screen: &Screen) -> Result<Submitted, Error> {
        let payload = Nothing::of(self.payload);
        let mut submitted = Submitted { begun_at: Timestamp::now(), ..Submitted::default() };
        let mut under_way = FuturesUnordered::new();
        let begun = Instant::now();
        let queues: Vec<&str> = self.queues.iter().map(QueueName::as_str).collect();
        for (number, queue) in (0..self.jobs).zip(queues.iter().cycle()) {
            while under_way.len() >= IN_FLIGHT {
                submitted.add(under_way.next().await)?;
            }
            if let Pace::Rate(rate) = self.pace {
                let instant = begun + Duration::from_secs_f64(number as f64 / rate);
                loop {
                    tokio::select! {
                        () = sleep_until(instant) => break,
                        Some(answer) = under_way.next() => submitted.add(Some(answer))?,
                    }
                }
                let intended = submitted.begun_at + (instant - begun);
                under_way.push(Self::one(client, &payload, queue, self.due_at, Some(intended)));
            } else {
                under_way.push(Self::one(client, &payload, queue, self.due_at, None));
            }
            if number % SHOWN_EVERY == 0 {
                screen.progress(number, self.jobs);
            }
        }
        while let Some(answer) = under_way.next().await {
            submitted.add(Some(answer))?;
        }
        Ok(submitted)
    }

    async fn one(
        client: &Client,
        payload: &Nothing,
        queue: &str,
        due_at: Option<Timestamp>,
        intended: Option<Timestamp>,
    ) -> Result<One, windlass::client::Error> {
        let begun = Instant::now();
        let mut submission = client.task(payload).queue(queue);
        if let Some(due_at) = due_at {
            submission = submission.run_at(due_at);
        }
        let submitted = submission.submit().await?;
        Ok(One { id: submitted.id, took: begun.elapsed(), intended })
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
