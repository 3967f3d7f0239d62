//! Tasks that become one job.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use windlass::handler::extract::State;
use windlass::worker::Options;
use windlass::{Aggregate, Failure, Handlers, Instead, Job, JobId, JobState, Submission};
use windlass_core::Transition;
use windlass_testkit::Fleet;

use super::{Fate, fates};
use crate::execution::{Hosted, host_with};
use crate::flow_control::set;

/// What a handler of collected tasks takes: the list of their payloads.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Items(Vec<u32>);

impl Job for Items {
    const KIND: &'static str = "test.items";
}

/// The lists that were handled.
type Lists = Arc<Mutex<Vec<Vec<u32>>>>;

async fn handle(Items(items): Items, State(lists): State<Lists>) -> Result<usize, Failure> {
    let count = items.len();
    lists.lock().unwrap_or_else(PoisonError::into_inner).push(items);
    Ok(count)
}

async fn worker(fleet: &Fleet) -> Result<(Hosted, Lists)> {
    let lists = Lists::default();
    let handlers = Handlers::with_state(Arc::clone(&lists)).register(handle)?;
    Ok((host_with(fleet, handlers, Options::default()).await?, lists))
}

fn task(fleet: &Fleet, n: u32, aggregate: Aggregate) -> Submission {
    fleet.client.raw("test.items", n.to_string().into(), "application/json").aggregate(aggregate)
}

fn group() -> Aggregate {
    Aggregate::key("g", Duration::from_millis(700), Duration::from_secs(20))
}

/// The jobs that these tasks were merged into.
fn jobs(fates: &[Fate]) -> Result<BTreeSet<JobId>> {
    let mut jobs = BTreeSet::new();
    for fate in fates {
        match fate {
            Fate::Other { instead: Instead::Merged, other, .. } => jobs.insert(*other),
            other => bail!("it was not merged: {other:?}"),
        };
    }
    Ok(jobs)
}

/// Every number once, over all lists.
fn check(lists: &Lists, count: u32) {
    let lists = lists.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all: Vec<_> = lists.iter().flatten().copied().collect();
    all.sort_unstable();
    assert_eq!(all, (0..count).collect::<Vec<_>>(), "{lists:?}");
}

async fn succeed(fleet: &Fleet, jobs: &BTreeSet<JobId>) -> Result<()> {
    for job in jobs {
        let ended = fleet.ended(*job).await?;
        assert_eq!(ended.state, JobState::Succeeded, "{ended:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_a_group_become_one_job() -> Result<()> {
    for limited in [false, true] {
        let mut fleet = Fleet::start().await?;
        set(&fleet, |settings| settings.concurrency = limited.then_some(2)).await?;
        fleet.service("dispatcher").await?;
        fleet.service("dispatcher-2").await?;
        let (_worker, lists) = worker(&fleet).await?;
        let fates = fates((0..100).map(|n| task(&fleet, n, group()))).await?;
        let jobs = jobs(&fates)?;
        // Two dispatchers on a slow machine may take longer than the grace over them.
        ensure!(jobs.len() <= 5, "{} jobs", jobs.len());
        succeed(&fleet, &jobs).await?;
        check(&lists, 100);
        // It waited for the next that might have come.
        for job in jobs {
            let accepted = fleet.tap.heard(job, Transition::Accepted).await?.at;
            let started = fleet.tap.heard(job, Transition::Started).await?.at;
            assert!(started.duration_since(accepted) >= SignedDuration::from_millis(700));
        }
    }
    Ok(())
}

/// A group that is full starts at once, by its number or by its bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_group_starts_at_once() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    fleet.service("dispatcher").await?;
    let (_worker, lists) = worker(&fleet).await?;
    let hour = Duration::from_secs(3600);
    let full = || Aggregate::key("g", hour, hour).max_size(10);
    let fates_of_full = fates((0..40).map(|n| task(&fleet, n, full()))).await?;
    let full = jobs(&fates_of_full)?;
    assert_eq!(full.len(), 4, "{full:?}");
    succeed(&fleet, &full).await?;
    check(&lists, 40);
    // By bytes: each is half of what a payload may have.
    lists.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let client = fleet.client.clone().with_payloads(windlass::client::Payloads {
        inline_bytes: 400_000,
        ..windlass::client::Payloads::default()
    });
    let large = |n: u32| {
        let text = format!("{n}{}", " ".repeat(200_000));
        let aggregate = Aggregate::key("bytes", Duration::from_millis(500), hour);
        client.raw("test.items", text.into(), "application/json").aggregate(aggregate)
    };
    let fates_of_large = fates((0..5).map(large)).await?;
    let by_bytes = jobs(&fates_of_large)?;
    ensure!(by_bytes.len() >= 3, "{by_bytes:?}");
    succeed(&fleet, &by_bytes).await?;
    check(&lists, 5);
    Ok(())
}

/// Every member is in one list, whatever step its dispatcher dies at.
#[tokio::test(flavor = "multi_thread")]
async fn members_are_collected_once_while_dispatchers_die() -> Result<()> {
    let points = [
        "dispatcher.task.read=kill@5",
        "dispatcher.job.created=kill@1",
        "dispatcher.job.created=kill@9",
        "dispatcher.accepted.said=kill@3",
        "dispatcher.task.acked=kill@3",
    ];
    let mut fleet = Fleet::start().await?;
    for (number, point) in points.iter().enumerate() {
        fleet.set_env("WINDLASS_FAILPOINTS", *point);
        fleet.service(&format!("dispatcher-{number}")).await?;
    }
    fleet.set_env("WINDLASS_FAILPOINTS", "");
    let (_worker, lists) = worker(&fleet).await?;
    let publishing = fates((0..200).map(|n| task(&fleet, n, group())).collect::<Vec<_>>());
    let (fates, ()) = tokio::try_join!(publishing, async {
        for number in 0..points.len() {
            fleet.process(&format!("dispatcher-{number}"))?.ended().await?;
        }
        fleet.service("dispatcher").await
    })?;
    let jobs = jobs(&fates)?;
    succeed(&fleet, &jobs).await?;
    check(&lists, 200);
    // Its own events are told though its first member's dispatcher died.
    for job in jobs {
        fleet.tap.heard(job, Transition::Accepted).await?;
    }
    Ok(())
}
