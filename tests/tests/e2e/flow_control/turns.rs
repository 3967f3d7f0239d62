//! Whose turn it is: priorities, tenants, pauses.

use anyhow::Result;
use futures::future::try_join_all;
use windlass_core::flow::{Fairness, Priorities};
use windlass_core::{Priority, Transition};

use super::{Work, all_succeed, fleet, pause, set, work};

/// A thousand jobs of one tenant do not keep another's few waiting.
#[tokio::test(flavor = "multi_thread")]
async fn tenants_take_turns() -> Result<()> {
    let (fleet, _worker, log) = fleet(|settings| {
        settings.concurrency = Some(1);
        settings.fairness = Some(Fairness::default());
    })
    .await?;
    // Holds the only slot until all wait.
    let gate = fleet.client.task(&Work { name: "gate".to_owned(), gated: true }).submit().await?.id;
    fleet.tap.heard(gate, Transition::Started).await?;
    let mut ids = vec![gate];
    for (name, count) in [("large", 60), ("small", 5)] {
        let submitted = (0..count).map(|_| fleet.client.task(&work(name)).tenant(name).submit());
        ids.extend(try_join_all(submitted).await?.into_iter().map(|one| one.id));
    }
    for id in &ids[1..] {
        fleet.tap.heard(*id, Transition::Held).await?;
    }
    log.open();
    all_succeed(&fleet, &ids).await?;
    log.with(|seen| {
        let last_of_small = seen.begun.iter().rposition(|name| name == "small");
        assert!(last_of_small <= Some(12), "{:?}", seen.begun);
    });
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_urgent_go_first() -> Result<()> {
    let (fleet, _worker, log) = fleet(|settings| {
        settings.concurrency = Some(1);
        settings.priorities = Priorities::Strict;
    })
    .await?;
    let gate = fleet.client.task(&Work { name: "gate".to_owned(), gated: true }).submit().await?.id;
    fleet.tap.heard(gate, Transition::Started).await?;
    let mut ids = vec![gate];
    for priority in [Priority::Low, Priority::Critical, Priority::Normal, Priority::High] {
        for _ in 0..5 {
            let task = fleet.client.task(&work(priority.as_str())).priority(priority);
            ids.push(task.submit().await?.id);
        }
    }
    for id in &ids[1..] {
        fleet.tap.heard(*id, Transition::Held).await?;
    }
    log.open();
    all_succeed(&fleet, &ids).await?;
    log.with(|seen| {
        let expected: Vec<_> = Priority::ALL.iter().flat_map(|p| [p.as_str(); 5]).collect();
        assert_eq!(seen.begun[1..], expected);
    });
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_queue_starts_nothing_until_it_is_resumed() -> Result<()> {
    let pause = pause(false);
    let (fleet, _worker, log) = fleet(|settings| settings.paused = Some(pause.clone())).await?;
    let id = fleet.client.task(&work("x")).submit().await?.id;
    fleet.tap.heard(id, Transition::Held).await?;
    log.with(|seen| assert_eq!(seen.begun.len(), 0));
    set(&fleet, |settings| settings.paused = None).await?;
    all_succeed(&fleet, &[id]).await?;
    // Nothing is set any more: the next passes without a wait.
    let next = fleet.client.task(&work("y")).submit().await?.id;
    all_succeed(&fleet, &[next]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_kind_and_a_paused_key_wait_and_others_do_not() -> Result<()> {
    let pause = pause(false);
    let (fleet, _worker, log) = fleet(|settings| {
        settings.paused_kinds.insert("test.paused".parse().unwrap(), pause.clone());
        settings.paused_keys.insert("paused".to_owned(), pause.clone());
    })
    .await?;
    let of_kind = fleet.client.raw("test.paused", "null".into(), "application/json").submit().await?.id;
    let of_key = fleet.client.task(&work("of key")).key("paused").submit().await?.id;
    let other = fleet.client.task(&work("other")).key("other").submit().await?.id;
    all_succeed(&fleet, &[other]).await?;
    for id in [of_kind, of_key] {
        fleet.tap.heard(id, Transition::Held).await?;
    }
    log.with(|seen| assert_eq!(seen.begun, ["other"]));
    set(&fleet, |settings| settings.paused_keys.clear()).await?;
    all_succeed(&fleet, &[of_key]).await?;
    set(&fleet, |settings| settings.paused_kinds.clear()).await?;
    // Nobody here has a handler for it; but it is let through.
    fleet.tap.heard(of_kind, Transition::Queued).await?;
    Ok(())
}
