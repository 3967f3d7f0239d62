//! How fast jobs start.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use windlass_core::Transition;
use windlass_core::flow::Rate;
use windlass_core::{Event, JobId};
use windlass_testkit::Fleet;

use super::{Work, all_succeed, fleet, set, work};

const PER: Duration = Duration::from_secs(2);

fn rate(limit: u32) -> Rate {
    Rate { limit, per: PER, burst: None }
}

/// When these began, in order.
async fn starts(fleet: &Fleet, ids: &[JobId]) -> Result<Vec<Timestamp>> {
    let begun = try_join_all(ids.iter().map(|id| fleet.tap.heard(*id, Transition::Started))).await?;
    let mut at: Vec<_> = begun.iter().map(|event: &Event| event.at).collect();
    at.sort();
    Ok(at)
}

/// The owner's decision comes first, and the start by so much later at most.
const START: SignedDuration = SignedDuration::from_millis(400);

/// No more than so many in any window, but for the time from a decision to the start that follows.
fn keeps(at: &[Timestamp], limit: usize) {
    let per = SignedDuration::try_from(PER).unwrap_or_default();
    for window in at.windows(limit + 1) {
        let took = window[limit].duration_since(window[0]);
        assert!(took > per - START, "{limit} and one more started within {took:?}: {at:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_starts_no_more_than_its_rate() -> Result<()> {
    let (fleet, _worker, _log) = fleet(|settings| settings.rate = Some(rate(5))).await?;
    let submitted = (0..14).map(|_| fleet.client.task(&work("x")).submit());
    let ids: Vec<_> = try_join_all(submitted).await?.into_iter().map(|one| one.id).collect();
    all_succeed(&fleet, &ids).await?;
    keeps(&starts(&fleet, &ids).await?, 5);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_have_rates_of_their_own_by_points() -> Result<()> {
    let (fleet, _worker, _log) = fleet(|settings| settings.key_rate = Some(rate(4))).await?;
    let mut by_key = Vec::new();
    for key in ["a", "b"] {
        // Each costs half of what may go at once.
        let submitted = (0..5).map(|_| fleet.client.task(&work(key)).key(key).points(2).submit());
        by_key.push(try_join_all(submitted).await?.into_iter().map(|one| one.id).collect::<Vec<_>>());
    }
    let free = fleet.client.task(&work("free")).submit().await?.id;
    all_succeed(&fleet, &[free]).await?;
    for ids in &by_key {
        all_succeed(&fleet, ids).await?;
        keeps(&starts(&fleet, ids).await?, 2);
    }
    let first: Vec<_> = by_key.iter().map(|ids| ids[0]).collect();
    let first = starts(&fleet, &first).await?;
    let apart = first[1].duration_since(first[0]);
    assert!(apart < SignedDuration::try_from(PER)?, "keys do not wait for each other: {apart:?}");
    Ok(())
}

/// What costs more than ever goes at once is refused where it enters.
#[tokio::test(flavor = "multi_thread")]
async fn what_costs_too_much_is_refused() -> Result<()> {
    let (fleet, _worker, _log) = fleet(|settings| settings.rate = Some(rate(5))).await?;
    let id = fleet.client.task(&work("x")).points(6).submit().await?.id;
    let rejected =
        fleet.tap.until("a rejection", |all| all.iter().any(|event| event.claimed_id == Some(id))).await?;
    let rejected = rejected.iter().find(|event| event.claimed_id == Some(id));
    let error = rejected.and_then(|event| event.error.clone()).context("it says why")?;
    assert!(error.message.contains("points") && error.message.contains('5'), "{error:?}");
    Ok(())
}

/// A handler that is told to slow down slows its key, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_key_waits_for_the_whole_fleet() -> Result<()> {
    let (fleet, _worker, log) = fleet(|settings| settings.key_concurrency = Some(10)).await?;
    let throttled = Work { name: "throttle".to_owned(), gated: false };
    let first = fleet.client.task(&throttled).key("slow").submit().await?.id;
    fleet.tap.heard(first, Transition::Snoozed).await?;
    let slow = fleet.client.task(&work("slow")).key("slow").submit().await?.id;
    let fast = fleet.client.task(&work("fast")).key("fast").submit().await?.id;
    all_succeed(&fleet, &[fast]).await?;
    fleet.tap.heard(slow, Transition::Held).await?;
    log.with(|seen| assert!(!seen.begun.contains(&"slow".to_owned()), "{seen:?}"));
    all_succeed(&fleet, &[slow, first]).await?;
    let (throttled, slow) = (
        fleet.tap.heard(first, Transition::Snoozed).await?.at,
        fleet.tap.heard(slow, Transition::Started).await?.at,
    );
    assert!(slow.duration_since(throttled) > SignedDuration::from_millis(900), "{throttled} {slow}");
    Ok(())
}

/// A rate goes on where it stood, with another owner.
#[tokio::test(flavor = "multi_thread")]
async fn a_rate_outlives_its_owner() -> Result<()> {
    let (mut fleet, _worker, _log) = fleet(|settings| settings.rate = Some(rate(3))).await?;
    let submitted = (0..9).map(|_| fleet.client.task(&work("x")).submit());
    let ids: Vec<_> = try_join_all(submitted).await?.into_iter().map(|one| one.id).collect();
    fleet.tap.until("three starts", |all| begun(all) >= 3).await?;
    fleet.kill9("dispatcher").await?;
    fleet.service("dispatcher-2").await?;
    all_succeed(&fleet, &ids).await?;
    keeps(&starts(&fleet, &ids).await?, 3);
    set(&fleet, |settings| settings.rate = None).await?;
    Ok(())
}

fn begun(all: &[Event]) -> usize {
    all.iter().filter(|event| event.transition == Transition::Started).count()
}
