//! One new job for each death, whatever happens to who makes it.

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;
use windlass_broker::commands::Verb;
use windlass_broker::dead::{self, Letters};
use windlass_broker::jobs::{Address, Change, Jobs, Verdict, nonce};
use windlass_core::letter::Filter;
use windlass_core::{JobState, PoolName, Priority, QueueName, RecordKind, Transition};
use windlass_proto::Job;
use windlass_testkit::broker::Client;
use windlass_testkit::{Fleet, PATIENCE};

use crate::dead_letters::{carried, commands_so_far, die, order};
use crate::support::dead_letter;

/// Two commands, and one that finds the work of a dispatcher that died after each of its steps, make one job.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_carried_out_twice_makes_one_job() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    let (ids, marks) = die(&fleet, 2).await?;
    let queue = QueueName::default();
    let letters = Letters::new(&fleet.broker.connect("dispatcher").await?);
    let first = letters.find(&queue, ids[0]).await?.context("no letter")?;
    let wire = dead_letter(&fleet, "default", ids[0]).await?;

    // Asked for twice.
    order(&fleet, Verb::Redrive, ids[0], first.dead_at).await?;
    order(&fleet, Verb::Redrive, ids[0], first.dead_at).await?;
    fleet.tap.heard(first.redriven_id(), Transition::Succeeded).await?;
    carried(&mut fleet, "redrive", "out", 2.0).await?;
    // The letter is still there, or again, as a worker has stored it twice: the same death.
    let broker = fleet.broker.connect("dispatcher").await?;
    dead::publish(&broker, &queue, ids[0], wire).await?;
    order(&fleet, Verb::Redrive, ids[0], first.dead_at).await?;
    carried(&mut fleet, "redrive", "out", 3.0).await?;
    assert_eq!(letters.find(&queue, ids[0]).await?, None);

    // Made by a dispatcher that died before it said so.
    let second = letters.find(&queue, ids[1]).await?.context("no letter")?;
    fleet.take("worker")?.stop().await?;
    let task = second.redriven_task().map_err(anyhow::Error::msg)?;
    let now = Timestamp::now();
    let (nonce, id) = (nonce(), task.id);
    let job = Job::new(task, now, now, nonce.clone());
    let address = Address { queue: queue.clone(), priority: Priority::Normal, job_id: id };
    let change = Change {
        address: &address,
        token: 0,
        record: RecordKind::Ready,
        body: job.encode(),
        nonce: &nonce,
        trace: None,
        ttl: None,
        timer: None,
        purge: None,
    };
    let made = Jobs::new(&broker, PoolName::default()).write(change, Instant::now() + PATIENCE).await?;
    ensure!(matches!(made, Verdict::Won(_)), "{made:?}");
    order(&fleet, Verb::Redrive, ids[1], second.dead_at).await?;
    assert!(fleet.tap.heard(id, Transition::Accepted).await?.note.contains("redriven from"));
    carried(&mut fleet, "redrive", "out", 4.0).await?;
    assert_eq!(letters.find(&queue, ids[1]).await?, None);
    fleet.service("worker-2").await?;
    fleet.tap.heard(id, Transition::Succeeded).await?;

    let mut lines: Vec<_> = std::fs::read_to_string(marks)?.lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["0", "1"], "each ran once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_dispatchers_commands_make_one_job_each() -> Result<()> {
    const COUNT: usize = 30;
    let mut fleet = Fleet::running().await?;
    let (ids, marks) = die(&fleet, COUNT).await?;
    let letters = Letters::new(&fleet.broker.connect("dispatcher").await?);
    let mut again = Vec::new();
    for id in &ids {
        let letter = letters.find(&QueueName::default(), *id).await?.context("no letter")?;
        again.push(letter.redriven_id());
        order(&fleet, Verb::Redrive, *id, letter.dead_at).await?;
        // Among those that are under way.
        if again.len() == COUNT / 2 {
            fleet.kill9("dispatcher").await?;
        }
    }
    fleet.service("dispatcher").await?;
    for id in &again {
        assert_eq!(fleet.ended(*id).await?.state, JobState::Succeeded);
        fleet.tap.heard(*id, Transition::Accepted).await?;
    }
    for id in &ids {
        fleet.tap.heard(*id, Transition::Redriven).await?;
    }
    let letters = Letters::new(&fleet.operator);
    let deadline = Instant::now() + PATIENCE;
    // The letter goes after the events, and nothing tells of that.
    while !letters.page(&Filter::default(), None, 1, 10).await?.letters.is_empty() {
        ensure!(Instant::now() < deadline, "letters are left");
    }
    let lines = std::fs::read_to_string(marks)?.lines().count();
    assert_eq!(lines, COUNT, "each ran once");
    Ok(())
}

/// Has a stream refuse all that is published, or take it again.
async fn refuses(admin: &Client, stream: &str, refuses: bool) -> Result<()> {
    let mut config = admin.api(&format!("STREAM.INFO.{stream}"), &json!({})).await?["config"].take();
    config["max_msg_size"] = json!(if refuses { 1 } else { -1 });
    let answer = admin.api(&format!("STREAM.UPDATE.{stream}"), &config).await?;
    ensure!(answer.get("error").is_none(), "{answer}");
    Ok(())
}

/// The letter stays until the job is made, and until both histories say so.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_goes_last() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    let (ids, marks) = die(&fleet, 2).await?;
    fleet.take("worker")?.stop().await?;
    let admin = fleet.broker.client("admin").await?;
    let queue = QueueName::default();
    let letters = Letters::new(&fleet.operator);
    let jobs = Jobs::new(&fleet.broker.connect("admin").await?, PoolName::default());
    let mut made = Vec::new();
    for (id, stream, exists) in [(ids[0], "JOBS", false), (ids[1], "EVENTS", true)] {
        let letter = letters.find(&queue, id).await?.context("no letter")?;
        let new = letter.redriven_id();
        let open = commands_so_far(&mut fleet, "redrive", "open").await?;
        refuses(&admin, stream, true).await?;
        order(&fleet, Verb::Redrive, id, letter.dead_at).await?;
        carried(&mut fleet, "redrive", "open", open + 1.0).await?;
        assert_eq!(jobs.read(&queue, new).await?.last.is_some(), exists, "{stream}");
        assert_eq!(letters.find(&queue, id).await?, Some(letter), "{stream}");
        refuses(&admin, stream, false).await?;
        carried(&mut fleet, "redrive", "out", if exists { 2.0 } else { 1.0 }).await?;
        assert_eq!(letters.find(&queue, id).await?, None, "{stream}");
        made.push(new);
    }
    fleet.service("worker-2").await?;
    for new in made {
        fleet.tap.heard(new, Transition::Accepted).await?;
        assert_eq!(fleet.ended(new).await?.state, JobState::Succeeded);
    }
    let lines = std::fs::read_to_string(marks)?.lines().count();
    assert_eq!(lines, 2, "each ran once");
    Ok(())
}
