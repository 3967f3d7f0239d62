//! Limits on how many run at one time.

use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use windlass_core::flow::{AtLimit, QueueSettings, Rate};
use windlass_core::{JobState, Transition};

use super::{Work, all_succeed, fleet, work};
use crate::support::dead_letter;

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_one_key_run_one_at_a_time_and_keys_beside_each_other() -> Result<()> {
    let (fleet, _worker, log) = fleet(|settings| settings.key_concurrency = Some(1)).await?;
    let submitted = (0..60).map(|n| {
        let key = format!("key-{}", n % 6);
        fleet.client.task(&work(&key)).key(&key).submit()
    });
    let ids: Vec<_> = try_join_all(submitted).await?.into_iter().map(|one| one.id).collect();
    all_succeed(&fleet, &ids).await?;
    log.with(|seen| {
        assert!(seen.most.values().all(|most| *most == 1), "{seen:?}");
        assert!(seen.most_of_all > 1, "keys do not wait for each other: {seen:?}");
    });
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_runs_no_more_than_its_limit() -> Result<()> {
    let (fleet, _worker, log) = fleet(|settings| settings.concurrency = Some(5)).await?;
    let submitted = (0..80).map(|_| fleet.client.task(&work("x")).submit());
    let ids: Vec<_> = try_join_all(submitted).await?.into_iter().map(|one| one.id).collect();
    all_succeed(&fleet, &ids).await?;
    log.with(|seen| assert!((2..=5).contains(&seen.most_of_all), "{seen:?}"));
    Ok(())
}

/// Both limits at once: a key's, within the queue's.
#[tokio::test(flavor = "multi_thread")]
async fn keys_wait_within_the_limit_of_their_queue() -> Result<()> {
    let (fleet, _worker, log) = fleet(|settings| {
        settings.concurrency = Some(3);
        settings.key_concurrency = Some(2);
    })
    .await?;
    let submitted = (0..60).map(|n| {
        let key = format!("key-{}", n % 4);
        fleet.client.task(&work(&key)).key(&key).submit()
    });
    let ids: Vec<_> = try_join_all(submitted).await?.into_iter().map(|one| one.id).collect();
    all_succeed(&fleet, &ids).await?;
    log.with(|seen| {
        assert!(seen.most.values().all(|most| *most <= 2), "{seen:?}");
        assert!((2..=3).contains(&seen.most_of_all), "{seen:?}");
    });
    Ok(())
}

/// At the limit of a key, by each choice: who comes is cancelled, is dead with a letter, or takes the oldest's place.
#[tokio::test(flavor = "multi_thread")]
async fn at_the_limit_somebody_ends_as_settings_say() -> Result<()> {
    for (at_limit, expected) in [
        (AtLimit::CancelNew, JobState::Cancelled),
        (AtLimit::Reject, JobState::Dead),
        (AtLimit::CancelOldest, JobState::Succeeded),
    ] {
        let of_key: fn(&mut QueueSettings) = |settings| settings.key_concurrency = Some(1);
        let of_queue: fn(&mut QueueSettings) = |settings| settings.concurrency = Some(1);
        // Who has passed the rate of its key, and ends at the queue's limit, is counted there no more.
        let of_queue_with_rate: fn(&mut QueueSettings) = |settings| {
            settings.concurrency = Some(1);
            settings.key_rate = Some(Rate { limit: 100, per: Duration::from_secs(1), burst: None });
        };
        for limit in [of_key, of_queue, of_queue_with_rate] {
            let (fleet, _worker, log) = fleet(|settings| {
                settings.at_limit = at_limit;
                limit(settings);
            })
            .await?;
            let gated = Work { name: "first".to_owned(), gated: true };
            let first = fleet.client.task(&gated).key("k").submit().await?.id;
            fleet.tap.heard(first, Transition::Started).await?;
            let second = fleet.client.task(&work("second")).key("k").submit().await?.id;
            assert_eq!(fleet.ended(second).await?.state, expected, "{at_limit:?}");
            if at_limit == AtLimit::Reject {
                // Its letter is stored before its event, and after the record of its end.
                fleet.tap.heard(second, Transition::Dead).await?;
                let letter = dead_letter(&fleet, "default", second).await?;
                assert_eq!(letter.code, "limit");
            }
            log.open();
            let ended = fleet.ended(first).await?.state;
            let cancelled = at_limit == AtLimit::CancelOldest;
            assert_eq!(ended, if cancelled { JobState::Cancelled } else { JobState::Succeeded });
            // The slot is free for the next.
            let third = fleet.client.task(&work("third")).key("k").submit().await?.id;
            all_succeed(&fleet, &[third]).await?;
        }
    }
    Ok(())
}

/// Jobs that become due at one instant are decided on one after the other; meanwhile what is given back is heard of, and
/// others start.
#[tokio::test(flavor = "multi_thread")]
async fn slots_go_on_while_many_are_decided_on() -> Result<()> {
    const MANY: usize = 3000;
    // One in each round of some 250 decisions, as the limit is one.
    const AT_LEAST: usize = 4;
    let (fleet, _worker, _log) = fleet(|settings| settings.concurrency = Some(1)).await?;
    let due_at = jiff::Timestamp::now() + std::time::Duration::from_secs(8);
    let submitted = (0..MANY).map(|_| fleet.client.task(&work("x")).run_at(due_at).submit());
    try_join_all(submitted).await?;
    let count =
        |all: &[windlass_core::Event], transition| all.iter().filter(|e| e.transition == transition).count();
    let all = fleet.tap.until("all wait but those that run", |all| {
        let started = count(all, Transition::Started);
        started > 0 && count(all, Transition::Held) + started >= MANY
    });
    let all = all.await?;
    let at = |transition| all.iter().filter(move |e| e.transition == transition).map(|event| event.at);
    assert_eq!(count(&all, Transition::Accepted), MANY);
    let accepted = at(Transition::Accepted).max();
    assert!(accepted < Some(due_at), "they were not due at one instant: {accepted:?}");
    let last_held = at(Transition::Held).max();
    let ended = at(Transition::Succeeded).filter(|at| Some(*at) < last_held).count();
    assert!(ended >= AT_LEAST, "{ended} had ended when the last began to wait");
    Ok(())
}

/// A line that is too long to be counted at each look is gone through to its end, by an owner that found it there.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_line_of_a_key_is_gone_through() -> Result<()> {
    const MANY: usize = 5400;
    const LIMIT: usize = 20;
    let (mut fleet, _worker, log) =
        fleet(|settings| settings.key_concurrency = u32::try_from(LIMIT).ok()).await?;
    let gated = Work { name: "x".to_owned(), gated: true };
    for _ in 0..LIMIT {
        fleet.client.task(&gated).key("k").submit().await?;
    }
    log.until("the limit is reached", |seen| seen.begun.len() == LIMIT).await?;
    try_join_all((0..MANY).map(|_| fleet.client.task(&work("x")).key("k").submit())).await?;
    let count =
        |all: &[windlass_core::Event], transition| all.iter().filter(|e| e.transition == transition).count();
    fleet.tap.until("all wait", |all| count(all, Transition::Held) >= MANY).await?;
    fleet.kill9("dispatcher").await?;
    fleet.service("dispatcher").await?;
    log.open();
    let ended = |all: &[windlass_core::Event]| count(all, Transition::Succeeded) >= MANY + LIMIT;
    fleet.tap.until("all have ended", ended).await?;
    log.with(|seen| assert!(seen.most_of_all <= LIMIT, "{}", seen.most_of_all));
    Ok(())
}
