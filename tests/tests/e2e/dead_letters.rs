//! What an operator does about dead letters, and to many jobs at once.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;
use windlass_broker::commands::{self, Command, Verb};
use windlass_broker::dead::Letters;
use windlass_core::{JobId, JobState, QueueName, RetryPolicy, Transition};
use windlass_testkit::process::{Signal, signal};
use windlass_testkit::{Fleet, PATIENCE};

use crate::support::{command, gated, open_until_ended};

/// Jobs that die, each of the same error, and when they run again leave a line in this file.
pub(crate) async fn die(fleet: &Fleet, count: usize) -> Result<(Vec<JobId>, std::path::PathBuf)> {
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
pub(crate) async fn order(fleet: &Fleet, verb: Verb, id: JobId, dead_at: Timestamp) -> Result<()> {
    let queue = QueueName::default();
    let (reason, requested_by) = ("a reason", "test");
    let command = Command { queue: &queue, verb, job_id: id, reason, requested_by, dead_at: Some(dead_at) };
    commands::publish(&fleet.operator, command).await?;
    Ok(())
}

async fn letters(fleet: &Fleet) -> Result<usize> {
    let listed = json(fleet, &["dead", "list", "--limit", "500"]).await?;
    Ok(listed["letters"].as_array().context("no list")?.len())
}

/// How many commands of a dispatcher have ended like this.
pub(crate) async fn commands_so_far(fleet: &mut Fleet, verb: &str, carried: &str) -> Result<f64> {
    let url = format!("{}/metrics", fleet.process("dispatcher")?.http().await?);
    let text = reqwest::get(&url).await?.text().await?;
    let line = text.lines().find(|line| {
        line.starts_with("windlass_commands_total{")
            && line.contains(&format!("verb=\"{verb}\""))
            && line.contains(&format!("carried=\"{carried}\""))
    });
    Ok(line.and_then(|line| line.rsplit(' ').next()).and_then(|n| n.parse().ok()).unwrap_or(0.0))
}

/// Waits until so many commands of a dispatcher have ended like this.
pub(crate) async fn carried(fleet: &mut Fleet, verb: &str, carried: &str, count: f64) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = commands_so_far(fleet, verb, carried).await?;
        if found >= count {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{verb} {carried}: {found}");
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
    let letter = Letters::new(&fleet.operator).find(&QueueName::default(), id).await?.context("none")?;
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
    let pid = stopped.id().context("it has ended")?;
    fleet.tap.until("one", |all| all.iter().any(|e| e.transition == Transition::Redriven)).await?;
    signal(pid, Signal::INT).await?;
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
