//! Debounce, throttle, and keys that are held for a time.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use windlass::{Instead, JobId, Unique};
use windlass_broker::provision::Layout;
use windlass_core::Transition;
use windlass_testkit::{Fleet, PATIENCE};

use super::{Fate, fate, fates, job, replaced_by, standing};
use crate::flow_control::{Log, all_succeed, fleet, host, work};

const SHORT: Duration = Duration::from_millis(800);

async fn at(fleet: &Fleet, id: JobId, transition: Transition) -> Result<Timestamp> {
    Ok(fleet.tap.heard(id, transition).await?.at)
}

/// Of those that come together the last one runs, once nothing has come for the delay.
#[tokio::test(flavor = "multi_thread")]
async fn a_debounce_runs_the_last_of_a_burst() -> Result<()> {
    let (mut fleet, _worker, log) = fleet(|_| {}).await?;
    fleet.service("dispatcher-2").await?;
    let task = |n: usize| fleet.client.task(&work(&n.to_string())).unique(Unique::key("k").debounce(SHORT));
    let mut jobs = Vec::new();
    for n in 0..20 {
        jobs.push(job(task(n)).await?);
    }
    let last = *jobs.last().context("none")?;
    for pair in jobs.windows(2) {
        assert_eq!(replaced_by(&fleet, pair[0]).await?, pair[1]);
    }
    all_succeed(&fleet, &[last]).await?;
    let waited = at(&fleet, last, Transition::Started)
        .await?
        .duration_since(at(&fleet, last, Transition::Accepted).await?);
    assert!(waited >= SignedDuration::try_from(SHORT)?, "{waited:?}");
    log.with(|seen| assert_eq!(seen.begun, ["19"]));
    // Many at once: one of them runs.
    let fates = fates((100..150).map(task)).await?;
    let mut ran = 0;
    for fate in fates {
        if let Fate::Job(id) = fate {
            ran += usize::from(fleet.ended(id).await.is_ok());
        }
    }
    // Those of a dispatcher that come together never had a job.
    assert_eq!(ran, 1);
    log.with(|seen| assert_eq!(seen.begun.len(), 2, "{seen:?}"));
    Ok(())
}

/// However many come, the first of them does not wait longer than the bound.
#[tokio::test(flavor = "multi_thread")]
async fn a_debounce_waits_no_longer_than_its_bound() -> Result<()> {
    let (fleet, _worker, _log) = fleet(|_| {}).await?;
    let bound = Duration::from_secs(2);
    let mut first = None;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    // Each comes sooner than the delay would let the one before start.
    let started = loop {
        ensure!(tokio::time::Instant::now() < deadline, "it waits for ever");
        let unique = Unique::key("k").debounce(SHORT).max_delay(bound);
        let id = job(fleet.client.task(&work("x")).unique(unique)).await?;
        let accepted = at(&fleet, id, Transition::Accepted).await?;
        let first = *first.get_or_insert(accepted);
        let begun = fleet.tap.until("so far", |_| true).await?;
        if let Some(start) = begun.iter().find(|event| event.transition == Transition::Started) {
            break start.at.duration_since(first);
        }
    };
    let bound = SignedDuration::try_from(bound)?;
    assert!(started >= bound - SignedDuration::from_millis(10), "{started:?}");
    assert!(started < bound + SignedDuration::from_secs(1), "{started:?}");
    Ok(())
}

/// The first runs at once, and of those that come within the period the last at its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_throttle_starts_one_a_period() -> Result<()> {
    let (fleet, _worker, log) = fleet(|_| {}).await?;
    let period = Duration::from_secs(2);
    let task = |name: &str| fleet.client.task(&work(name)).unique(Unique::key("k").throttle(period));
    let first = job(task("first")).await?;
    all_succeed(&fleet, &[first]).await?;
    let mut later = Vec::new();
    for name in ["a", "b", "c"] {
        later.push(job(task(name)).await?);
    }
    all_succeed(&fleet, &later[2..]).await?;
    for pair in later.windows(2) {
        assert_eq!(replaced_by(&fleet, pair[0]).await?, pair[1]);
    }
    let due = at(&fleet, first, Transition::Accepted).await?;
    let started = at(&fleet, later[2], Transition::Started).await?;
    let between = started.duration_since(due);
    assert!(between >= SignedDuration::try_from(period)?, "{between:?}");
    log.with(|seen| assert_eq!(seen.begun, ["first", "c"]));
    Ok(())
}

/// A key that is held for a time refuses others though its job has ended, and none after that. Then its marker goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_held_for_a_time_and_no_longer() -> Result<()> {
    let horizon = Duration::from_secs(6);
    let layout = Layout { ack_wait: Duration::from_secs(2), horizon, ..Layout::default() };
    let mut fleet = Fleet::start_with(layout).await?;
    fleet.service("dispatcher").await?;
    let log = Log::default();
    let _worker = host(&fleet, &log).await?;
    let time = Duration::from_secs(3);
    let task = || fleet.client.task(&work("x")).unique(Unique::key("k").for_time(time));
    let first = job(task()).await?;
    all_succeed(&fleet, &[first]).await?;
    let refused = fate(task()).await?;
    let expected = matches!(refused, Fate::Other { instead: Instead::Refused, other, .. } if other == first);
    ensure!(expected, "{refused:?}");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let second = loop {
        ensure!(tokio::time::Instant::now() < deadline, "the key is held for ever");
        match fate(task()).await? {
            Fate::Job(id) => break id,
            // Nothing tells that a time has passed but trying.
            Fate::Other { .. } => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let held = at(&fleet, second, Transition::Accepted)
        .await?
        .duration_since(at(&fleet, first, Transition::Accepted).await?);
    assert!(held >= SignedDuration::try_from(time)?, "{held:?}");
    all_succeed(&fleet, &[second]).await?;
    // The reconciler removes what has no further use.
    while standing(&fleet).await?.contains_key("unique") {
        ensure!(tokio::time::Instant::now() < deadline, "the marker stays");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
