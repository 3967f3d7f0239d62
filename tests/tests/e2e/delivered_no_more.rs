//! Messages that reached a bound on deliveries: the broker keeps them for ever and gives them to nobody.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::time::Instant;
use windlass_broker::provision::Layout;
use windlass_core::{JobId, JobState, Transition};
use windlass_proto::v1;
use windlass_testkit::broker::Client;
use windlass_testkit::{Fleet, PATIENCE};

use crate::support::{command, dead_letter, gated, open, submit};

async fn fleet() -> Result<(Fleet, Client)> {
    let horizon = Duration::from_secs(6);
    let layout = Layout { ack_wait: Duration::from_secs(2), horizon, ..Layout::default() };
    let fleet = Fleet::start_with(layout).await?;
    let admin = fleet.broker.client("admin").await?;
    Ok((fleet, admin))
}

/// Sets a consumer's bound.
async fn bound(admin: &Client, stream: &str, consumer: &str, max_deliver: i64) -> Result<()> {
    let mut config =
        admin.api(&format!("CONSUMER.INFO.{stream}.{consumer}"), &json!({})).await?["config"].take();
    config["max_deliver"] = json!(max_deliver);
    let filter = config["filter_subject"].as_str().context("no filter")?.to_owned();
    let request = json!({ "stream_name": stream, "config": config });
    let answer = admin.api(&format!("CONSUMER.CREATE.{stream}.{consumer}.{filter}"), &request).await?;
    ensure!(answer["config"]["max_deliver"].as_i64() == Some(max_deliver), "{answer}");
    Ok(())
}

/// Has a consumer's only message delivered once, its bound, and given back: it is left behind.
async fn leave_behind(admin: &Client, stream: &str, consumer: &str) -> Result<()> {
    bound(admin, stream, consumer, 1).await?;
    let next = admin.api_subject(&format!("CONSUMER.MSG.NEXT.{stream}.{consumer}"));
    // Not by a request: what is delivered has its own subject, by which a client's answers are not told apart.
    let inbox = admin.nats().new_inbox();
    let mut answers = admin.subscribe(&inbox).await?;
    let mut ask = async |expires: Duration| {
        let request = json!({ "batch": 1, "expires": u64::try_from(expires.as_nanos())? });
        admin.publish(&next, Some(&inbox), &[], request.to_string()).await?;
        admin.next(&mut answers).await
    };
    let delivered = ask(Duration::from_secs(5)).await?;
    let reply = delivered.reply.context("it cannot be answered")?;
    admin.publish(&reply, None, &[], "-NAK").await?;
    // Whoever asks next makes the broker find that it may not be delivered again.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let none = ask(Duration::from_millis(200)).await?;
        ensure!(none.status.is_some(), "it was delivered again");
        let info = admin.api(&format!("CONSUMER.INFO.{stream}.{consumer}"), &json!({})).await?;
        if info["num_ack_pending"] == 0 && info["num_pending"] == 0 {
            break;
        }
        ensure!(Instant::now() < deadline, "{info}");
    }
    bound(admin, stream, consumer, -1).await
}

async fn stored(admin: &Client, stream: &str, id: JobId) -> Result<Vec<String>> {
    let subjects = admin.subjects(stream).await?;
    let subjects = subjects.as_object().into_iter().flat_map(|s| s.keys().cloned());
    Ok(subjects.filter(|subject| subject.contains(&id.to_string())).collect())
}

/// How many rounds the reconciler of this dispatcher has made.
async fn rounds_so_far(fleet: &mut Fleet, dispatcher: &str) -> Result<u64> {
    const NAME: &str = "windlass_reconciler_round_seconds_count";
    let url = format!("{}/metrics", fleet.process(dispatcher)?.http().await?);
    let text = reqwest::get(&url).await?.text().await?;
    let line = text.lines().find(|line| line.starts_with(NAME)).and_then(|line| line.rsplit(' ').next());
    Ok(line.and_then(|number| number.parse().ok()).unwrap_or(0))
}

/// Waits until it has made this many.
async fn rounds(fleet: &mut Fleet, dispatcher: &str, count: u64) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while rounds_so_far(fleet, dispatcher).await? < count {
        ensure!(Instant::now() < deadline, "the reconciler makes no rounds");
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// The job ends as dead, with a letter from which it can be started again; a job that a worker has is left alone.
#[tokio::test(flavor = "multi_thread")]
async fn work_that_is_delivered_no_more_ends_as_dead() -> Result<()> {
    let (mut fleet, admin) = fleet().await?;
    fleet.service("dispatcher").await?;
    let lost = submit(&fleet, command(&["echo", "found"])).await?;
    fleet.tap.heard(lost, Transition::Accepted).await?;
    leave_behind(&admin, "JOBS", "worker-default").await?;
    fleet.service("worker").await?;
    let (gate, running) = gated(&fleet, "gate")?;
    let running = submit(&fleet, running).await?;
    fleet.tap.heard(running, Transition::Started).await?;
    // Older than what the reconciler looks at.
    let before = rounds_so_far(&mut fleet, "dispatcher").await?;
    rounds(&mut fleet, "dispatcher", before + 3).await?;
    assert_eq!(fleet.tap.of(running).len(), 2, "{:?}", fleet.tap.of(running));
    open(&gate, "well\n").await?;
    assert_eq!(fleet.result(running).await?["stdout"], "well\n");

    let end = fleet.tap.heard(lost, Transition::Dead).await?;
    assert_eq!(end.error.map(|error| error.code).as_deref(), Some("max_deliveries"));
    assert_eq!(fleet.ended(lost).await?.state, JobState::Dead);
    let letter = dead_letter(&fleet, "default", lost).await?;
    assert_eq!(letter.code, "max_deliveries");
    let deadline = Instant::now() + PATIENCE;
    while stored(&admin, "JOBS", lost).await?.iter().any(|subject| subject.contains(".ready.")) {
        ensure!(Instant::now() < deadline, "its message is still there");
    }
    let done = fleet.cli(&["dead", "redrive", &lost.to_string(), "-o", "json"]).await?;
    let done: Value = serde_json::from_str(&done)?;
    let again = done["redriven_id"].as_str().context("no id")?.parse()?;
    assert_eq!(fleet.result(again).await?["stdout"], "found\n");
    assert!(!fleet.tap.of(lost).iter().any(|(t, _)| *t == Transition::Started), "{:?}", fleet.tap.of(lost));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_delivered_no_more_becomes_a_letter() -> Result<()> {
    let (mut fleet, admin) = fleet().await?;
    let lost = submit(&fleet, command(&["echo", "found"])).await?;
    leave_behind(&admin, "TASKS", "dispatcher").await?;
    fleet.service("dispatcher").await?;
    fleet.service("worker").await?;
    // Others pass.
    let other = submit(&fleet, command(&["true"])).await?;
    fleet.result(other).await?;
    let rejected = fleet.tap.heard(lost, Transition::Rejected).await?;
    assert_eq!(rejected.error.map(|error| error.code).as_deref(), Some("max_deliveries"));
    let deadline = Instant::now() + PATIENCE;
    while admin.api("STREAM.INFO.TASKS", &json!({})).await?["state"]["messages"] != 0 {
        ensure!(Instant::now() < deadline, "the task is still there");
    }
    let done = fleet.cli(&["dead", "redrive", &lost.to_string(), "-o", "json"]).await?;
    let done: Value = serde_json::from_str(&done)?;
    let again = done["redriven_id"].as_str().context("no id")?.parse()?;
    assert_eq!(fleet.result(again).await?["stdout"], "found\n");
    assert_eq!(fleet.tap.of(lost).iter().filter(|(t, _)| *t == Transition::Rejected).count(), 1);
    Ok(())
}

/// As a broker leaves it whose disk was full: the job was made, and its task was never let go.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_job_exists_is_removed_by_the_first_round() -> Result<()> {
    let (mut fleet, admin) = fleet().await?;
    fleet.service("dispatcher").await?;
    let hour = Duration::from_secs(3600);
    let id = command(&["true"]).into_submission(&fleet).delay(hour).submit().await?.id;
    fleet.tap.heard(id, Transition::Accepted).await?;
    fleet.take("dispatcher")?.stop().await?;
    let task = v1::Task { id: id.to_string(), kind: "command.run".to_owned(), ..v1::Task::default() };
    admin.store("windlass.task.default", &[], task.encode_to_vec()).await?;
    leave_behind(&admin, "TASKS", "dispatcher").await?;

    fleet.service("dispatcher-2").await?;
    rounds(&mut fleet, "dispatcher-2", 1).await?;
    assert_eq!(admin.api("STREAM.INFO.TASKS", &json!({})).await?["state"]["messages"], 0);
    assert_eq!(admin.api("STREAM.INFO.DEAD", &json!({})).await?["state"]["messages"], 0);
    assert_eq!(stored(&admin, "JOBS", id).await?.len(), 1, "the job is as it was");
    Ok(())
}
