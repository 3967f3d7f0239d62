//! Jobs that wait for other jobs.

mod faults;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use serde_json::json;
use tokio::time::Instant;
use windlass::client::Submitted;
use windlass::{OnFailure, Submission};
use windlass_broker::jobs::Jobs;
use windlass_core::{JobState, PoolName, Transition};
use windlass_testkit::{Fleet, PATIENCE};

use super::{Log, Work, all_succeed, fleet, set, work};
use crate::support::{dead_letter, order};

/// Of jobs that wait for one, in a build without optimisation.
const MANY: usize = 600;
/// More than the messages of a queue that may be delivered and not yet acknowledged, by default.
const MORE_THAN_PENDING: usize = 1100;

fn gated(name: &str) -> Work {
    Work { name: name.to_owned(), gated: true }
}

fn task(fleet: &Fleet, name: &str) -> Submission {
    fleet.client.task(&work(name))
}

/// Nothing is left of who waited for whom.
async fn no_edges(fleet: &Fleet) -> Result<()> {
    let admin = fleet.broker.client("admin").await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut left = 0;
        for word in ["awaited", "awaits"] {
            let request = json!({ "subjects_filter": format!("windlass.job.*.{word}.>") });
            let info = admin.api("STREAM.INFO.JOBS", &request).await?;
            left += info["state"]["subjects"].as_object().map_or(0, serde_json::Map::len);
        }
        if left == 0 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{left} marks are left");
        // Nothing tells of a deletion but looking.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn begun(log: &Log) -> Vec<String> {
    log.with(|seen| seen.begun.clone())
}

/// A chain, of which the last waits for one that waits itself; submitted while the first runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_runs_in_its_order() -> Result<()> {
    let (fleet, _worker, log) = fleet(|_| ()).await?;
    let a = fleet.client.task(&gated("a")).submit().await?;
    let b = task(&fleet, "b").after(&a).submit().await?;
    let c = task(&fleet, "c").after(&b).submit().await?;
    for held in [&b, &c] {
        let event = fleet.tap.heard(held.id, Transition::Held).await?;
        ensure!(event.note == "waits for 1 jobs to end", "{}", event.note);
    }
    let jobs = Jobs::new(&fleet.operator, PoolName::default());
    let (open, more) = jobs.open_edges(&c.queue, c.id, 10).await?;
    assert_eq!((open, more), (vec![(b.queue.clone(), b.id)], false));
    log.open();
    all_succeed(&fleet, &[a.id, b.id, c.id]).await?;
    assert_eq!(begun(&log), ["a", "b", "c"]);
    no_edges(&fleet).await
}

/// Two between one and another; and all that is waited for has ended when the last is submitted.
#[tokio::test(flavor = "multi_thread")]
async fn a_diamond_joins_and_what_has_ended_is_no_wait() -> Result<()> {
    let (fleet, _worker, log) = fleet(|_| ()).await?;
    let a = fleet.client.task(&gated("a")).submit().await?;
    let b = task(&fleet, "b").after(&a).submit().await?;
    let c = task(&fleet, "c").after(&a).submit().await?;
    let d = task(&fleet, "d").after(&b).after(&c).submit().await?;
    log.open();
    all_succeed(&fleet, &[a.id, b.id, c.id, d.id]).await?;
    let order = begun(&log);
    assert_eq!((order[0].as_str(), order[3].as_str()), ("a", "d"), "{order:?}");
    let late = task(&fleet, "e").after(&a).after(&d).submit().await?;
    all_succeed(&fleet, &[late.id]).await?;
    let held = fleet.tap.until("the end", |all| {
        all.iter().any(|e| e.job_id == late.id && e.transition == Transition::Succeeded)
    });
    assert!(!held.await?.iter().any(|e| e.job_id == late.id && e.transition == Transition::Held));
    no_edges(&fleet).await
}

/// Each policy, for a dependency that dies and for one that is cancelled, ended before the submission and after it.
#[tokio::test(flavor = "multi_thread")]
async fn policies_say_what_follows_a_failure() -> Result<()> {
    let (fleet, _worker, log) = fleet(|_| ()).await?;
    let never = fleet.client.task(&gated("never")).submit().await?;
    let dies = task(&fleet, "dies").submit().await?;
    assert_eq!(fleet.ended(dies.id).await?.state, JobState::Dead);
    let later =
        fleet.client.task(&work("later")).delay(std::time::Duration::from_secs(3600)).submit().await?;
    fleet.tap.heard(later.id, Transition::Accepted).await?;
    let mut waiting: Vec<(Submitted, Submitted, OnFailure)> = Vec::new();
    for on in [&dies, &later] {
        for policy in OnFailure::ALL {
            let name = format!("{} {}", on.id, policy.as_str());
            // One more that stays open, which only `continue` starts without.
            let mut waits = task(&fleet, &name).after(on).on_failure(policy);
            if policy == OnFailure::Continue {
                waits = waits.after(&never);
            }
            waiting.push((waits.submit().await?, on.clone(), policy));
        }
    }
    for (waits, on, _) in &waiting {
        if on.id == later.id {
            fleet.tap.heard(waits.id, Transition::Held).await?;
        }
    }
    order(&fleet, "default", "cancel", later.id).await?;
    for (waits, on, policy) in &waiting {
        let ended = fleet.ended(waits.id).await?;
        if *policy == OnFailure::Fail {
            assert_eq!(ended.state, JobState::Dead);
            let error = ended.error.context("no error")?;
            assert_eq!(error.code, "dependency");
            let word = if on.id == dies.id { "is dead" } else { "was cancelled" };
            assert!(error.message.contains(&on.id.to_string()) && error.message.ends_with(word), "{error:?}");
            // The letter comes before the event, and after the end.
            fleet.tap.heard(waits.id, Transition::Dead).await?;
            assert_eq!(dead_letter(&fleet, "default", waits.id).await?.code, "dependency");
        } else {
            assert_eq!(ended.state, JobState::Succeeded, "{policy:?} {:?}", ended.error);
        }
    }
    log.open();
    all_succeed(&fleet, &[never.id]).await?;
    no_edges(&fleet).await
}

/// A job that is dead because of another is an end that its own waiters hear of.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_goes_down_the_chain() -> Result<()> {
    let (fleet, _worker, log) = fleet(|_| ()).await?;
    let gate = fleet.client.task(&gated("gate")).submit().await?;
    let dies = task(&fleet, "dies").after(&gate).submit().await?;
    let (mut chain, mut last) = (Vec::new(), dies.clone());
    for n in 0..4 {
        last = task(&fleet, &format!("never {n}")).after(&last).submit().await?;
        chain.push(last.id);
    }
    let cleans_up = task(&fleet, "cleans up").after(&last).on_failure(OnFailure::Ignore).submit().await?;
    log.open();
    all_succeed(&fleet, &[cleans_up.id]).await?;
    for id in chain {
        assert_eq!(fleet.ended(id).await?.state, JobState::Dead);
    }
    assert_eq!(begun(&log), ["gate", "dies", "cleans up"]);
    no_edges(&fleet).await
}

/// One that waits for many, and many that wait for one.
#[tokio::test(flavor = "multi_thread")]
async fn many_come_together_and_part_again() -> Result<()> {
    let (fleet, _worker, log) = fleet(|_| ()).await?;
    let gate = fleet.client.task(&gated("gate")).submit().await?;
    let first = (0..MANY).map(|_| task(&fleet, "first").after(&gate));
    let first = try_join_all(first.map(Submission::submit)).await?;
    let joins = first.iter().fold(task(&fleet, "joins"), windlass::Submission::after).submit().await?;
    fleet.tap.heard(joins.id, Transition::Held).await?;
    let second = (0..MANY).map(|_| task(&fleet, "second").after(&joins));
    let second = try_join_all(second.map(Submission::submit)).await?;
    let held = |all: &[windlass_core::Event]| all.iter().filter(|e| e.transition == Transition::Held).count();
    fleet.tap.until("all wait", |all| held(all) > 2 * MANY).await?;
    log.open();
    let ids: Vec<_> = first.iter().chain(&second).map(|one| one.id).collect();
    all_succeed(&fleet, &ids).await?;
    let order = begun(&log);
    let joined = order.iter().position(|name| name == "joins").context("it did not run")?;
    assert_eq!((joined, order.len()), (1 + MANY, 2 * MANY + 2), "after the gate and all that are first");
    no_edges(&fleet).await
}

/// Tasks whose dependency is published last leave room for it, and for others.
#[tokio::test(flavor = "multi_thread")]
async fn those_that_wait_may_all_be_published_first() -> Result<()> {
    let (fleet, _worker, log) = fleet(|_| ()).await?;
    let last = task(&fleet, "last");
    let first = (0..MORE_THAN_PENDING).map(|_| task(&fleet, "first").after(&last).submit());
    let first = try_join_all(first).await?;
    let other = task(&fleet, "other").submit().await?;
    all_succeed(&fleet, &[other.id]).await?;
    assert_eq!(begun(&log), ["other"], "those that wait for what is not known keep nobody up");
    let last = last.submit().await?;
    all_succeed(&fleet, &[last.id]).await?;
    all_succeed(&fleet, &first.iter().map(|one| one.id).collect::<Vec<_>>()).await
}

/// A queue with flow control: a job passes it once it waits no more. Its own delay counts from its acceptance.
#[tokio::test(flavor = "multi_thread")]
async fn limits_and_delays_count_after_the_wait() -> Result<()> {
    let (fleet, _worker, log) = fleet(|settings| settings.concurrency = Some(2)).await?;
    let gate = fleet.client.task(&gated("gate")).submit().await?;
    let after = (0..20).map(|_| task(&fleet, "x").after(&gate).submit());
    let mut ids: Vec<_> = try_join_all(after).await?.into_iter().map(|one| one.id).collect();
    let delay = std::time::Duration::from_secs(2);
    let late = task(&fleet, "late").after(&gate).delay(delay).submit().await?;
    let far = task(&fleet, "far").after(&gate).delay(delay * 1800).submit().await?;
    for id in ids.iter().chain([&late.id, &far.id]) {
        fleet.tap.heard(*id, Transition::Held).await?;
    }
    log.open();
    let released = fleet.tap.heard(far.id, Transition::Released).await?;
    assert!(released.due_at > Some(released.at), "it waits for its own instant");
    ids.extend([gate.id, late.id]);
    all_succeed(&fleet, &ids).await?;
    log.with(|seen| assert!(seen.most_of_all <= 2, "{seen:?}"));
    // And where the limit is set only afterwards.
    let second = fleet.client.task(&gated("second gate")).after(&gate).submit().await?;
    all_succeed(&fleet, &[second.id]).await?;
    no_edges(&fleet).await
}

/// A job that waits is cancelled, or released by an operator: nothing is left of its wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_job_is_cancelled_or_released() -> Result<()> {
    for flow in [false, true] {
        let (fleet, _worker, log) = fleet(|_| ()).await?;
        if flow {
            set(&fleet, |settings| settings.concurrency = Some(8)).await?;
        }
        let gate = fleet.client.task(&gated("gate")).submit().await?;
        let other = fleet.client.task(&gated("other")).submit().await?;
        let cancelled = task(&fleet, "cancelled").after(&gate).after(&other).submit().await?;
        let released = task(&fleet, "released").after(&gate).after(&other).submit().await?;
        for one in [&cancelled, &released] {
            fleet.tap.heard(one.id, Transition::Held).await?;
        }
        order(&fleet, "default", "cancel", cancelled.id).await?;
        order(&fleet, "default", "release", released.id).await?;
        assert_eq!(fleet.ended(cancelled.id).await?.state, JobState::Cancelled);
        all_succeed(&fleet, &[released.id]).await?;
        no_edges(&fleet).await?;
        log.open();
        all_succeed(&fleet, &[gate.id, other.id]).await?;
    }
    Ok(())
}

/// What is refused: at the client, and where others publish, in DEAD with its reason. Tasks may come in any order, but not
/// wait for each other.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_jobs_and_circles_are_refused() -> Result<()> {
    let (fleet, _worker, _log) = fleet(|_| ()).await?;
    let unknown = task(&fleet, "never");
    let waits = task(&fleet, "waits").after(&unknown).submit().await?;
    // A circle, of which no client knows both.
    let (a, b) = (task(&fleet, "a"), task(&fleet, "b"));
    let (to_a, to_b) = (b.clone().after(&a), a.clone().after(&b));
    let circle = [to_b.submit().await?, to_a.submit().await?];
    // Published in the wrong order.
    let first = task(&fleet, "first");
    let second = task(&fleet, "second").after(&first).submit().await?;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let first = first.submit().await?;
    all_succeed(&fleet, &[first.id, second.id]).await?;
    let itself = task(&fleet, "itself");
    let itself = itself.clone().after(&itself).submit().await;
    assert!(
        matches!(&itself, Err(windlass::client::Error::Invalid(error)) if error.field == "after"),
        "{itself:?}"
    );
    let rejected = |all: &[windlass_core::Event]| {
        let rejected = all.iter().filter(|e| e.transition == Transition::Rejected);
        rejected.map(|e| (e.claimed_id, e.error.clone())).collect::<Vec<_>>()
    };
    let all = fleet.tap.until("three refusals", |all| rejected(all).len() == 3).await?;
    for id in [waits.id, circle[0].id, circle[1].id] {
        let (_, error) =
            rejected(&all).into_iter().find(|(claimed, _)| *claimed == Some(id)).context("not refused")?;
        let error = error.context("no error")?;
        assert_eq!(error.code, "invalid_task");
        assert!(error.message.starts_with("after: names the job "), "{error:?}");
    }
    no_edges(&fleet).await
}
