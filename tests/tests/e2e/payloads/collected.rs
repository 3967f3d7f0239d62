//! What no job needs any more is found and removed, and nothing else.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::time::Instant;
use windlass_broker::objects::Objects;
use windlass_broker::provision::Layout;
use windlass_core::{JobId, PoolName, QueueName, Transition};
use windlass_testkit::{Fleet, PATIENCE};

use super::{STREAM, has, large, publisher};
use crate::support::{command, dead_letter};

/// What is younger is left alone.
const HORIZON: Duration = Duration::from_secs(4);

/// Waits until the dispatcher has gone round so many times since it started: every third of the horizon.
async fn rounds(fleet: &mut Fleet, count: u64) -> Result<()> {
    let url = format!("{}/metrics", fleet.process("dispatcher")?.http().await?);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = reqwest::get(&url).await?.text().await?;
        let line =
            text.lines().find_map(|line| line.strip_prefix("windlass_reconciler_round_seconds_count "));
        if line.and_then(|n| n.parse::<u64>().ok()) >= Some(count) {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "only {line:?} rounds");
        // Nothing tells of a round but its count.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A task may wait in TASKS for longer than what nobody needs is left alone: its payload is stored, and no job names it.
#[tokio::test(flavor = "multi_thread")]
async fn the_payload_of_a_task_that_waits_is_left_alone() -> Result<()> {
    let (ack_wait, horizon) = (Duration::from_secs(1), Duration::from_secs(3));
    let mut fleet = Fleet::start_with(Layout { ack_wait, horizon, ..Layout::default() }).await?;
    let admin = fleet.broker.client("admin").await?;
    let pause = "CONSUMER.PAUSE.TASKS.dispatcher";
    let paused = admin.api(pause, &json!({ "pause_until": "2099-01-01T00:00:00Z" })).await?;
    assert_eq!(paused["paused"], true, "{paused}");
    let id = large(&publisher(&fleet).await?, &command(&["true"])).submit().await?.id;
    fleet.service("dispatcher").await?;
    rounds(&mut fleet, 6).await?;
    has(&fleet, 1).await?;
    admin.api(pause, &json!({})).await?;
    fleet.service("worker").await?;
    fleet.result(id).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_job_needs_is_collected() -> Result<()> {
    let layout = Layout { ack_wait: Duration::from_secs(2), horizon: HORIZON, ..Layout::default() };
    let mut fleet = Fleet::start_with(layout).await?;
    let client = publisher(&fleet).await?;
    let admin = fleet.broker.client("admin").await?;
    // Its publisher died before its task was sent; another before its payload was whole; a third is none of ours.
    let payloads = Objects::payloads(client.broker().context("no connection")?, &PoolName::default());
    let orphan: JobId = "01890a5d-ac96-774b-bcce-b302099a8061".parse()?;
    let bytes = vec![7; 300_000].into();
    payloads.put(&QueueName::default(), orphan, &bytes, Instant::now() + PATIENCE).await?;
    for nuid in ["ZGVmYXVsdC8wMTg5MGE1ZC1hYzk2LTc3NGItYmNjZS1iMzAyMDk5YTgwNjIveA==", "foreign"] {
        let subject = format!("$O.windlass_payloads_default.C.{nuid}");
        let answer = fleet.broker.client("publisher").await?.store(&subject, &[], "part").await?;
        assert!(answer["seq"].is_u64(), "{answer}");
    }
    // Needed: by a job that waits, and by a dead one's letter.
    let waiting = large(&client, &command(&["true"])).delay(Duration::from_secs(3600)).submit().await?.id;
    let dead = large(&client, &command(&["false"]).failing()).max_attempts(1).submit().await?.id;
    has(&fleet, 5).await?;
    let begun = Instant::now();
    fleet.service("dispatcher").await?;
    fleet.service("worker").await?;
    fleet.tap.heard(waiting, Transition::Accepted).await?;
    fleet.tap.heard(dead, Transition::Dead).await?;
    has(&fleet, 2).await?;
    assert!(begun.elapsed() >= HORIZON / 2, "collected while it was young");
    // What is left is old by now, and is looked at again and again.
    rounds(&mut fleet, 6).await?;
    let left = admin.objects("windlass_payloads_default").await?;
    let mut owners: Vec<_> =
        left.iter().map(|(name, _)| name.split('/').nth(1).unwrap_or_default()).collect();
    owners.sort_unstable();
    let mut expected = [waiting.to_string(), dead.to_string()];
    expected.sort_unstable();
    assert_eq!(owners, expected);
    // Without its letter nobody can run the dead job again.
    dead_letter(&fleet, "default", dead).await?;
    let purge = json!({ "filter": format!("windlass.dead.default.{dead}") });
    admin.api("STREAM.PURGE.DEAD", &purge).await?;
    has(&fleet, 1).await?;
    assert_eq!(admin.api(&format!("STREAM.INFO.{STREAM}"), &json!({})).await?["error"], json!(null));
    Ok(())
}
