//! Owners that die, and what is left behind.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use jiff::SignedDuration;
use windlass_broker::flow::Flow;
use windlass_broker::provision::Layout;
use windlass_broker::why;
use windlass_core::flow::{Cause, Fairness, FlowKey, Lane};
use windlass_core::{JobId, PoolName, Priority, QueueName, Transition};
use windlass_testkit::Fleet;

use super::{Log, Work, all_succeed, fleet, host, set, work};
use crate::support::order;

/// Another dispatcher goes on within five seconds, and lets through no more than the limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_owner_is_replaced_in_time() -> Result<()> {
    let (mut fleet, _worker, log) = fleet(|settings| settings.concurrency = Some(1)).await?;
    fleet.service("dispatcher-2").await?;
    let gate = fleet.client.task(&Work { name: "gate".to_owned(), gated: true }).submit().await?.id;
    fleet.tap.heard(gate, Transition::Started).await?;
    let submitted = (0..20).map(|_| fleet.client.task(&work("x")).submit());
    let ids: Vec<_> = try_join_all(submitted).await?.into_iter().map(|one| one.id).collect();
    for id in &ids {
        fleet.tap.heard(*id, Transition::Held).await?;
    }
    fleet.kill9("dispatcher").await?;
    let killed = jiff::Timestamp::now();
    log.open();
    all_succeed(&fleet, &ids).await?;
    let starts = try_join_all(ids.iter().map(|id| fleet.tap.heard(*id, Transition::Started))).await?;
    let first = starts.iter().map(|event| event.at).min().unwrap_or_default();
    let after = first.duration_since(killed);
    assert!(after < SignedDuration::from_secs(5), "the next job began {after:?} after its owner's death");
    log.with(|seen| assert_eq!(seen.most_of_all, 1));
    Ok(())
}

/// The first of a tenant is cancelled while its owner decides that it waits, and that is refused: whoever comes next is
/// known of to the owner that follows.
#[tokio::test(flavor = "multi_thread")]
async fn a_lane_is_told_of_though_its_first_was_refused() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    set(&fleet, |settings| {
        settings.concurrency = Some(1);
        settings.fairness = Some(Fairness::default());
    })
    .await?;
    let slow = [("WINDLASS_FAILPOINTS".to_owned(), "dispatcher.flow.committed=pause:4000@1".into())];
    fleet.spawn_program("dispatcher", "windlass-dispatcher", "dispatcher", &slow).await?;
    fleet.process("dispatcher")?.ready().await?;
    let log = Log::default();
    let _worker = host(&fleet, &log).await?;
    let gate =
        fleet.client.task(&Work { name: "gate".to_owned(), gated: true }).tenant("a").submit().await?.id;
    fleet.tap.heard(gate, Transition::Started).await?;
    let first = fleet.client.task(&work("x")).tenant("b").submit().await?.id;
    let next = fleet.client.task(&work("x")).tenant("b").submit().await?.id;
    for id in [first, next] {
        fleet.tap.heard(id, Transition::Accepted).await?;
    }
    order(&fleet, "default", "cancel", first).await?;
    fleet.tap.heard(first, Transition::Cancelled).await?;
    fleet.tap.heard(next, Transition::Held).await?;
    let flow = Flow::new(&fleet.operator, PoolName::default(), QueueName::default());
    let lanes: Vec<_> = flow.lanes().await?.into_iter().map(|(lane, _)| lane).collect();
    assert_eq!(lanes, [lane_of("b")?]);
    fleet.kill9("dispatcher").await?;
    fleet.service("dispatcher-2").await?;
    log.open();
    all_succeed(&fleet, &[next]).await
}

fn lane_of(tenant: &str) -> Result<Lane> {
    Ok(Lane::new(Priority::Normal, tenant.parse::<FlowKey>()?.token()))
}

/// A slot of a job that is not there is given back.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_nobody_gives_back_is_found() -> Result<()> {
    let layout = Layout { ack_wait: Duration::from_secs(1), ..Layout::default() };
    let mut fleet = Fleet::start_with(layout).await?;
    set(&fleet, |settings| settings.concurrency = Some(1)).await?;
    // As a worker of a version that knows no slots leaves it.
    let admin = fleet.broker.client("admin").await?;
    let leaked = format!("windlass.job.default.slot.turn.all.{}", JobId::nil());
    let timer = [
        ("Nats-Schedule", "@at 2200-01-01T00:00:00Z"),
        ("Nats-Schedule-Target", "windlass.job.default.due.notice.all.x"),
    ];
    let stored = admin.store(&leaked, &timer, Vec::new()).await?;
    assert!(stored.get("error").is_none(), "{stored}");
    fleet.service("dispatcher").await?;
    let log = Log::default();
    let _worker = host(&fleet, &log).await?;
    let id = fleet.client.task(&work("x")).submit().await?.id;
    fleet.tap.heard(id, Transition::Held).await?;
    all_succeed(&fleet, &[id]).await
}

/// A held job whose place in line somebody has deleted by hand is found, and runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_job_that_stands_in_no_line_is_found() -> Result<()> {
    // The reconciler looks every third of the horizon, at what is older than that.
    let (ack_wait, horizon) = (Duration::from_secs(2), Duration::from_secs(6));
    let layout = Layout { ack_wait, horizon, ..Layout::default() };
    let mut fleet = Fleet::start_with(layout).await?;
    set(&fleet, |settings| settings.concurrency = Some(1)).await?;
    fleet.service("dispatcher").await?;
    let log = Log::default();
    let _worker = host(&fleet, &log).await?;
    let gate = fleet.client.task(&Work { name: "gate".to_owned(), gated: true }).submit().await?.id;
    fleet.tap.heard(gate, Transition::Started).await?;
    let id = fleet.client.task(&work("x")).submit().await?.id;
    fleet.tap.heard(id, Transition::Held).await?;
    let admin = fleet.broker.client("admin").await?;
    let place = format!("windlass.job.default.wait.turn.normal.all.{id}");
    let purged = admin.api("STREAM.PURGE.JOBS", &serde_json::json!({ "filter": place })).await?;
    assert_eq!(purged["purged"], 1, "{purged}");
    let flow = Flow::new(&fleet.operator, PoolName::default(), QueueName::default());
    let found = why::why(&flow, id).await?.context("it is known")?;
    assert!(matches!(found.cause, Cause::Held { .. }), "{found:?}");
    // An owner that begins anew knows only what stands there.
    fleet.kill9("dispatcher").await?;
    fleet.service("dispatcher").await?;
    log.open();
    all_succeed(&fleet, &[gate]).await?;
    fleet.tap.heard(id, Transition::Released).await?;
    all_succeed(&fleet, &[id]).await
}

/// A job that is cancelled while it waits leaves its line, and its key to others.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_job_is_cancelled() -> Result<()> {
    let (fleet, _worker, log) = fleet(|settings| {
        (settings.concurrency, settings.key_concurrency) = (Some(1), Some(1));
    })
    .await?;
    let gate = fleet.client.task(&Work { name: "gate".to_owned(), gated: true }).key("a").submit().await?.id;
    fleet.tap.heard(gate, Transition::Started).await?;
    let mut ids = Vec::new();
    // For their turn, and behind each other for their key.
    for key in ["a", "b", "b", "b"] {
        ids.push(fleet.client.task(&work(key)).key(key).submit().await?.id);
    }
    for id in &ids {
        fleet.tap.heard(*id, Transition::Held).await?;
    }
    for id in [ids[1], ids[2]] {
        crate::support::order(&fleet, "default", "cancel", id).await?;
        fleet.tap.heard(id, Transition::Cancelled).await?;
    }
    log.open();
    all_succeed(&fleet, &[gate, ids[0], ids[3]]).await?;
    log.with(|seen| assert_eq!(seen.begun.len(), 3, "{seen:?}"));
    let admin = fleet.broker.client("admin").await?;
    let subjects: std::collections::BTreeMap<String, u64> =
        serde_json::from_value(admin.subjects("JOBS").await?)?;
    let left: Vec<_> =
        subjects.keys().filter(|text| matches!(text.split('.').nth(3), Some("slot" | "wait"))).collect();
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}
