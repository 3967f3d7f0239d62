//! Dispatchers that are killed at each step: there is one job of a key, and every task is told what became of it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use windlass::{Instead, JobId, OnConflict, Unique};
use windlass_core::Transition;
use windlass_testkit::Fleet;

use super::{Fate, HOUR, fates, gated, standing};
use crate::flow_control::{Log, all_succeed, host, set, work};

/// Dispatchers, each of which dies at another step, and one that goes on.
async fn fleet(points: &[&str], limited: bool) -> Result<Fleet> {
    let mut fleet = Fleet::start().await?;
    set(&fleet, |settings| settings.concurrency = limited.then_some(5)).await?;
    for (number, point) in points.iter().enumerate() {
        fleet.set_env("WINDLASS_FAILPOINTS", *point);
        fleet.service(&format!("dispatcher-{number}")).await?;
    }
    fleet.set_env("WINDLASS_FAILPOINTS", "");
    Ok(fleet)
}

/// All that were to die have.
async fn died(fleet: &mut Fleet, points: &[&str]) -> Result<()> {
    for number in 0..points.len() {
        fleet.process(&format!("dispatcher-{number}"))?.ended().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_publishers_and_dispatchers_that_die() -> Result<()> {
    let points = [
        "dispatcher.task.read=kill@9",
        "dispatcher.job.created=kill@1",
        "dispatcher.job.created=kill@7",
        "dispatcher.accepted.said=kill@5",
        "dispatcher.task.acked=kill@3",
    ];
    for limited in [false, true] {
        let mut fleet = fleet(&points, limited).await?;
        let log = Log::default();
        let _worker = host(&fleet, &log).await?;
        let tasks = (0..300).map(|_| fleet.client.task(&gated("x")).unique(Unique::key("k")));
        let publishing = fates(tasks.collect::<Vec<_>>());
        let (fates, ()) = tokio::try_join!(publishing, async {
            died(&mut fleet, &points).await?;
            fleet.service("dispatcher").await
        })?;
        let jobs: Vec<JobId> = fates
            .iter()
            .filter_map(|fate| match fate {
                Fate::Job(id) => Some(*id),
                Fate::Other { .. } => None,
            })
            .collect();
        ensure!(jobs.len() == 1, "not one job: {jobs:?}");
        for fate in &fates {
            if let Fate::Other { id, instead, other } = fate {
                assert_eq!((*instead, *other), (Instead::Refused, jobs[0]));
                fleet.tap.heard(*id, Transition::Accepted).await?;
                fleet.tap.heard(*id, Transition::Cancelled).await?;
            }
        }
        log.open();
        all_succeed(&fleet, &jobs).await?;
        log.with(|seen| assert_eq!(seen.begun.len(), 1, "{seen:?}"));
    }
    Ok(())
}

/// Each replaces the one before, whatever step its dispatcher dies at; one is left, and every end is said.
#[tokio::test(flavor = "multi_thread")]
async fn replacing_while_dispatchers_die() -> Result<()> {
    let points = [
        "dispatcher.task.read=kill@2",
        "dispatcher.job.created=kill@2",
        "dispatcher.cancel.written=kill@2",
        "dispatcher.cancel.said=kill@2",
        "dispatcher.cancel.deleted=kill@2",
        "dispatcher.accepted.said=kill@2",
    ];
    for limited in [false, true] {
        let mut fleet = fleet(&points, limited).await?;
        let log = Log::default();
        let _worker = host(&fleet, &log).await?;
        let tasks = (0..60).map(|n: usize| {
            let unique = Unique::key("k").on_conflict(OnConflict::Replace);
            fleet.client.task(&work(&n.to_string())).delay(HOUR).unique(unique)
        });
        let publishing = fates(tasks.collect::<Vec<_>>());
        let (fates, ()) = tokio::try_join!(publishing, async {
            died(&mut fleet, &points).await?;
            fleet.service("dispatcher").await
        })?;
        let ids: BTreeSet<JobId> = fates
            .iter()
            .map(|fate| match fate {
                Fate::Job(id) | Fate::Other { id, .. } => *id,
            })
            .collect();
        // All but one end, each for another of them, and say so.
        let all = fleet
            .tap
            .until("all but one end", |all| {
                let ended = all.iter().filter(|event| event.transition == Transition::Cancelled);
                ended.map(|event| event.job_id).collect::<BTreeSet<_>>().len() == ids.len() - 1
            })
            .await?;
        let ended: BTreeSet<_> = all
            .iter()
            .filter(|event| event.transition == Transition::Cancelled)
            .inspect(|event| {
                assert_eq!(event.error.as_ref().map(|error| error.code.as_str()), Some("replaced"));
                assert!(event.other_id.is_some_and(|other| ids.contains(&other)), "{event:?}");
            })
            .map(|event| event.job_id)
            .collect();
        let left = ids.iter().find(|id| !ended.contains(id)).copied().context("none is left")?;
        let standing = standing(&fleet).await?;
        assert_eq!(standing.get("later"), Some(&1), "{standing:?}");
        crate::support::order(&fleet, "default", "release", left).await?;
        all_succeed(&fleet, &[left]).await?;
        log.with(|seen| assert_eq!(seen.begun.len(), 1, "{seen:?}"));
    }
    Ok(())
}
