//! Programs of different versions beside each other: what a newer one wrote is never buried by one that does not know it.

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::time::Instant;
use windlass_core::{JobId, QueueName};
use windlass_proto::v1;
use windlass_testkit::broker::Client;
use windlass_testkit::{Fleet, PATIENCE};

use crate::support::command;

/// A number that no enumeration of this version has.
const NEWER: i32 = 99;

/// A job as a newer dispatcher or worker may have written it: after an attempt that ended in a way of its own.
fn written(id: JobId, change: impl FnOnce(&mut v1::Task)) -> v1::Job {
    let now = windlass_proto::instant(Timestamp::now());
    let mut task = v1::Task {
        id: id.to_string(),
        kind: "command.run".to_owned(),
        payload: command(&["true"]).json().into(),
        content_type: "application/json".to_owned(),
        ..v1::Task::default()
    };
    change(&mut task);
    let attempt = v1::Attempt { number: 1, ended_at: Some(now), outcome: NEWER, ..v1::Attempt::default() };
    v1::Job {
        task: Some(task),
        accepted_at: Some(now),
        due_at: Some(now),
        attempts: vec![attempt],
        nonce: "newer".into(),
        checkpoint: "{}".into(),
        ..v1::Job::default()
    }
}

async fn store(client: &Client, id: JobId, job: &v1::Job) -> Result<u64> {
    let stored =
        client.store(&format!("windlass.job.default.ready.normal.{id}"), &[], job.encode_to_vec()).await?;
    stored["seq"].as_u64().with_context(|| format!("not stored: {stored}"))
}

fn new_id() -> JobId {
    JobId::from_parts(Timestamp::now(), [7; 10])
}

/// The condition of a service that it understands what it reads, once it is as expected.
async fn condition(fleet: &mut Fleet, label: &str, ready: bool) -> Result<Value> {
    let url = format!("{}/readyz", fleet.process(label)?.http().await?);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer: Value = reqwest::get(&url).await?.json().await?;
        let conditions = answer["conditions"].as_array().context("no conditions")?;
        let found = conditions.iter().find(|condition| condition["name"] == "version");
        if let Some(found) = found.filter(|condition| condition["ready"] == ready) {
            return Ok(found.clone());
        }
        ensure!(Instant::now() < deadline, "{answer}");
        tokio::task::yield_now().await;
    }
}

/// A worker hands on a job that it does not understand, and says so: again and again, with what is known of it, until a
/// worker comes that does.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_not_understood_is_handed_on() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    condition(&mut fleet, "worker", true).await?;
    let client = fleet.broker.client("admin").await?;
    let mut claims = client.subscribe("windlass.job.default.claim.>").await?;
    let id = new_id();
    let policy = v1::RetryPolicy { backoff: NEWER, ..v1::RetryPolicy::default() };
    let job = written(id, |task| task.retry = Some(policy));
    let sequence = store(&client, id, &job).await?;

    let claim = v1::Claim::decode(client.next(&mut claims).await?.payload)?;
    assert_eq!((claim.reason(), claim.work_sequence), (v1::ClaimReason::HandBack, sequence));
    // Whoever understands it goes on from here.
    assert_eq!((&claim.attempts, &claim.checkpoint), (&job.attempts, &job.checkpoint));
    assert_eq!(claim.kind, "command.run");
    let condition = condition(&mut fleet, "worker", false).await?;
    let cause = condition["cause"].as_str().context("no cause")?;
    assert!(cause.contains("retry.backoff: 99") && cause.contains("upgrade"), "{cause}");

    // It is delivered again, and nothing else becomes of it.
    let deadline = Instant::now() + PATIENCE;
    let info = "CONSUMER.INFO.JOBS.worker-default";
    while client.api(info, &json!({})).await?["num_redelivered"] != 1 {
        ensure!(Instant::now() < deadline, "it is not delivered again");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let left = client.messages("JOBS").await?;
    assert_eq!(left.len(), 2, "the work and the hand-back: {left:?}");
    let letter = windlass_broker::dead::find(&fleet.operator, &QueueName::default(), id).await?;
    assert_eq!(letter, None);

    // A dispatcher that reads it does not bury it either: the command waits for one that understands it.
    let metrics = format!("{}/metrics", fleet.process("dispatcher")?.http().await?);
    let claimed = v1::Claim { reason: NEWER, ..claim };
    let subject = format!("windlass.job.default.claim.normal.{id}");
    client.store(&subject, &[], claimed.encode_to_vec()).await?;
    crate::support::order(&fleet, "default", "cancel", id).await?;
    let counted = "windlass_not_understood_total{stream=\"jobs\"";
    while !reqwest::get(&metrics).await?.text().await?.contains(counted) {
        ensure!(Instant::now() < deadline + PATIENCE, "the dispatcher does not say what it met");
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// How an earlier attempt ended is history: a worker that does not know the word goes on, and carries it on.
#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_is_not_known_is_carried_on() -> Result<()> {
    let fleet = Fleet::running().await?;
    let client = fleet.broker.client("admin").await?;
    let mut ends = client.subscribe("windlass.job.default.done.>").await?;
    let id = new_id();
    store(&client, id, &written(id, |_| {})).await?;
    let done = v1::Done::decode(client.next(&mut ends).await?.payload)?;
    let outcomes: Vec<_> = done.attempts.iter().map(|a| (a.number, a.outcome)).collect();
    assert_eq!(outcomes, [(1, NEWER), (2, v1::Outcome::Succeeded.into())]);
    fleet.result(id).await?;
    let shown: Value =
        serde_json::from_str(&fleet.cli(&["job", "get", &id.to_string(), "-o", "json"]).await?)?;
    assert_eq!(shown["attempts"][0]["outcome"], "unknown");
    Ok(())
}

/// A command of a newer program waits for a newer dispatcher.
#[tokio::test(flavor = "multi_thread")]
async fn a_verb_that_is_not_known_waits() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    condition(&mut fleet, "dispatcher", true).await?;
    crate::support::order(&fleet, "default", "promote", new_id()).await?;
    let condition = condition(&mut fleet, "dispatcher", false).await?;
    assert!(condition["cause"].as_str().is_some_and(|cause| cause.contains("promote")), "{condition}");
    let client = fleet.broker.client("admin").await?;
    for (stream, left) in [("COMMANDS", 1), ("DEAD", 0)] {
        let info = client.api(&format!("STREAM.INFO.{stream}"), &json!({})).await?;
        assert_eq!(info["state"]["messages"], left, "{stream}");
    }
    Ok(())
}
