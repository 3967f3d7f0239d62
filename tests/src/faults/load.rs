//! The workload: several clients that submit at a steady rate, try again what was not accepted, and submit some ids
//! again while their jobs run and after they ended.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use prost::Message as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use windlass::{Client, Dependency, Submission, Unique};
use windlass_broker::Broker;
use windlass_core::audit::JobKey;
use windlass_core::retry::{Backoff, Parts};
use windlass_core::{JobId, JobState, RetryPolicy};
use windlass_proto::v1;
use windlass_testkit::{Servers as _, broker};

use super::jobs::Work;
use super::ledger::Ledger;
use super::seed::Seed;
use super::stage::{LIMITED, QUEUES, Stage};

/// How much, and of what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// Of all clients together.
    pub(super) per_second: u64,
    /// Whether some jobs are cancelled.
    pub(super) cancels: bool,
}

/// A job that is to be submitted.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) job: JobKey,
    pub(super) kind: &'static str,
    pub(super) work: Work,
    pub(super) delay: Option<Duration>,
    pub(super) retry: Option<RetryPolicy>,
    pub(super) expected: Option<JobState>,
    pub(super) key: Option<String>,
    /// Of those with one, one is a job at a time, and the others get none.
    pub(super) unique: Option<String>,
    /// What it waits for.
    pub(super) after: Option<JobKey>,
}

/// Clients at work.
pub(super) struct Load {
    stop: CancellationToken,
    clients: JoinSet<Result<()>>,
}

const CLIENTS: u64 = 3;
/// Of the limited queue.
const KEYS: u64 = 6;
/// Of jobs of which there is one at a time.
const UNIQUE_KEYS: u64 = 3;
/// How many of a hundred jobs wait for the one that their client submitted before.
const AFTER_ANOTHER: u64 = 6;
/// Submissions of a client that wait for their answers.
const IN_FLIGHT: usize = 100;
/// After the end of the load, for what is not accepted yet.
const LAST_ANSWERS: Duration = Duration::from_secs(60);
/// Of a task of which a plain client waits for the answer.
const PLAIN_TIMEOUT: Duration = Duration::from_secs(5);

// === impl Order ===

impl Order {
    fn draw(seed: &mut Seed) -> Self {
        let mut work = Work { milliseconds: seed.below(30), ..Work::default() };
        let (mut delay, mut retry, mut expected) = (None, None, JobState::Succeeded);
        match seed.below(100) {
            0..55 => {}
            55..80 => work.milliseconds = 100 + seed.below(1400),
            80..88 => {
                work.failures = 1 + u32::try_from(seed.below(2)).unwrap_or(0);
                retry = policy(4);
            }
            88..92 => {
                work.failures = u32::MAX;
                (retry, expected) = (policy(2), JobState::Dead);
            }
            92..96 => delay = Some(seed.millis(300, 2500)),
            _ => work.ballast = "x".repeat(64 * 1024),
        }
        let id = JobId::from_parts(Timestamp::now(), seed.bytes());
        let queue = match seed.below(100) {
            0..60 => QUEUES[0],
            60..80 => QUEUES[1],
            _ => LIMITED,
        };
        // Of few keys, so that their jobs wait for each other.
        let key = (queue == LIMITED).then(|| format!("key {}", seed.below(KEYS)));
        let unique = queue == QUEUES[1] && delay.is_none() && seed.percent(25);
        let unique = unique.then(|| format!("unique {}", seed.below(UNIQUE_KEYS)));
        // One that finds another gets no job, and ends as cancelled.
        let expected = Some(expected).filter(|_| unique.is_none());
        Self { key, unique, ..Self::new(queue, id, "faults.work", work, expected).with(delay, retry) }
    }

    /// To start once this one has ended, which is known to end well.
    fn after(mut self, other: &Self) -> Self {
        if self.unique.is_none() && other.expected == Some(JobState::Succeeded) {
            self.after = Some(other.job.clone());
        }
        self
    }

    pub(super) fn new(
        queue: &str,
        id: JobId,
        kind: &'static str,
        work: Work,
        expected: Option<JobState>,
    ) -> Self {
        let job = JobKey { queue: queue.parse().unwrap_or_default(), id };
        Self { job, kind, work, delay: None, retry: None, expected, key: None, unique: None, after: None }
    }

    pub(super) fn with(mut self, delay: Option<Duration>, retry: Option<RetryPolicy>) -> Self {
        (self.delay, self.retry) = (delay, retry);
        self
    }

    fn payload(&self) -> Vec<u8> {
        serde_json::to_vec(&self.work).unwrap_or_default()
    }

    fn submission(&self, client: &Client) -> Submission {
        let mut submission = client
            .raw(self.kind, self.payload().into(), "application/json")
            .queue(self.job.queue.as_str())
            .id(self.job.id);
        if let Some(delay) = self.delay {
            submission = submission.delay(delay);
        }
        if let Some(retry) = &self.retry {
            submission = submission.retry(retry.clone());
        }
        if let Some(on) = &self.after {
            submission = submission.after(&Dependency::new(on.queue.clone(), on.id));
        }
        if let Some(key) = &self.key {
            submission = submission.key(key);
        }
        if let Some(unique) = &self.unique {
            submission = submission.unique(Unique::key(unique));
        }
        submission
    }

    /// Nothing of it is lost if it is submitted without options but its key.
    pub(super) fn is_plain(&self) -> bool {
        self.delay.is_none() && self.retry.is_none() && self.after.is_none() && self.unique.is_none()
    }
}

/// Quick, so that a round is short.
pub(super) fn policy(max_attempts: u32) -> Option<RetryPolicy> {
    let parts = Parts {
        max_attempts,
        backoff: Backoff::Fixed,
        initial_delay_seconds: 0.3,
        max_delay_seconds: 0.3,
        ..Parts::default()
    };
    parts.try_into().ok()
}

// === impl Load ===

impl Load {
    pub(super) async fn start(stage: &Stage, ledger: &Ledger, rate: Rate, seed: &Seed) -> Result<Self> {
        let stop = CancellationToken::new();
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let client = Client::new(Broker::connect(stage.fleet.broker.options("publisher")).await?);
            let plain = broker::Client::connect(stage.fleet.broker.options("publisher")).await?;
            let (ledger, stop, seed) = (ledger.clone(), stop.clone(), seed.fork(number));
            let period = Duration::from_millis(1000 * CLIENTS / rate.per_second.max(1));
            clients.spawn(submit(client, plain, ledger, period, seed, stop));
        }
        if rate.cancels {
            let client = Client::new(Broker::connect(stage.fleet.broker.options("publisher")).await?);
            let operator = broker::Client::connect(stage.fleet.broker.options("operator")).await?;
            let (ledger, stop, seed) = (ledger.clone(), stop.clone(), seed.fork(CLIENTS));
            clients.spawn(cancel(client, operator, ledger, seed, stop));
        }
        Ok(Self { stop, clients })
    }

    /// No more new jobs; waits until the last answers have come.
    pub(super) async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(client) = self.clients.join_next().await {
            client??;
        }
        Ok(())
    }
}

/// One client. Submissions do not wait for each other, as those of many callers do not.
async fn submit(
    client: Client,
    plain: broker::Client,
    ledger: Ledger,
    period: Duration,
    mut seed: Seed,
    stop: CancellationToken,
) -> Result<()> {
    let plain = Arc::new(plain);
    let mut in_flight = JoinSet::new();
    let mut before: Option<Order> = None;
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        while in_flight.len() >= IN_FLIGHT {
            in_flight.join_next().await;
        }
        let order = Order::draw(&mut seed);
        let order = match before.filter(|_| seed.percent(AFTER_ANOTHER)) {
            Some(before) => order.after(&before),
            None => order,
        };
        before = Some(order.clone());
        ledger.ordered(&order);
        in_flight.spawn(accepted(order, client.clone(), ledger.clone(), stop.clone()));
        if seed.percent(12) {
            for order in ledger.some(&mut seed, 1) {
                in_flight.spawn(again(order, Arc::clone(&plain), ledger.clone()));
            }
        }
        while in_flight.try_join_next().is_some() {}
    }
    while in_flight.join_next().await.is_some() {}
    Ok(())
}

/// Submits until it is accepted: what was not, or was without an answer, is submitted again under its id.
pub(super) async fn accepted(order: Order, client: Client, ledger: Ledger, stop: CancellationToken) {
    let mut deadline = None;
    loop {
        let number = ledger.submitted(&order);
        if order.submission(&client).submit().await.is_ok() {
            return ledger.acknowledged_now(number);
        }
        if stop.is_cancelled() {
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + LAST_ANSWERS);
            if Instant::now() >= deadline {
                return;
            }
        }
        tokio::task::yield_now().await;
    }
}

/// As a plain client does it, without a message id by which the broker would know it again; once.
pub(super) async fn again(order: Order, client: Arc<broker::Client>, ledger: Ledger) {
    let id = order.job.id.to_string();
    let mut headers = vec![
        ("Windlass-Kind", order.kind),
        ("Windlass-Id", id.as_str()),
        ("Content-Type", "application/json"),
    ];
    headers.extend(order.key.as_deref().map(|key| ("Windlass-Key", key)));
    let subject = format!("windlass.task.{}", order.job.queue);
    let number = ledger.submitted(&order);
    let stored = timeout(PLAIN_TIMEOUT, client.store(&subject, &headers, order.payload())).await;
    if matches!(&stored, Ok(Ok(answer)) if answer.get("error").is_none()) {
        ledger.acknowledged_now(number);
    }
}

/// Submits jobs that would take an hour, and cancels them: while they wait for their instant, or while they run.
async fn cancel(
    client: Client,
    operator: broker::Client,
    ledger: Ledger,
    mut seed: Seed,
    stop: CancellationToken,
) -> Result<()> {
    let hour = Duration::from_hours(1);
    let mut waiting: Vec<JobKey> = Vec::new();
    let mut ticks = interval(Duration::from_millis(400));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let more = stop.run_until_cancelled(ticks.tick()).await.is_some();
        if more {
            let id = JobId::from_parts(Timestamp::now(), seed.bytes());
            let milliseconds = u64::try_from(hour.as_millis()).unwrap_or(u64::MAX);
            let work = Work { milliseconds, ..Work::default() };
            // Of one key: all but one are held, and cancelled as such.
            let queue = if seed.percent(30) { LIMITED } else { QUEUES[0] };
            let order = Order::new(queue, id, "faults.work", work, Some(JobState::Cancelled));
            let key = (queue == LIMITED).then(|| "key of what is cancelled".to_owned());
            let order = Order { key, ..order }.with(seed.percent(50).then_some(hour), None);
            ledger.ordered(&order);
            waiting.push(order.job.clone());
            accepted(order, client.clone(), ledger.clone(), stop.clone()).await;
        }
        // A few later, so that some run by then.
        while waiting.len() > if more { 3 } else { 0 } {
            let job = waiting.remove(0);
            let command = v1::Command {
                job_id: job.id.to_string(),
                reason: "the suite".to_owned(),
                requested_by: "windlass-faults".to_owned(),
                requested_at: None,
                dead_at: None,
            };
            let subject = format!("windlass.command.{}.cancel", job.queue);
            while !matches!(
                timeout(PLAIN_TIMEOUT, operator.store(&subject, &[], command.encode_to_vec())).await,
                Ok(Ok(answer)) if answer.get("error").is_none()
            ) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        if !more {
            return Ok(());
        }
    }
}
