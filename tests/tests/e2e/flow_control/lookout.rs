//! Decisions by turns: jobs of other lanes than a burst's are decided on before it is.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::{Instant, sleep};
use windlass_core::flow::{Fairness, Order, Priorities, QueueSettings};
use windlass_core::{Event, JobId, Priority, Transition};
use windlass_testkit::{Fleet, PATIENCE, Servers};

use super::{Log, host, set, work};
use crate::intake::{count, stored_under};

/// Jobs of a burst.
const BURST: usize = 3_000;
/// So many are due, and not decided on, when others come.
const DUE: usize = 1_500;
/// Others, of each lane.
const FEW: usize = 10;
/// Each round of decisions takes so long at least: admissions are faster.
const SLOW: &str = "dispatcher.flow.committed=pause:300@1+";

async fn stored<B: Servers>(
    fleet: &Fleet<B>,
    tenant: &str,
    count: usize,
    priority: Priority,
) -> Result<Vec<JobId>> {
    let one = |_| async {
        let task = fleet.client.task(&work(tenant)).tenant(tenant).priority(priority);
        Ok::<_, anyhow::Error>(task.submit().await?.id)
    };
    stream::iter(0..count).map(one).buffered(256).try_collect().await
}

/// A burst of which much is due, and behind it a few jobs of another tenant and a few of another priority.
async fn behind_a_burst(change: impl Fn(&mut QueueSettings)) -> Result<(Fleet, Vec<JobId>)> {
    let mut fleet = Fleet::start().await?;
    let few = behind_a_burst_on(&mut fleet, change).await?;
    Ok((fleet, few))
}

async fn behind_a_burst_on<B: Servers>(
    fleet: &mut Fleet<B>,
    change: impl Fn(&mut QueueSettings),
) -> Result<Vec<JobId>> {
    set(fleet, |settings| {
        settings.concurrency = Some(1);
        settings.priorities = Priorities::Weighted;
        settings.fairness = Some(Fairness::default());
        change(settings);
    })
    .await?;
    let slow = [("WINDLASS_FAILPOINTS".to_owned(), SLOW.into())];
    fleet.spawn_program("dispatcher", "windlass-dispatcher", "dispatcher", &slow).await?;
    fleet.process("dispatcher")?.ready().await?;
    stored(fleet, "large", BURST, Priority::Normal).await?;
    // By then it listens, if it does at all: it does so once it is given what a thousand wait behind.
    let is_much = |all: &[Event]| {
        let (admitted, decided) = (count(all, Transition::Accepted), count(all, Transition::Held));
        decided > 700 && admitted > decided + DUE
    };
    fleet.tap.until("much is due", is_much).await?;
    let mut few = stored(fleet, "small", FEW, Priority::Normal).await?;
    few.extend(stored(fleet, "large", FEW, Priority::Critical).await?);
    Ok(few)
}

/// How many jobs are said to have made this step before this one made it.
fn before(all: &[Event], id: JobId, transition: Transition) -> Result<usize> {
    let at = all.iter().position(|e| e.job_id == id && e.transition == transition);
    Ok(count(&all[..at.with_context(|| format!("{id} has not made it"))?], transition))
}

/// Of each of the few, once it is held: how many were admitted before it, and how many were decided on.
async fn overtook(fleet: &Fleet, few: &[JobId]) -> Result<Vec<(usize, usize)>> {
    for id in few {
        fleet.tap.heard(*id, Transition::Held).await?;
    }
    let all = fleet.tap.until("any", |_| true).await?;
    few.iter()
        .map(|id| Ok((before(&all, *id, Transition::Accepted)?, before(&all, *id, Transition::Held)?)))
        .collect()
}

/// All are decided on, each once: one has the only slot, the others are held, and nothing else is left of them.
async fn each_once<B: Servers>(fleet: &Fleet<B>, jobs: usize) -> Result<()> {
    let (jobs, deadline) = (jobs as u64, Instant::now() + PATIENCE);
    loop {
        let mut found = Vec::new();
        for word in ["due", "held", "ready"] {
            // While the stream has no leader nobody answers.
            found.push(stored_under(fleet, &format!("windlass.job.default.{word}.*.*")).await.ok());
        }
        if found == [Some(0), Some(jobs - 1), Some(1)] {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "due, held and ready: {found:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_and_another_priority_do_not_wait_for_the_decisions_on_a_burst() -> Result<()> {
    let (fleet, few) = behind_a_burst(|_| {}).await?;
    for (admitted, decided) in overtook(&fleet, &few).await? {
        assert!(decided + DUE / 4 < admitted, "{decided} of {admitted} before it were decided on");
    }
    each_once(&fleet, BURST + 2 * FEW).await
}

/// With three copies, of which one is lost in the midst of it.
#[tokio::test(flavor = "multi_thread")]
async fn each_is_decided_on_once_though_the_leader_of_the_jobs_dies() -> Result<()> {
    let mut fleet = Fleet::replicated().await?;
    let few = behind_a_burst_on(&mut fleet, |_| {}).await?;
    let admin = fleet.broker.client().await?;
    fleet.tap.heard(few[0], Transition::Held).await?;
    let leader = fleet.broker.leader(&admin, "JOBS").await?;
    fleet.broker.kill9(leader).await?;
    stored(&fleet, "third", FEW, Priority::Normal).await?;
    fleet.broker.restart(leader).await?;
    for id in &few {
        fleet.tap.heard(*id, Transition::Held).await?;
    }
    each_once(&fleet, BURST + 3 * FEW).await
}

/// Where the order is strict, nobody overtakes: who has the same key may be of another tenant.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_overtakes_in_a_strict_order() -> Result<()> {
    let (fleet, few) = behind_a_burst(|settings| settings.order = Order::Fifo).await?;
    for (admitted, decided) in overtook(&fleet, &few).await? {
        assert!(decided + DUE / 4 > admitted, "{decided} of {admitted} before it were decided on");
    }
    Ok(())
}

/// Owners that die or go by other settings, having decided on some ahead, let nobody through twice, and no more than
/// the limit.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_run_than_may_whoever_decided_ahead() -> Result<()> {
    let (mut fleet, few) = behind_a_burst(|settings| settings.concurrency = Some(2)).await?;
    overtook(&fleet, &few).await?;
    let log = Log::default();
    let _worker = host(&fleet, &log).await?;
    set(&fleet, |settings| settings.concurrency = Some(50)).await?;
    fleet.tap.heard(few[0], Transition::Started).await?;
    stored(&fleet, "third", FEW, Priority::Normal).await?;
    fleet.kill9("dispatcher").await?;
    fleet.service("dispatcher-2").await?;
    let all = BURST + 3 * FEW;
    fleet.tap.until("all succeeded", |events| count(events, Transition::Succeeded) == all).await?;
    log.with(|seen| {
        assert_eq!(seen.begun.len(), all, "some ran twice");
        assert!(seen.most_of_all <= 50, "{} ran at one time", seen.most_of_all);
    });
    Ok(())
}
