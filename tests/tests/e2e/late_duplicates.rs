//! Tasks that wait in TASKS while ends of jobs are forgotten.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use tokio::time::Instant;
use windlass_broker::provision::Layout;
use windlass_core::{JobId, Transition};
use windlass_testkit::{Fleet, PATIENCE};

use crate::support::{command, submit};

/// A task may wait as long again before it counts as late.
const HORIZON: Duration = Duration::from_secs(4);

async fn fleet() -> Result<Fleet> {
    let layout = Layout { ack_wait: Duration::from_secs(2), horizon: HORIZON, ..Layout::default() };
    let mut fleet = Fleet::start_with(layout).await?;
    fleet.service("dispatcher").await?;
    fleet.service("worker").await?;
    Ok(fleet)
}

/// Until so long after then, by the broker's clock: nothing tells that time passes but looking.
async fn until(fleet: &Fleet, from: Timestamp, after: Duration) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while fleet.operator.read_time().await?.duration_since(from).unsigned_abs() < after {
        ensure!(Instant::now() < deadline, "the broker's clock stands still");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn starts(fleet: &Fleet, id: JobId) -> usize {
    fleet.tap.of(id).iter().filter(|(transition, _)| *transition == Transition::Started).count()
}

/// Published within the horizon, and admitted only after it: the end is kept for as long as that may take.
#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_of_the_horizon_is_refused_after_it() -> Result<()> {
    let mut fleet = fleet().await?;
    let id = submit(&fleet, command(&["true"])).await?;
    let ended = fleet.tap.heard(id, Transition::Succeeded).await?;
    fleet.kill9("dispatcher").await?;
    // Without a message id: the broker itself would drop it, for a while.
    let operator = fleet.broker.client("operator").await?;
    let headers = [("Windlass-Kind", "command.run"), ("Windlass-Id", &id.to_string())];
    operator.store("windlass.task.default", &headers, command(&["true"]).json()).await?;
    until(&fleet, ended.at, HORIZON + Duration::from_secs(1)).await?;
    fleet.service("dispatcher-2").await?;
    let probe = submit(&fleet, command(&["true"])).await?;
    fleet.result(probe).await?;
    assert_eq!(starts(&fleet, id), 1, "it ran again: {:?}", fleet.tap.of(id));
    let metrics = metrics(&mut fleet, "dispatcher-2").await?;
    assert!(metrics.contains("windlass_tasks_duplicate_total{"), "{metrics}");
    Ok(())
}

/// What waits longer is admitted, and its history says that it may be a repetition; of an id that is new it does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_waited_too_long_says_so() -> Result<()> {
    let mut fleet = fleet().await?;
    let first = submit(&fleet, command(&["true"])).await?;
    let ended = fleet.tap.heard(first, Transition::Succeeded).await?;
    fleet.kill9("dispatcher").await?;
    // An id that does not tell when it was made, and one that was made now.
    let named = JobId::of_child(first, "again");
    command(&["true"]).into_submission(&fleet).id(named).submit().await?;
    let fresh = submit(&fleet, command(&["true"])).await?;
    until(&fleet, ended.at, HORIZON * 2 + Duration::from_secs(2)).await?;
    fleet.service("dispatcher-2").await?;
    for (id, is_late) in [(named, true), (fresh, false)] {
        let accepted = fleet.tap.heard(id, Transition::Accepted).await?;
        assert_eq!(accepted.note.contains("may repeat a job that has ended"), is_late, "{}", accepted.note);
        fleet.result(id).await?;
    }
    let metrics = metrics(&mut fleet, "dispatcher-2").await?;
    let line = metrics.lines().find(|line| line.starts_with("windlass_tasks_admitted_late_total{"));
    assert!(line.is_some_and(|line| line.ends_with(" 1")), "{line:?}");
    Ok(())
}

async fn metrics(fleet: &mut Fleet, label: &str) -> Result<String> {
    let url = fleet.process(label)?.http().await?;
    reqwest::get(format!("{url}/metrics")).await?.text().await.context("no metrics")
}
