//! What an operator does about dead letters, and to many jobs at once.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;
use windlass_broker::commands::{self, Command, Verb};
use windlass_broker::dead::{self, Letters};
use windlass_broker::jobs::{Address, Change, Jobs, Verdict, nonce};
use windlass_core::{JobId, JobState, PoolName, Priority, QueueName, RecordKind, RetryPolicy, Transition};
use windlass_proto::Job;
use windlass_testkit::{Fleet, PATIENCE};

use crate::support::{command, dead_letter, gated, open_until_ended};

/// Jobs that die, each of the same error, and when they run again leave a line in this file.
async fn die(fleet: &Fleet, count: usize) -> Result<(Vec<JobId>, std::path::PathBuf)> {
    let (mended, marks) = (fleet.folder.path().join("mended"), fleet.folder.path().join("marks"));
    let mut ids = Vec::new();
    for n in 0..count {
        let script = format!("test -f {} && echo {n} >> {}", mended.display(), marks.display());
        let job = command(&["sh", "-c", &script]).failing();
        let policy = RetryPolicy::default().with_max_attempts(1)?;
        ids.push(job.into_submission(fleet).retry(policy).submit().await?.id);
    }
    for id in &ids {
        fleet.tap.heard(*id, Transition::Dead).await?;
    }
    std::fs::write(mended, "")?;
    Ok((ids, marks))
}

async fn json(fleet: &Fleet, args: &[&str]) -> Result<Value> {
    let args: Vec<&str> = args.iter().copied().chain(["-o", "json"]).collect();
    Ok(serde_json::from_str(&fleet.cli(&args).await?)?)
}

/// Asks for it as the operator.
async fn order(fleet: &Fleet, verb: Verb, id: JobId, dead_at: Timestamp) -> Result<()> {
    let queue = QueueName::default();
    let (reason, requested_by) = ("a reason", "test");
    let command = Command { queue: &queue, verb, job_id: id, reason, requested_by, dead_at: Some(dead_at) };
    commands::publish(fleet.client.broker(), command).await?;
    Ok(())
}

async fn letters(fleet: &Fleet) -> Result<usize> {
    let listed = json(fleet, &["dead", "list", "--limit", "500"]).await?;
    Ok(listed["letters"].as_array().context("no list")?.len())
}

/// Waits until so many commands of a dispatcher have ended like this.
async fn carried(fleet: &mut Fleet, verb: &str, carried: &str, count: f64) -> Result<()> {
    let url = format!("{}/metrics", fleet.process("dispatcher")?.http().await?);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = reqwest::get(&url).await?.text().await?;
        let line = text.lines().find(|line| {
            line.starts_with("windlass_commands_total{")
                && line.contains(&format!("verb=\"{verb}\""))
                && line.contains(&format!("carried=\"{carried}\""))
        });
        let found = line.and_then(|line| line.rsplit(' ').next()).and_then(|n| n.parse().ok()).unwrap_or(0.0);
        if found >= count {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{verb} {carried}: {found}\n{text}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_job_is_started_again_and_both_histories_say_so() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    fleet.service("monitor").await?;
    let (ids, marks) = die(&fleet, 1).await?;
    let id = ids[0].to_string();
    let listed = json(&fleet, &["dead", "list", "--kind", "command.run"]).await?;
    let row = &listed["letters"][0];
    assert_eq!((&row["id"], &row["redrivable"]), (&json!(id), &json!(true)));
    let shown = json(&fleet, &["dead", "show", &id]).await?;
    assert_eq!(shown["payload"]["fail_on_nonzero"], true);
    let print = &shown["attempts"][0]["error"]["fingerprint"];
    assert_eq!(print, &row["fingerprint"]);
    let monitor = fleet.process("monitor")?.http().await?;
    let of_api: Value = reqwest::get(format!("{monitor}/api/v1/dead/{id}")).await?.json().await?;
    assert_eq!(of_api, shown);
    let groups = json(&fleet, &["dead", "list", "--by-fingerprint"]).await?;
    assert_eq!((&groups["groups"][0]["count"], &groups["groups"][0]["fingerprint"]), (&json!(1), print));

    let done = json(&fleet, &["dead", "redrive", &id, "--reason", "it is mended"]).await?;
    assert_eq!(done["redriven_id"], shown["redriven_id"]);
    let new: JobId = done["redriven_id"].as_str().context("no id")?.parse()?;
    assert_eq!(fleet.ended(new).await?.state, JobState::Succeeded);
    assert_eq!(std::fs::read_to_string(marks)?, "0\n");
    let note = fleet.tap.heard(ids[0], Transition::Redriven).await?.note;
    assert!(note.contains(&new.to_string()) && note.contains("it is mended"), "{note}");
    let note = fleet.tap.heard(new, Transition::Accepted).await?.note;
    assert!(note.contains(&id) && note.contains("it is mended"), "{note}");
    assert_eq!(letters(&fleet).await?, 0);
    // The dead job is as dead as before.
    let old = json(&fleet, &["job", "get", &id]).await?;
    assert_eq!((&old["state"], &old["error"]["fingerprint"]), (&json!("dead"), print));
    let gone = fleet.cli(&["dead", "redrive", &id]).await.expect_err("the letter is gone").to_string();
    assert!(gone.contains("there is no dead letter"), "{gone}");
    Ok(())
}

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
    let job = Job { task, accepted_at: now, due_at: now, attempts: Vec::new(), nonce: nonce.clone() };
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
    let letters = Letters::new(fleet.client.broker());
    let deadline = Instant::now() + PATIENCE;
    // The letter goes after the events, and nothing tells of that.
    while !letters.page(&windlass_core::letter::Filter::default(), None, 1, 10).await?.letters.is_empty() {
        ensure!(Instant::now() < deadline, "letters are left");
    }
    let lines = std::fs::read_to_string(marks)?.lines().count();
    assert_eq!(lines, COUNT, "each ran once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_no_task_is_refused_and_can_be_discarded() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    let client = fleet.broker.client("operator").await?;
    client.publish("windlass.task.default", None, &[("Windlass-Kind", "no kind")], b"rubbish").await?;
    let all =
        fleet.tap.until("refused", |all| all.iter().any(|e| e.transition == Transition::Rejected)).await?;
    let id = all[0].job_id;
    let text = id.to_string();
    let shown = json(&fleet, &["dead", "show", &text]).await?;
    assert_eq!((&shown["payload"], &shown["field"]), (&json!("rubbish"), &json!("Windlass-Kind")));
    let error = fleet.cli(&["dead", "redrive", &text]).await.expect_err("it is no task").to_string();
    assert!(error.contains("cannot be redriven") && error.contains("Windlass-Kind"), "{error}");
    let done = json(&fleet, &["dead", "redrive", "--all", "--yes"]).await?;
    assert_eq!((&done["matched"], &done["unfit"]), (&json!(0), &json!(1)));
    // Nor is a dispatcher talked into it.
    let letter =
        Letters::new(fleet.client.broker()).find(&QueueName::default(), id).await?.context("none")?;
    order(&fleet, Verb::Redrive, id, letter.dead_at).await?;
    carried(&mut fleet, "redrive", "refused", 1.0).await?;
    assert_eq!(letters(&fleet).await?, 1);
    // A letter of another death is none of the command's.
    order(&fleet, Verb::Discard, id, letter.dead_at - jiff::SignedDuration::from_nanos(1)).await?;
    carried(&mut fleet, "discard", "out", 1.0).await?;
    assert_eq!(letters(&fleet).await?, 1);

    let error = fleet.cli(&["dead", "discard", &text]).await.expect_err("no reason").to_string();
    assert!(error.contains("reason"), "{error}");
    json(&fleet, &["dead", "discard", &text, "--reason", "rubbish indeed"]).await?;
    assert_eq!(letters(&fleet).await?, 0);
    let note = fleet.tap.heard(id, Transition::Discarded).await?.note;
    assert!(note.contains("windlass-cli") && note.contains("rubbish indeed"), "{note}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_shown_asked_about_paced_and_stopped() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    let (ids, marks) = die(&fleet, 8).await?;
    let shown = json(&fleet, &["dead", "show", &ids[0].to_string()]).await?;
    let print = shown["fingerprint"].as_str().context("no fingerprint")?.to_owned();
    let redrive = ["dead", "redrive", "--fingerprint", &print, "--rate", "2/s"];
    let with =
        |more: &[&'static str]| redrive.iter().copied().chain(more.iter().copied()).collect::<Vec<_>>();

    let dry = json(&fleet, &with(&["--dry-run"])).await?;
    assert_eq!(
        (&dry["matched"], &dry["commanded"], &dry["estimated_seconds"]),
        (&json!(8), &json!(0), &json!(4.0))
    );
    assert_eq!(dry["sample"].as_array().map(Vec::len), Some(5));
    let error = fleet.cli(&redrive).await.expect_err("nobody can be asked").to_string();
    assert!(error.contains("8 dead letters match") && error.contains("error: yes: "), "{error}");
    let error = fleet.cli(&["dead", "redrive", "--yes"]).await.expect_err("which?").to_string();
    assert!(error.contains("--all"), "{error}");
    assert_eq!(letters(&fleet).await?, 8, "nothing was done so far");

    // Stopped after the first one at least, and long before the last one.
    let mut stopped = fleet.command(&with(&["--yes", "-o", "json"])).await?;
    let stopped = stopped.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pid = stopped.id().context("it has ended")?.to_string();
    fleet.tap.until("one", |all| all.iter().any(|e| e.transition == Transition::Redriven)).await?;
    let sent = tokio::process::Command::new("kill").args(["-INT", &pid]).status().await?;
    ensure!(sent.success(), "it cannot be interrupted");
    let output = tokio::time::timeout(PATIENCE, stopped.wait_with_output()).await??;
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let commanded = report["commanded"].as_u64().context("no count")?;
    assert!(report["aborted"] == true && (1..8).contains(&commanded), "{report}");
    carried(&mut fleet, "redrive", "out", f64::from(u32::try_from(commanded)?)).await?;
    assert_eq!(u64::try_from(letters(&fleet).await?)?, 8 - commanded);

    let rest =
        json(&fleet, &["dead", "redrive", "--queue", "default", "--contains", "exit", "--yes"]).await?;
    assert_eq!(
        (&rest["matched"], &rest["commanded"], &rest["failed"]),
        (&json!(8 - commanded), &json!(8 - commanded), &json!(0))
    );
    for id in &ids {
        let note = fleet.tap.heard(*id, Transition::Redriven).await?.note;
        let new = note.split(' ').nth(1).context("no id")?.parse()?;
        fleet.tap.heard(new, Transition::Succeeded).await?;
    }
    assert_eq!(std::fs::read_to_string(marks)?.lines().count(), 8);
    Ok(())
}

/// Letters go through the dispatchers: who reads them cannot remove them, and workers cannot even read.
#[tokio::test]
async fn only_dispatchers_remove_letters() -> Result<()> {
    let fleet = Fleet::start().await?;
    for (user, calls) in [
        ("operator", &["STREAM.MSG.DELETE.DEAD", "STREAM.PURGE.DEAD"][..]),
        ("monitor", &["STREAM.MSG.DELETE.DEAD", "STREAM.PURGE.DEAD"]),
        ("worker", &["STREAM.MSG.DELETE.DEAD", "STREAM.MSG.GET.DEAD", "DIRECT.GET.DEAD"]),
        ("publisher", &["STREAM.MSG.GET.DEAD", "DIRECT.GET.DEAD"]),
    ] {
        let mut client = fleet.broker.client(user).await?;
        for call in calls {
            let subject = client.api_subject(call);
            client.publish(&subject, None, &[], "{}").await?;
            client.permission_error(&subject).await?;
        }
    }
    let dispatcher = Letters::new(&fleet.broker.connect("dispatcher").await?);
    dispatcher.delete(1).await?;
    Ok(())
}

/// Of the jobs that match all are cancelled, whatever they do, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_cancelled_by_filter() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    fleet.service("monitor").await?;
    let hour = std::time::Duration::from_secs(3600);
    let (_, running) = gated(&fleet, "gate")?;
    let running = running.into_submission(&fleet).submit().await?.id;
    fleet.tap.heard(running, Transition::Started).await?;
    let delayed = command(&["true"]).into_submission(&fleet).delay(hour).submit().await?.id;
    let delays = windlass_core::retry::Parts {
        initial_delay_seconds: 3600.0,
        max_delay_seconds: 3600.0,
        ..Default::default()
    };
    let retrying =
        command(&["false"]).failing().into_submission(&fleet).retry(delays.try_into()?).submit().await?.id;
    fleet.tap.heard(retrying, Transition::Retried).await?;
    // No worker serves that queue.
    let queued = command(&["true"]).into_submission(&fleet).queue("other").submit().await?.id;
    let (gate, kept) = gated(&fleet, "kept")?;
    let kept = kept.into_submission(&fleet).submit().await?.id;
    fleet.tap.heard(kept, Transition::Started).await?;
    let other =
        fleet.client.raw("no.such.kind", "{}".into(), "application/json").delay(hour).submit().await?.id;
    fleet.tap.heard(other, Transition::Accepted).await?;
    let monitor = fleet.process("monitor")?.http().await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status: Value =
            reqwest::get(format!("{monitor}/api/v1/jobs?kind=command.run")).await?.json().await?;
        let states: Vec<_> =
            status["jobs"].as_array().into_iter().flatten().map(|j| j["state"].as_str()).collect();
        let count = |state| states.iter().filter(|s| **s == Some(state)).count();
        if (count("running"), count("scheduled"), count("retrying"), count("queued")) == (2, 1, 1, 1) {
            break;
        }
        ensure!(Instant::now() < deadline, "{status}");
    }
    let cancel = async |filter: &[&str]| {
        let args: Vec<_> =
            ["job", "cancel", "--yes", "--reason", "by filter"].iter().chain(filter).copied().collect();
        json(&fleet, &args).await
    };
    let first = cancel(&["--kind", "command.run", "--state", "scheduled"]).await?;
    assert_eq!((&first["matched"], &first["commanded"]), (&json!(1), &json!(1)));
    assert_eq!(cancel(&["--queue", "other"]).await?["matched"], 1);
    let ended = open_until_ended(&fleet, &gate, kept).await?;
    assert_eq!(ended.state, JobState::Succeeded);
    fleet.tap.heard(kept, Transition::Succeeded).await?;
    let mut state = json!(null);
    while state != "succeeded" {
        state = json(&fleet, &["job", "get", &kept.to_string()]).await?["state"].clone();
    }
    let many = cancel(&["--kind", "command.run", "--queue", "default"]).await?;
    // That of the first command may still look as it was.
    assert!(many["matched"].as_u64().is_some_and(|n| (2..=3).contains(&n)), "{many}");
    for id in [running, delayed, retrying, queued] {
        let note = fleet.tap.heard(id, Transition::Cancelled).await?.note;
        assert!(note.contains("by filter"), "{note}");
    }
    assert_eq!(fleet.tap.of(other), [(Transition::Accepted, 0)]);
    for wrong in [&["--state", "dead"][..], &[], &["01890a5d-ac96-774b-bcce-b302099a8057", "--kind", "a.b"]] {
        cancel(wrong).await.expect_err("it is refused");
    }
    Ok(())
}
