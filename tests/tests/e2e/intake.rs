//! Tasks behind a burst: those of other queues, tenants and priorities are admitted before it is.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use tokio::time::Instant;
use windlass_broker::provision::Layout;
use windlass_core::flow::{Fairness, Priorities};
use windlass_core::{Event, JobId, Priority, Transition};
use windlass_testkit::{Fleet, PATIENCE, Servers, broker};

use crate::flow_control::set;
use crate::support::{command, submit};

/// Tasks of a burst: several seconds of admission.
const BURST: usize = 6_000;
/// Tasks that are stored at one time.
const TOGETHER: usize = 256;

/// Stores a burst, of a queue and a tenant.
async fn burst(fleet: &Fleet, queue: &str, tenant: &str) -> Result<()> {
    stored(fleet, queue, tenant, BURST, Priority::Normal).await.map(drop)
}

async fn stored(
    fleet: &Fleet,
    queue: &str,
    tenant: &str,
    count: usize,
    priority: Priority,
) -> Result<Vec<JobId>> {
    let one = |_| async {
        let task = fleet.client.raw("test.none", "null".into(), "application/json").queue(queue);
        Ok::<_, anyhow::Error>(task.tenant(tenant).priority(priority).submit().await?.id)
    };
    stream::iter(0..count).map(one).buffered(TOGETHER).try_collect().await
}

pub(crate) fn count(all: &[Event], transition: Transition) -> usize {
    let mut jobs: Vec<_> = all.iter().filter(|e| e.transition == transition).map(|e| e.job_id).collect();
    jobs.sort_unstable();
    jobs.dedup();
    jobs.len()
}

/// Waits until all are said to have made this step, and TASKS is empty.
async fn all_made(fleet: &Fleet, transition: Transition, expected: usize) -> Result<Vec<Event>> {
    let all = fleet.tap.until("all made it", |all| count(all, transition) == expected).await?;
    let (admin, deadline) = (fleet.broker.client("admin").await?, Instant::now() + PATIENCE);
    loop {
        let info = admin.api("STREAM.INFO.TASKS", &json!({})).await?;
        if info["state"]["messages"] == 0 {
            return Ok(all);
        }
        ensure!(Instant::now() < deadline, "tasks are left: {info}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How many subjects of JOBS have this word.
async fn standing(fleet: &Fleet, word: &str) -> Result<usize> {
    let subjects = fleet.broker.client("admin").await?.subjects("JOBS").await?;
    let subjects = subjects.as_object().context("no subjects")?;
    Ok(subjects.keys().filter(|subject| subject.contains(word)).count())
}

/// How many messages JOBS has under this filter: two of one job would be two messages.
pub(crate) async fn stored_under<B: Servers>(fleet: &Fleet<B>, filter: &str) -> Result<u64> {
    let request = json!({ "subjects_filter": filter });
    let admin = broker::Client::connect(fleet.broker.options("admin")).await?;
    let info = admin.api("STREAM.INFO.JOBS", &request).await?;
    let subjects = info["state"]["subjects"].as_object().cloned().unwrap_or_default();
    Ok(subjects.values().filter_map(serde_json::Value::as_u64).sum())
}

/// A short horizon: what was taken is forgotten soon.
async fn fleet(horizon: Duration) -> Result<Fleet> {
    let layout = Layout { ack_wait: Duration::from_secs(2), horizon, ..Layout::default() };
    Fleet::start_with(layout).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_queue_does_not_wait_for_a_burst() -> Result<()> {
    let mut fleet = fleet(Duration::from_secs(5)).await?;
    burst(&fleet, "burst", "one").await?;
    let behind = stored(&fleet, "other", "one", 20, Priority::Normal).await?;
    fleet.service("dispatcher").await?;
    for id in &behind {
        fleet.tap.heard(*id, Transition::Accepted).await?;
    }
    let before = fleet.tap.until("any", |_| true).await?;
    let admitted = count(&before, Transition::Accepted);
    assert!(admitted < BURST / 2 + 20, "{admitted} were admitted before the last of those behind the burst");
    // None is left out, none is made twice, and nothing stays behind.
    let all = all_made(&fleet, Transition::Accepted, BURST + 20).await?;
    assert_eq!(count(&all, Transition::Accepted), BURST + 20);
    assert_eq!(stored_under(&fleet, "windlass.job.burst.ready.*.*").await?, BURST as u64);
    assert_eq!(stored_under(&fleet, "windlass.job.other.ready.*.*").await?, 20);
    let deadline = Instant::now() + PATIENCE;
    while standing(&fleet, ".taken.").await? > 0 {
        ensure!(Instant::now() < deadline, "marks are left");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_and_another_priority_do_not_wait_for_the_admission_of_a_burst() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    set(&fleet, |settings| {
        settings.concurrency = Some(1);
        settings.priorities = Priorities::Weighted;
        settings.fairness = Some(Fairness::default());
    })
    .await?;
    burst(&fleet, "default", "large").await?;
    let mut behind = stored(&fleet, "default", "small", 10, Priority::Normal).await?;
    behind.extend(stored(&fleet, "default", "large", 10, Priority::Critical).await?);
    fleet.service("dispatcher").await?;
    for id in &behind {
        fleet.tap.heard(*id, Transition::Accepted).await?;
    }
    let before = fleet.tap.until("any", |_| true).await?;
    let admitted = count(&before, Transition::Accepted);
    // In their order, all but what is under way would be admitted before.
    assert!(admitted < BURST * 9 / 10, "{admitted} were admitted before the last of those behind the burst");
    let all = all_made(&fleet, Transition::Accepted, BURST + 20).await?;
    assert_eq!(count(&all, Transition::Accepted), BURST + 20);
    Ok(())
}

/// A dispatcher that dies between a task's admission and its mark leaves a task whose job exists.
#[tokio::test(flavor = "multi_thread")]
async fn a_lookout_that_dies_makes_no_second_job() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    burst(&fleet, "burst", "one").await?;
    let behind = stored(&fleet, "other", "one", 20, Priority::Normal).await?;
    fleet.service("dispatcher").await?;
    fleet.tap.heard(behind[0], Transition::Accepted).await?;
    fleet.kill9("dispatcher").await?;
    assert!(standing(&fleet, ".taken.").await? > 0, "it was admitted ahead");
    fleet.service("dispatcher-2").await?;
    all_made(&fleet, Transition::Accepted, BURST + 20).await?;
    assert_eq!(stored_under(&fleet, "windlass.job.burst.ready.*.*").await?, BURST as u64);
    assert_eq!(stored_under(&fleet, "windlass.job.other.ready.*.*").await?, 20);
    Ok(())
}

/// Tasks that were admitted ahead, and are delivered when the ends of their jobs may be forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_makes_no_job_after_the_horizon() -> Result<()> {
    let horizon = Duration::from_secs(4);
    let mut fleet = fleet(horizon).await?;
    let [taken, begun, other] = {
        let one = || submit(&fleet, command(&["true"]));
        [one().await?, one().await?, one().await?]
    };
    let admin = fleet.broker.client("admin").await?;
    // As a lookout leaves them: the first of TASKS was dealt with, and of the second it is not known.
    for (sequence, mark) in [(1, "begun"), (1, "taken"), (2, "begun")] {
        admin.store(&format!("windlass.job.default.taken.beside.{sequence}.mark"), &[], mark).await?;
    }
    let (stored_at, deadline) = (fleet.operator.read_time().await?, Instant::now() + PATIENCE);
    while fleet.operator.read_time().await?.duration_since(stored_at).unsigned_abs() < horizon {
        ensure!(Instant::now() < deadline, "the broker's clock stands still");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fleet.service("dispatcher").await?;
    fleet.tap.heard(other, Transition::Accepted).await?;
    all_made(&fleet, Transition::Accepted, 1).await?;
    assert_eq!(fleet.tap.of(taken), []);
    assert_eq!(
        fleet.tap.heard(begun, Transition::Rejected).await?.error.map(|e| e.code),
        Some("outcome_unknown".to_owned())
    );
    Ok(())
}
