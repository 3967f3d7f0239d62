//! Payloads and results that are too large for a message, and what nobody in between may read.

mod collected;
mod refused;
mod results;
mod sealed;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass::{Client, Codec, Failure, Handlers, Job, Submission, Worker, worker};
use windlass_core::{JobId, JobState, Transition};
use windlass_testkit::{Fleet, PATIENCE};

use crate::support::{Command, command, gated, open, order};

const PAYLOADS: &str = "windlass_payloads_default";
const STREAM: &str = "OBJ_windlass_payloads_default";
/// More than a message takes.
const LARGE: usize = 1_300_000;

/// A command's payload with so many bytes: JSON may end with blanks.
fn padded(command: &Command, bytes: usize) -> Bytes {
    let mut text = command.json().into_bytes();
    text.resize(bytes, b' ');
    text.into()
}

/// To be submitted with the rights of a publisher.
async fn publisher(fleet: &Fleet) -> Result<Client> {
    Ok(Client::new(fleet.broker.connect("publisher").await?))
}

fn large(client: &Client, command: &Command) -> Submission {
    client.raw("command.run", padded(command, LARGE), "application/json")
}

/// The names of what the bucket of payloads holds, and how much of it.
async fn stored(fleet: &Fleet) -> Result<serde_json::Map<String, serde_json::Value>> {
    let subjects = fleet.broker.client("admin").await?.subjects(STREAM).await?;
    Ok(subjects.as_object().cloned().unwrap_or_default())
}

/// Waits until the bucket of payloads has so many objects, whole or not.
async fn has(fleet: &Fleet, expected: usize) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let names: std::collections::BTreeSet<_> =
            stored(fleet).await?.keys().filter_map(|s| s.rsplit('.').next().map(str::to_owned)).collect();
        if names.len() == expected {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "expected {expected} objects, found {names:?}");
        // Nothing tells of a removal but looking.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a worker of the test's own is asked to do.
#[derive(Serialize, Deserialize)]
struct Make {
    bytes: usize,
    #[serde(default)]
    fail: String,
}

impl Job for Make {
    const KIND: &'static str = "test.make";
}

async fn make(job: Make) -> Result<String, Failure> {
    if job.fail.is_empty() { Ok("x".repeat(job.bytes)) } else { Err(Failure::new(job.fail).terminal()) }
}

/// A worker in this process, on the public SDK; it ends with the value.
async fn worker(fleet: &Fleet, codec: Codec) -> Result<tokio_util::sync::DropGuard> {
    let options = worker::Options {
        codec,
        horizon: fleet.layout.horizon,
        max_result_bytes: 2_000_000,
        ..worker::Options::default()
    };
    let handlers = Handlers::new().register(make)?;
    let worker = Worker::new(&Client::new(fleet.broker.connect("worker").await?), handlers, options)?;
    let (stop, ready) = (CancellationToken::new(), CancellationToken::new());
    tokio::spawn(worker.run(stop.clone(), ready.clone()));
    tokio::time::timeout(PATIENCE, ready.cancelled()).await.context("the worker is not ready")?;
    Ok(stop.drop_guard())
}

/// A publisher's rights are enough to add one; the worker reads it; any client can; and it goes with its job.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_payload_is_run_and_collected() -> Result<()> {
    let fleet = Fleet::running().await?;
    let (gate, job) = gated(&fleet, "gate")?;
    let id = large(&publisher(&fleet).await?, &job).submit().await?.id;
    fleet.tap.heard(id, Transition::Started).await?;
    let objects = fleet.broker.client("admin").await?.objects(PAYLOADS).await?;
    assert_eq!(objects.len(), 1);
    assert!(objects[0].0.starts_with(&format!("default/{id}/")), "{}", objects[0].0);
    assert!(objects[0].1 == padded(&job, LARGE), "another client reads other bytes");
    open(&gate, "seen").await?;
    assert_eq!(fleet.result(id).await?["stdout"], "seen");
    has(&fleet, 0).await
}

/// What fits into the task stays there, and one byte more does not.
#[tokio::test(flavor = "multi_thread")]
async fn the_bound_of_what_is_inline_is_exact() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    fleet.service("dispatcher").await?;
    let client = publisher(&fleet).await?;
    let inline = windlass::client::Payloads::default().inline_bytes;
    for (bytes, objects) in [(inline, 0), (inline + 1, 1)] {
        let payload = padded(&command(&["true"]), bytes);
        let id = client.raw("command.run", payload, "application/json").submit().await?.id;
        fleet.tap.heard(id, Transition::Accepted).await?;
        has(&fleet, objects).await?;
    }
    Ok(())
}

/// Each attempt fetches it anew, and a job that waited keeps it.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_payload_outlasts_failures() -> Result<()> {
    let fleet = Fleet::running().await?;
    let mark = fleet.folder.path().join("mark");
    let script = format!("test -e {0} && echo again || {{ touch {0}; exit 1; }}", mark.display());
    let job = command(&["sh", "-c", &script]).failing();
    let policy = windlass_core::retry::Parts { initial_delay_seconds: 0.05, ..Default::default() };
    let id = large(&publisher(&fleet).await?, &job).retry(policy.try_into()?).submit().await?.id;
    assert_eq!(fleet.result(id).await?["stdout"], "again\n");
    assert!(fleet.tap.of(id).contains(&(Transition::Retried, 1)));
    has(&fleet, 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_jobs_payload_is_collected() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    fleet.service("dispatcher").await?;
    let client = publisher(&fleet).await?;
    let waiting = large(&client, &command(&["true"])).delay(Duration::from_secs(3600)).submit().await?.id;
    let queued = large(&client, &command(&["true"])).submit().await?.id;
    for id in [waiting, queued] {
        fleet.tap.heard(id, Transition::Accepted).await?;
    }
    has(&fleet, 2).await?;
    for id in [waiting, queued] {
        order(&fleet, "default", "cancel", id).await?;
        fleet.tap.heard(id, Transition::Cancelled).await?;
    }
    has(&fleet, 0).await
}

/// The command line takes a file, and fetches the result.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_sends_and_fetches_large_ones() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    let path = fleet.folder.path().join("big.json");
    std::fs::write(&path, padded(&command(&["echo", "from a file"]), LARGE))?;
    let path = path.display().to_string();
    let out = fleet.cli(&["submit", "command.run", "--payload-file", &path, "--wait", "-o", "json"]).await?;
    assert!(out.contains("from a file"), "{out}");
    has(&fleet, 0).await?;
    // One worker of a queue serves all of its kinds.
    fleet.take("worker")?.stop().await?;
    let _worker = worker(&fleet, Codec::default()).await?;
    let out = fleet.cli(&["submit", "test.make", r#"{"bytes": 300000}"#, "--wait", "-o", "json"]).await?;
    let view: serde_json::Value = serde_json::from_str(&out)?;
    assert_eq!(view["result"].as_str().map(str::len), Some(300_000));
    let id: JobId = view["id"].as_str().context("an id")?.parse()?;
    let out = fleet.cli(&["job", "get", &id.to_string(), "-o", "json"]).await?;
    assert!(out.len() > 300_000, "{out}");
    assert_eq!(fleet.ended(id).await?.state, JobState::Succeeded);
    Ok(())
}
