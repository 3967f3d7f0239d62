//! One job of a key at a time: rivals, and each choice of what becomes of them.

mod aggregate;
mod faults;
mod times;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::join_all;
use windlass::client::Error;
use windlass::{Instead, JobId, JobState, OnConflict, Submission, Unique};
use windlass_core::Transition;
use windlass_testkit::{Fleet, PATIENCE};

use super::{Work, all_succeed, fleet, host, work};

const HOUR: Duration = Duration::from_secs(3600);

/// What became of a task: its job, or the other one and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Job(JobId),
    Other { id: JobId, instead: Instead, other: JobId },
}

/// Submits all at once, and waits until each is admitted.
async fn fates(tasks: impl IntoIterator<Item = Submission>) -> Result<Vec<Fate>> {
    let admitted = tasks.into_iter().map(|task| async {
        match task.submit_admitted(PATIENCE).await {
            Ok(submitted) => Ok(Fate::Job(submitted.id)),
            Err(Error::NoJob { id, instead, other }) => Ok(Fate::Other { id, instead, other }),
            Err(error) => Err(error.into()),
        }
    });
    join_all(admitted).await.into_iter().collect()
}

async fn fate(task: Submission) -> Result<Fate> {
    fates([task]).await?.pop().context("no fate")
}

async fn job(task: Submission) -> Result<JobId> {
    match fate(task).await? {
        Fate::Job(id) => Ok(id),
        other @ Fate::Other { .. } => bail!("it has no job: {other:?}"),
    }
}

/// Waits until a task that has a job is told that it was ended for another's.
async fn replaced_by(fleet: &Fleet, id: JobId) -> Result<JobId> {
    match fleet.client.wait(&"default".parse()?, id, PATIENCE).await {
        Err(Error::NoJob { instead: Instead::Replaced, other, .. }) => Ok(other),
        other => bail!("{id} was not replaced: {other:?}"),
    }
}

/// What stands in the stream of jobs, by the fourth word of its subject.
async fn standing(fleet: &Fleet) -> Result<BTreeMap<String, usize>> {
    let admin = fleet.broker.client("admin").await?;
    let subjects: BTreeMap<String, u64> = serde_json::from_value(admin.subjects("JOBS").await?)?;
    let mut counted = BTreeMap::new();
    for subject in subjects.keys() {
        *counted.entry(subject.split('.').nth(3).unwrap_or_default().to_owned()).or_default() += 1;
    }
    Ok(counted)
}

fn gated(name: &str) -> Work {
    Work { name: name.to_owned(), gated: true }
}

/// Of 300 that come at once over three dispatchers one gets a job, and each of the others is told which. Then the key is
/// free again. In a queue without limits, and in one that has some.
#[tokio::test(flavor = "multi_thread")]
async fn of_three_hundred_publishers_one_gets_a_job() -> Result<()> {
    for limited in [false, true] {
        let (mut fleet, _worker, log) = fleet(|settings| {
            settings.concurrency = limited.then_some(5);
        })
        .await?;
        fleet.service("dispatcher-2").await?;
        fleet.service("dispatcher-3").await?;
        let tasks = (0..300).map(|_| fleet.client.task(&gated("x")).unique(Unique::key("k")));
        let fates = fates(tasks).await?;
        let jobs: Vec<_> = fates.iter().filter(|fate| matches!(fate, Fate::Job(_))).collect();
        let [Fate::Job(winner)] = jobs[..] else { bail!("not one job: {jobs:?}") };
        for fate in &fates {
            if let Fate::Other { instead, other, .. } = fate {
                assert_eq!((*instead, other), (Instead::Refused, winner));
            }
        }
        // Who waits for a task that was refused is told as well, and so is its history.
        let refused = fates.iter().find_map(|fate| match fate {
            Fate::Other { id, .. } => Some(*id),
            Fate::Job(_) => None,
        });
        let refused = refused.context("none was refused")?;
        let waited = fleet.client.wait(&"default".parse()?, refused, PATIENCE).await;
        ensure!(matches!(&waited, Err(Error::NoJob { other, .. }) if other == winner), "{waited:?}");
        let told = fleet.tap.heard(refused, Transition::Cancelled).await?;
        assert_eq!(told.other_id, Some(*winner));
        log.open();
        all_succeed(&fleet, &[*winner]).await?;
        log.with(|seen| assert_eq!(seen.begun.len(), 1, "{seen:?}"));
        let next = job(fleet.client.task(&work("y")).unique(Unique::key("k"))).await?;
        all_succeed(&fleet, &[next]).await?;
        // Nothing went to the dead letters.
        assert!(windlass_broker::dead::find(&fleet.operator, &"default".parse()?, refused).await?.is_none());
    }
    Ok(())
}

/// Keys by fields of the payload: the members that are named count, in whatever order they stand.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_of_the_fields_that_are_named() -> Result<()> {
    let (fleet, _worker, log) = fleet(|_| {}).await?;
    let task = |payload: &str, fields: &[&str]| {
        let raw = fleet.client.raw("test.work", payload.to_owned().into(), "application/json");
        raw.unique(Unique::over(fields.iter().copied()))
    };
    let by_name = ["kind", "payload.name"];
    let first = job(task(r#"{"name":"a","gated":true}"#, &by_name)).await?;
    let same = fate(task(r#"{"gated":false,"name":"a"}"#, &by_name)).await?;
    ensure!(matches!(same, Fate::Other { other, .. } if other == first), "{same:?}");
    let other = job(task(r#"{"name":"b","gated":false}"#, &by_name)).await?;
    let whole = job(task(r#"{"gated":false,"name":"a"}"#, &["payload"])).await?;
    // From any other client by headers: the dispatcher makes the same key.
    let publisher = fleet.broker.client("operator").await?;
    let id = JobId::from_parts(jiff::Timestamp::now(), [7; 10]);
    let headers = [
        ("Windlass-Kind", "test.work"),
        ("Windlass-Id", &*id.to_string()),
        ("Windlass-Unique-Over", "kind, payload.name"),
    ];
    publisher.publish("windlass.task.default", None, &headers, br#"{"name":"a","gated":false}"#).await?;
    let told = fleet.tap.heard(id, Transition::Cancelled).await?;
    assert_eq!(told.other_id, Some(first));
    log.open();
    all_succeed(&fleet, &[first, other, whole]).await
}

/// A job that waits, in each way, is replaced; one that runs goes on, and the new one is made beside it.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_replaced_and_who_runs_goes_on() -> Result<()> {
    for limited in [false, true] {
        let (fleet, worker, log) = fleet(|settings| {
            if limited {
                (settings.concurrency, settings.key_concurrency) = (Some(2), Some(1));
            }
        })
        .await?;
        let replace = |name: &str| {
            let unique = Unique::key("k").on_conflict(OnConflict::Replace);
            fleet.client.task(&work(name)).key("a").unique(unique)
        };
        // Scheduled, and retrying.
        let scheduled = job(replace("x").delay(HOUR)).await?;
        let failing = job(replace("fails once")).await?;
        assert_eq!(replaced_by(&fleet, scheduled).await?, failing);
        fleet.tap.heard(failing, Transition::Retried).await?;
        let gate = Unique::key("k").on_conflict(OnConflict::Replace);
        let running = job(fleet.client.task(&gated("gate")).key("a").unique(gate)).await?;
        let after_retry = fleet.client.wait(&"default".parse()?, failing, PATIENCE).await;
        match after_retry {
            // Its second attempt may have begun before it was replaced.
            Ok(ended) => assert_eq!(ended.state, JobState::Succeeded),
            Err(error) => {
                ensure!(matches!(error, Error::NoJob { other, .. } if other == running), "{error:?}");
            }
        }
        // Running: another is made beside it, which waits for the key where there is a limit.
        fleet.tap.heard(running, Transition::Started).await?;
        let beside = job(replace("beside")).await?;
        if limited {
            fleet.tap.heard(beside, Transition::Held).await?;
            let instead = job(replace("instead")).await?;
            assert_eq!(replaced_by(&fleet, beside).await?, instead);
            log.open();
            all_succeed(&fleet, &[running, instead]).await?;
            log.with(|seen| assert!(!seen.begun.iter().any(|name| name == "beside"), "{seen:?}"));
            let left = standing(&fleet).await?;
            ensure!(!left.contains_key("slot") && !left.contains_key("wait"), "{left:?}");
        } else {
            all_succeed(&fleet, &[beside]).await?;
            log.open();
            all_succeed(&fleet, &[running]).await?;
        }
        // Queued: no worker is there to be given it.
        worker.drain().await?;
        let queued = job(replace("queued")).await?;
        let last = job(replace("last")).await?;
        assert_eq!(replaced_by(&fleet, queued).await?, last);
        let _worker = host(&fleet, &log).await?;
        all_succeed(&fleet, &[last]).await?;
        log.with(|seen| assert!(!seen.begun.iter().any(|name| name == "queued"), "{seen:?}"));
        // What was replaced has its end in its history, once.
        let told = fleet.tap.of(queued);
        assert_eq!(told, [(Transition::Accepted, 0), (Transition::Cancelled, 0)]);
    }
    Ok(())
}

/// The earlier of two instants is in force, and the one that came later is merged.
#[tokio::test(flavor = "multi_thread")]
async fn the_earlier_instant_is_kept() -> Result<()> {
    for limited in [false, true] {
        let (fleet, _worker, _log) = fleet(|settings| {
            settings.concurrency = limited.then_some(2);
        })
        .await?;
        let task = |delay: Duration| {
            let unique = Unique::key("k").on_conflict(OnConflict::KeepEarlier);
            fleet.client.task(&work("x")).max_wait(HOUR).delay(delay).unique(unique)
        };
        let first = job(task(HOUR)).await?;
        for delay in [HOUR * 2, HOUR / 2, Duration::ZERO] {
            let merged = fate(task(delay)).await?;
            let expected = matches!(
                merged,
                Fate::Other { instead: Instead::Merged, other, .. } if other == first
            );
            ensure!(expected, "{merged:?}");
        }
        all_succeed(&fleet, &[first]).await?;
    }
    Ok(())
}

/// Only jobs in the states that are named count.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_states_that_are_named_count() -> Result<()> {
    let (fleet, _worker, log) = fleet(|_| {}).await?;
    let waiting = || Unique::key("k").states(&[JobState::Scheduled, JobState::Held, JobState::Queued]);
    let running = job(fleet.client.task(&gated("x")).unique(waiting())).await?;
    fleet.tap.heard(running, Transition::Started).await?;
    let follows = job(fleet.client.task(&work("y")).delay(HOUR).unique(waiting())).await?;
    let refused = fate(fleet.client.task(&work("z")).unique(waiting())).await?;
    ensure!(matches!(refused, Fate::Other { other, .. } if other == follows), "{refused:?}");
    log.open();
    all_succeed(&fleet, &[running]).await
}

/// The client names the field that is wrong before it sends anything, and the dispatcher in the dead letter.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named() -> Result<()> {
    let (fleet, _worker, _log) = fleet(|_| {}).await?;
    let second = Duration::from_secs(1);
    for (unique, field) in [
        (Unique::key(""), "unique.key"),
        (Unique::key(&"k".repeat(10_000)), "unique.key"),
        (Unique::over(["payload.nobody"]), "unique.over"),
        (Unique::key("k").states(&[JobState::Dead]), "unique.states"),
        (Unique::key("k").throttle(Duration::ZERO), "unique.period"),
        (Unique::key("k").for_time(Duration::ZERO), "unique.for"),
        (
            Unique::key("k").debounce(second).on_conflict(OnConflict::Reject).max_delay(second),
            "unique.max_delay",
        ),
        (Unique::key("k").debounce(second).max_delay(second / 2), "unique.max_delay"),
    ] {
        match fleet.client.task(&work("x")).unique(unique).submit().await {
            Err(Error::Invalid(invalid)) => assert_eq!(invalid.field, field),
            other => bail!("{field}: {other:?}"),
        }
    }
    let publisher = fleet.broker.client("operator").await?;
    let long = "k".repeat(10_000);
    for (header, value, field) in [
        ("Windlass-Unique-Key", long.as_str(), "Windlass-Unique-Key"),
        ("Windlass-Unique-States", "queued", "Windlass-Unique-States"),
        ("Windlass-Unique-Over", "payload.nobody", "unique.over"),
        ("Windlass-Aggregate-Key", "k", "Windlass-Aggregate-Grace"),
    ] {
        let before = fleet.tap.until("so far", |_| true).await?.len();
        let headers = [("Windlass-Kind", "test.work"), (header, value)];
        publisher.publish("windlass.task.default", None, &headers, b"{}").await?;
        let rejected = |e: &&windlass_core::Event| e.transition == Transition::Rejected;
        let all = fleet.tap.until(field, |all| all[before..].iter().any(|e| rejected(&e))).await?;
        let event = all[before..].iter().find(rejected).context("just heard")?;
        let letter = crate::support::dead_letter(&fleet, "default", event.job_id).await?;
        assert_eq!(letter.field, field, "{}", letter.reason);
    }
    Ok(())
}

/// `windlass submit` takes all of it, and tells the other job in a field of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_tells_the_other_job() -> Result<()> {
    let (fleet, _worker, log) = fleet(|_| {}).await?;
    let first = job(fleet.client.task(&gated("x")).unique(Unique::key("k"))).await?;
    let payload = r#"{"name":"y","gated":false}"#;
    let args =
        ["submit", "test.work", payload, "--unique", "k", "--unique-for", "10m", "--wait", "-o", "json"];
    let output = fleet.command(&args).await?.output().await?;
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(
        (shown["other_id"].as_str(), output.status.code()),
        (Some(&*first.to_string()), Some(1)),
        "{shown}"
    );
    assert_eq!((&shown["state"], &shown["error"]["code"]), (&"cancelled".into(), &"unique".into()));
    let args = ["submit", "test.work", payload, "--unique-over", "kind,payload.name", "--debounce", "10ms"];
    fleet.cli(&[&args[..], &["--debounce-max", "1s", "--wait"]].concat()).await?;
    // As text the reason names it.
    let args = ["submit", "test.work", payload, "--unique", "k", "--wait"];
    let output = fleet.command(&args).await?.output().await?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(complaint.contains(&first.to_string()), "{complaint}");
    log.open();
    all_succeed(&fleet, &[first]).await
}
