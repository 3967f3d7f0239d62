//! What a schedule does at an instant while the job before is live, on a whole fleet.

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_core::{Event, JobId, ScheduleId, Transition};
use windlass_testkit::Fleet;

use super::schedule_policies::{cli, until};
use super::schedules::apply;

/// A job that runs until a file is there.
fn waiting_for(fleet: &Fleet, file: &str) -> Value {
    let path = fleet.folder.path().join(file);
    let wait = format!("until test -e {}; do sleep 0.05; done", path.display());
    json!({ "argv": ["sh", "-c", wait] })
}

/// The instants that a schedule has fired, with their jobs, as its history has them.
async fn fired(fleet: &Fleet, id: &str) -> Result<Vec<JobId>> {
    let history = cli(fleet, &["schedule", "history", id]).await?;
    let entries = history["history"].as_array().context("no history")?;
    let jobs = entries.iter().filter_map(|entry| entry["job_id"].as_str());
    jobs.map(|job| Ok(job.parse()?)).collect()
}

fn count(shown: &Value, field: &str) -> u64 {
    shown[field].as_u64().unwrap_or_default()
}

fn at(all: &[Event], job: JobId, transition: Transition) -> Option<Timestamp> {
    all.iter().find(|event| event.job_id == job && event.transition == transition).map(|event| event.at)
}

async fn start(fleet: &mut Fleet, overlap: &str, gate: &str) -> Result<()> {
    fleet.service("scheduler").await?;
    let file = json!({
        "id": overlap, "kind": "command.run", "payload": waiting_for(fleet, gate), "every": "1s", "overlap": overlap,
    });
    assert_eq!(apply(fleet, "overlap.json", &file.to_string()).await?, ["created"]);
    Ok(())
}

/// Of two jobs that follow, the later one is accepted only after this of the one before.
async fn one_at_a_time(fleet: &Fleet, jobs: &[JobId], ended: Transition) -> Result<()> {
    let all = fleet
        .tap
        .until("the ends of all but the last", |all| {
            let ended = |job: &JobId| at(all, *job, ended).is_some();
            let (last, before) = jobs.split_last().unwrap_or_else(|| panic!("no job has fired"));
            before.iter().all(ended) && at(all, *last, Transition::Accepted).is_some()
        })
        .await?;
    for pair in jobs.windows(2) {
        let (end, next) = (at(&all, pair[0], ended), at(&all, pair[1], Transition::Accepted));
        assert!(end <= next, "{} ended at {end:?}, and {} was accepted at {next:?}", pair[0], pair[1]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instant_waits_and_later_ones_are_passed_over() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    start(&mut fleet, "buffer_one", "gate").await?;
    let show = ["schedule", "show", "buffer_one"];
    let passed_over = |shown: &Value| count(shown, "skipped") >= 2;
    let shown = until(&fleet, &show, "instants are passed over", passed_over).await?;
    assert_eq!(count(&shown, "fires"), 1);
    let history = cli(&fleet, &["schedule", "history", "buffer_one"]).await?;
    let first: Timestamp = history["history"][0]["instant"].as_str().context("no instant")?.parse()?;
    let second = first + jiff::SignedDuration::from_secs(1);
    assert_eq!(history["waiting"], json!([second]));
    std::fs::write(fleet.folder.path().join("gate"), "")?;
    until(&fleet, &show, "what waits fires", |shown| count(shown, "fires") >= 2).await?;
    let jobs = fired(&fleet, "buffer_one").await?;
    let id: ScheduleId = "buffer_one".parse()?;
    assert_eq!(&jobs[..2], [JobId::of_fire(&id, first), JobId::of_fire(&id, second)]);
    one_at_a_time(&fleet, &jobs[..2], Transition::Succeeded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_instants_wait_and_fire_one_after_the_other() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    start(&mut fleet, "buffer_all", "gate").await?;
    let waits = |history: &Value| history["waiting"].as_array().is_some_and(|waiting| waiting.len() >= 3);
    let history = until(&fleet, &["schedule", "history", "buffer_all"], "three wait", waits).await?;
    assert_eq!((count(&history, "fires"), count(&history, "skipped")), (1, 0), "{history}");
    // So that no more come.
    cli(&fleet, &["schedule", "pause", "buffer_all"]).await?;
    let history = cli(&fleet, &["schedule", "history", "buffer_all"]).await?;
    let waiting = history["waiting"].as_array().context("none waits")?.clone();
    std::fs::write(fleet.folder.path().join("gate"), "")?;
    // While it is paused what waits goes on to wait.
    cli(&fleet, &["schedule", "resume", "buffer_all"]).await?;
    let all = 1 + waiting.len() as u64;
    let show = ["schedule", "show", "buffer_all"];
    until(&fleet, &show, "all that waited fire", |shown| count(shown, "fires") >= all).await?;
    let jobs = fired(&fleet, "buffer_all").await?;
    let id: ScheduleId = "buffer_all".parse()?;
    for (job, instant) in jobs[1..].iter().zip(&waiting) {
        assert_eq!(*job, JobId::of_fire(&id, instant.as_str().context("no instant")?.parse()?));
    }
    one_at_a_time(&fleet, &jobs[..=waiting.len()], Transition::Succeeded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_job_is_cancelled_and_then_the_next_fires() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    start(&mut fleet, "cancel_other", "never").await?;
    let show = ["schedule", "show", "cancel_other"];
    until(&fleet, &show, "three have fired", |shown| count(shown, "fires") >= 3).await?;
    let jobs = fired(&fleet, "cancel_other").await?;
    one_at_a_time(&fleet, &jobs[..3], Transition::Cancelled).await?;
    cli(&fleet, &["schedule", "delete", "cancel_other"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_job_is_cancelled_and_the_next_fires_at_once() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    start(&mut fleet, "terminate_other", "never").await?;
    let show = ["schedule", "show", "terminate_other"];
    let shown = until(&fleet, &show, "four have fired", |shown| count(shown, "fires") >= 4).await?;
    // No instant waited or was passed over.
    assert_eq!((count(&shown, "skipped"), count(&shown, "misfires")), (0, 0), "{shown}");
    let jobs = fired(&fleet, "terminate_other").await?;
    let history = cli(&fleet, &["schedule", "history", "terminate_other"]).await?;
    assert_eq!(history["waiting"], json!([]));
    let ended = |all: &[Event]| jobs[..3].iter().all(|job| at(all, *job, Transition::Cancelled).is_some());
    fleet.tap.until("those before the last are cancelled", ended).await?;
    cli(&fleet, &["schedule", "delete", "terminate_other"]).await?;
    Ok(())
}
