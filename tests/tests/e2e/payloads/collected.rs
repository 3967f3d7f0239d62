//! What no job needs any more is found and removed, and nothing else.

use std::time::Duration;

use anyhow::Result;
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

#[tokio::test(flavor = "multi_thread")]
async fn what_no_job_needs_is_collected() -> Result<()> {
    let layout = Layout { ack_wait: Duration::from_secs(2), horizon: HORIZON, ..Layout::default() };
    let mut fleet = Fleet::start_with(layout).await?;
    let client = publisher(&fleet).await?;
    let admin = fleet.broker.client("admin").await?;
    // Its publisher died before its task was sent; another before its payload was whole; a third is none of ours.
    let payloads = Objects::payloads(client.broker(), &PoolName::default());
    let orphan: JobId = "01890a5d-ac96-774b-bcce-b302099a8061".parse()?;
    let bytes = vec![7; 300_000].into();
    payloads.put(&QueueName::default(), orphan, &bytes, Instant::now() + PATIENCE).await?;
    for nuid in ["ZGVmYXVsdC8wMTg5MGE1ZC1hYzk2LTc3NGItYmNjZS1iMzAyMDk5YTgwNjIveA==", "foreign"] {
        let subject = format!("$O.windlass_payloads_default.C.{nuid}");
        let answer = fleet.broker.client("publisher").await?.store(&subject, &[], "part").await?;
        assert!(answer["seq"].is_u64(), "{answer}");
    }
    // Needed: by a job that waits, by a dead one's letter, and by a task that no dispatcher has seen yet.
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
    // Rounds come every third of the horizon: in this time there were several.
    tokio::time::sleep_until(begun + HORIZON * 3).await;
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
