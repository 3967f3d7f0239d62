//! What holds when something dies, stops or is cut off.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use tokio::time::Instant;
use windlass_core::{JobId, JobState, Outcome, Transition};
use windlass_testkit::process::Signal;
use windlass_testkit::{Fleet, PATIENCE};

use crate::support::{command, gated, open, open_until_ended, submit};

/// A dead worker's job runs again, with the crash in its history.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_jobs_run_again() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    let mut jobs = Vec::new();
    for n in 0..8 {
        let (gate, job) = gated(&fleet, &format!("gate-{n}"))?;
        jobs.push((gate, submit(&fleet, job).await?));
    }
    for (_, id) in &jobs {
        fleet.tap.heard(*id, Transition::Started).await?;
    }
    fleet.kill9("worker").await?;
    fleet.service("worker-2").await?;
    for (gate, id) in &jobs {
        let crash = fleet.tap.heard(*id, Transition::Crashed).await?;
        assert_eq!((crash.attempt, crash.outcome), (1, Some(Outcome::Crashed)));
        assert_eq!(open_until_ended(&fleet, gate, *id).await?.state, JobState::Succeeded);
    }
    for (_, id) in &jobs {
        // The record comes before the event.
        fleet.tap.heard(*id, Transition::Succeeded).await?;
        let ends = fleet.tap.of(*id).iter().filter(|(t, _)| *t == Transition::Succeeded).count();
        assert_eq!(ends, 1);
        only_the_end_is_left(&fleet, *id).await?;
    }
    Ok(())
}

/// A worker that slept past its lease neither finishes nor fails the job that another has taken, and that is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_slept_past_its_lease_is_refused() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    let (gate, job) = gated(&fleet, "gate")?;
    let id = submit(&fleet, job).await?;
    let first = fleet.tap.heard(id, Transition::Started).await?;
    fleet.process("worker")?.signal(Signal::STOP).await?;
    fleet.service("worker-2").await?;
    fleet.tap.heard(id, Transition::Crashed).await?;
    let all = fleet
        .tap
        .until("a second start", |all| {
            all.iter().any(|e| e.job_id == id && e.transition == Transition::Started && e.attempt == 2)
        })
        .await?;
    let second = all.iter().rfind(|e| e.job_id == id && e.transition == Transition::Started);
    assert_ne!(second.map(|e| &e.worker), Some(&first.worker));
    fleet.process("worker")?.signal(Signal::CONT).await?;
    let refused = fleet.tap.heard(id, Transition::Refused).await?;
    assert_eq!(refused.worker, first.worker);
    let ended = open_until_ended(&fleet, &gate, id).await?;
    assert_eq!(ended.state, JobState::Succeeded);
    let end = fleet.tap.heard(id, Transition::Succeeded).await?;
    assert_eq!(end.attempt, 2);
    Ok(())
}

/// A drain hands long work back: it uses no attempt, and is no crash.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_hands_the_job_back() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    fleet.service("dispatcher").await?;
    fleet.set_env("WINDLASS__DRAIN__TIMEOUT", "10s");
    fleet.set_env("WINDLASS__WORKER__CANCEL_GRACE", "200ms");
    fleet.set_env("WINDLASS__WORKER__COMMAND__KILL_GRACE", "100ms");
    fleet.service("worker").await?;
    let (gate, job) = gated(&fleet, "gate")?;
    let policy = windlass_core::RetryPolicy::default().with_max_attempts(1)?;
    let id = job.into_submission(&fleet).retry(policy).submit().await?.id;
    fleet.tap.heard(id, Transition::Started).await?;
    let old = fleet.take("worker")?;
    fleet.service("worker-2").await?;
    let status = old.stop().await?;
    assert_eq!(status.code(), Some(0), "a drain that hands its work back has ended well");
    fleet.tap.heard(id, Transition::HandedBack).await?;
    open(&gate, "after\n").await?;
    assert_eq!(fleet.result(id).await?["stdout"], "after\n");
    fleet.tap.heard(id, Transition::Succeeded).await?;
    assert!(!fleet.tap.of(id).iter().any(|(t, _)| *t == Transition::Crashed), "{:?}", fleet.tap.of(id));
    only_the_end_is_left(&fleet, id).await
}

/// The claims of a hand-back, and of the holders after it, go with the work.
async fn only_the_end_is_left(fleet: &Fleet, id: JobId) -> Result<()> {
    let admin = fleet.broker.client("admin").await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let subjects: BTreeMap<String, u64> = serde_json::from_value(admin.subjects("JOBS").await?)?;
        let left: Vec<_> = subjects.into_keys().filter(|s| s.ends_with(&id.to_string())).collect();
        if matches!(&left[..], [end] if end.contains(".done.")) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{left:?}");
        // They are deleted after the acknowledgement, which nothing tells of.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Tasks that were accepted before, while and after dispatchers and the broker die all end once.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_through_kills_of_dispatcher_and_broker() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    let marks = fleet.folder.path().join("marks");
    let mut ids = Vec::new();
    for round in 0..6 {
        let scripts: Vec<_> = (0..20).map(|n| format!("echo {round}-{n} >> {}", marks.display())).collect();
        let submissions =
            scripts.iter().map(|script| command(&["sh", "-c", script]).into_submission(&fleet).submit());
        ids.extend(try_join_all(submissions).await?.into_iter().map(|s| s.id));
        match round {
            1 => fleet.kill9("dispatcher").await?,
            2 => fleet.spawn("dispatcher-2").await?,
            3 => fleet.broker.restart().await?,
            _ => {}
        }
    }
    for id in &ids {
        fleet.result(*id).await?;
    }
    let mut lines: Vec<_> = std::fs::read_to_string(marks)?.lines().map(str::to_owned).collect();
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), ids.len(), "every job ran");
    Ok(())
}

/// With the broker away publishers wait within their bound, and everything resumes by itself.
#[tokio::test(flavor = "multi_thread")]
async fn everything_resumes_when_the_broker_is_back() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    let dispatcher = fleet.process("dispatcher")?.http().await?;
    fleet.broker.kill9().await?;
    let live = reqwest::get(format!("{dispatcher}/livez")).await?;
    assert!(live.status().is_success(), "a broker that is away does not make a service die");
    let waiting = {
        let submission = command(&["true"]).into_submission(&fleet);
        tokio::spawn(submission.submit())
    };
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
    let mut ready = true;
    while ready {
        ready = client.get(format!("{dispatcher}/readyz")).send().await?.status().is_success();
        tokio::task::yield_now().await;
    }
    fleet.broker.restart().await?;
    let submitted = waiting.await??;
    fleet.result(submitted.id).await?;
    let ready = client.get(format!("{dispatcher}/readyz?wait=10s")).send().await?;
    assert!(ready.status().is_success());
    Ok(())
}
