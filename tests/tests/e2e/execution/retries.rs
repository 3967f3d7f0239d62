//! Whose retry policy holds: the task's own, else the kind's, else the worker's.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use windlass::core::retry::{Backoff, Parts, unit};
use windlass::worker::Options;
use windlass::{Failure, Handlers, Job, JobId, RetryPolicy};
use windlass_core::{JobState, Transition};
use windlass_testkit::Fleet;

use super::{Alpha, fleet, host_with};

/// A kind whose delays grow evenly, less a random part.
#[derive(Debug, Serialize, Deserialize)]
struct Steady {}

/// A kind with a list of delays.
#[derive(Debug, Serialize, Deserialize)]
struct Listed {}

impl Job for Steady {
    const KIND: &'static str = "test.steady";

    fn retry() -> Option<RetryPolicy> {
        Some(steady())
    }
}

impl Job for Listed {
    const KIND: &'static str = "test.listed";

    fn retry() -> Option<RetryPolicy> {
        Some(listed())
    }
}

fn policy(parts: Parts) -> RetryPolicy {
    parts.try_into().expect("the numbers are in their ranges")
}

fn steady() -> RetryPolicy {
    let linear = Parts { backoff: Backoff::Linear, initial_delay_seconds: 1000.0, ..Parts::default() };
    policy(Parts { max_delay_seconds: 1e6, max_attempts: 4, jitter: 0.5, ..linear })
}

fn listed() -> RetryPolicy {
    policy(Parts {
        delays_seconds: vec![20_000.0, 50_000.0],
        max_attempts: 3,
        jitter: 0.0,
        ..Parts::default()
    })
}

/// Of the worker.
fn fixed() -> RetryPolicy {
    let parts = Parts { backoff: Backoff::Fixed, initial_delay_seconds: 300.0, ..Parts::default() };
    policy(Parts { max_attempts: 2, jitter: 0.0, ..parts })
}

/// Of a task.
fn own() -> RetryPolicy {
    let parts = Parts { backoff: Backoff::Fixed, initial_delay_seconds: 80_000.0, ..Parts::default() };
    policy(Parts { max_delay_seconds: 1e6, max_attempts: 2, jitter: 0.1, ..parts })
}

/// Lets a job fail through all of its attempts: each delay is that of the policy, and so is their number. The delays are
/// long, and an operator ends each at once.
async fn exhaust(fleet: &Fleet, id: JobId, policy: RetryPolicy) -> Result<()> {
    // For what lies between the end of an attempt and the reckoning of the next, on a busy machine.
    let slack = Duration::from_secs(60);
    for failures in 1..policy.max_attempts() {
        let ended = |e: &windlass_core::Event| {
            e.job_id == id && e.attempt == failures && e.transition == Transition::Retried
        };
        let all = fleet.tap.until("a retry", |all| all.iter().any(ended)).await?;
        let event = all.iter().find(|event| ended(event)).context("just heard")?;
        let delay: Duration = event.due_at.context("no instant")?.duration_since(event.at).unsigned_abs();
        let expected = policy.delay(failures, unit(id, failures)).context("no further attempt")?;
        assert!(
            delay >= expected && delay < expected + slack,
            "{delay:?} after failure {failures}: {expected:?}"
        );
        crate::support::order(fleet, "default", "release", id).await?;
    }
    let ended = fleet.ended(id).await?;
    assert_eq!(ended.state, JobState::Dead);
    let dead = fleet.tap.heard(id, Transition::Dead).await?;
    assert_eq!(dead.attempt, policy.max_attempts());
    Ok(())
}

/// An id with known random parts: its delays can be told beforehand.
fn seeded(number: u8) -> JobId {
    JobId::from_parts(Timestamp::UNIX_EPOCH, [number; 10])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_is_retried_by_its_own_policy() -> Result<()> {
    async fn steady_fails(_: Steady) -> Result<(), Failure> {
        Err(Failure::new("no"))
    }
    async fn listed_fails(_: Listed) -> Result<(), Failure> {
        Err(Failure::new("no"))
    }
    async fn fails(_: Alpha) -> Result<(), Failure> {
        Err(Failure::new("no"))
    }
    let fleet = fleet().await?;
    let handlers = Handlers::new().register(steady_fails)?.register(listed_fails)?.register(fails)?;
    let options = Options { retry: fixed(), ..Options::default() };
    let _worker = host_with(&fleet, handlers, options).await?;
    let client = &fleet.client;
    let by_kind = client.task(&Steady {}).id(seeded(1)).submit().await?.id;
    let by_list = client.task(&Listed {}).id(seeded(2)).submit().await?.id;
    let by_worker = client.task(&Alpha::new("x")).id(seeded(3)).submit().await?.id;
    let by_task = client.task(&Steady {}).id(seeded(4)).retry(own()).submit().await?.id;
    tokio::try_join!(
        exhaust(&fleet, by_kind, steady()),
        exhaust(&fleet, by_list, listed()),
        exhaust(&fleet, by_worker, fixed()),
        exhaust(&fleet, by_task, own()),
    )?;
    Ok(())
}
