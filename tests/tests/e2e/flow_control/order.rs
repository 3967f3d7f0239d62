//! Strict order by key.

use anyhow::Result;
use windlass_broker::commands::Verb;
use windlass_core::Transition;
use windlass_core::flow::{OnDead, Order};

use super::{all_succeed, fleet, set, work};
use crate::dead_letters;

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_one_key_run_in_the_order_of_their_acceptance() -> Result<()> {
    let (fleet, _worker, log) = fleet(|settings| settings.order = Order::Fifo).await?;
    let mut ids = Vec::new();
    for n in 0..30 {
        // One after the other, so that their order is known.
        ids.push(fleet.client.task(&work(&format!("{n:02}"))).key("k").submit().await?.id);
    }
    all_succeed(&fleet, &ids).await?;
    log.with(|seen| {
        assert!(seen.begun.is_sorted(), "{:?}", seen.begun);
        assert_eq!((seen.begun.len(), seen.most_of_all), (30, 1));
    });
    Ok(())
}

/// One that waits for its next attempt holds up its key.
#[tokio::test(flavor = "multi_thread")]
async fn a_retrying_job_is_not_overtaken() -> Result<()> {
    let (fleet, _worker, log) = fleet(|settings| settings.order = Order::Fifo).await?;
    let mut ids = Vec::new();
    for name in ["fails once", "second", "third"] {
        ids.push(fleet.client.task(&work(name)).key("k").submit().await?.id);
    }
    let other = fleet.client.task(&work("other")).key("another").submit().await?.id;
    all_succeed(&fleet, &ids).await?;
    all_succeed(&fleet, &[other]).await?;
    log.with(|seen| {
        let of_key: Vec<_> = seen.begun.iter().filter(|name| *name != "other").collect();
        assert_eq!(of_key, ["fails once", "fails once", "second", "third"]);
    });
    Ok(())
}

/// A dead one holds its key up until somebody has dealt with it; where settings say so, it does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_job_blocks_its_key_or_is_skipped() -> Result<()> {
    let (fleet, _worker, log) = fleet(|settings| settings.order = Order::Fifo).await?;
    let dead = fleet.client.task(&work("dies")).key("k").submit().await?.id;
    fleet.tap.heard(dead, Transition::Dead).await?;
    let next = fleet.client.task(&work("next")).key("k").submit().await?.id;
    fleet.tap.heard(next, Transition::Held).await?;
    log.with(|seen| assert!(!seen.begun.contains(&"next".to_owned()), "{seen:?}"));
    let died = fleet.tap.heard(dead, Transition::Dead).await?;
    dead_letters::order(&fleet, Verb::Discard, dead, died.at).await?;
    all_succeed(&fleet, &[next]).await?;
    set(&fleet, |settings| settings.on_dead = Some(OnDead::Skip)).await?;
    let dead = fleet.client.task(&work("dies")).key("l").submit().await?.id;
    let next = fleet.client.task(&work("next")).key("l").submit().await?.id;
    fleet.tap.heard(dead, Transition::Dead).await?;
    all_succeed(&fleet, &[next]).await
}
