//! What no message in flight would repair.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::{Timestamp, ToSpan as _};
use tokio::time::Instant;
use windlass_broker::jobs::{Address, Change, Jobs, Verdict, nonce};
use windlass_broker::provision::Layout;
use windlass_core::{JobError, JobId, JobState, PoolName, Priority, QueueName, RecordKind, Transition};
use windlass_proto::{Done, Job, RecordBody};
use windlass_testkit::{Fleet, PATIENCE};

use crate::support::{command, dead_letter, submit};

/// A third of it is how old what is left must be to be looked at.
const HORIZON: Duration = Duration::from_secs(6);

async fn fleet() -> Result<(Fleet, Jobs)> {
    let layout = Layout { ack_wait: Duration::from_secs(2), horizon: HORIZON, ..Layout::default() };
    let fleet = Fleet::start_with(layout).await?;
    let jobs = Jobs::new(&fleet.broker.connect("admin").await?, PoolName::default());
    Ok((fleet, jobs))
}

/// As a worker does that is killed just after.
async fn end(jobs: &Jobs, id: JobId, state: JobState, error: Option<JobError>) -> Result<()> {
    let seen = jobs.read(&QueueName::default(), id).await?;
    let last = seen.last.context("the job is not there")?;
    let done = Done {
        kind: last.body.kind().clone(),
        state,
        attempts: Vec::new(),
        result: "7".into(),
        result_form: windlass_core::Form::default(),
        result_content_type: String::new(),
        error,
        accepted_at: last.body.accepted_at(),
        ended_at: Timestamp::now(),
        nonce: nonce(),
        other_id: None,
    };
    let change = Change {
        address: &last.address,
        token: last.record.sequence,
        record: RecordKind::Done,
        body: done.encode(),
        nonce: &done.nonce,
        trace: None,
        ttl: Some(HORIZON),
        timer: None,
        purge: None,
    };
    let verdict = jobs.write(change, Instant::now() + PATIENCE).await?;
    ensure!(matches!(verdict, Verdict::Won(_)), "{verdict:?}");
    Ok(())
}

/// Waits until the stream holds nothing of a job.
async fn is_forgotten(jobs: &Jobs, id: JobId) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while jobs.read(&QueueName::default(), id).await?.last.is_some() {
        ensure!(Instant::now() < deadline, "something of {id} is left");
        // Nothing tells of an expiry but looking.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Workers that end jobs and die, and none comes for longer than ends are remembered: the ends are said, the letters
/// are stored, and nothing runs again.
#[tokio::test(flavor = "multi_thread")]
async fn work_that_is_left_of_an_ended_job_is_removed() -> Result<()> {
    let (mut fleet, jobs) = fleet().await?;
    fleet.service("dispatcher").await?;
    let well = submit(&fleet, command(&["true"])).await?;
    let dead = submit(&fleet, command(&["true"])).await?;
    for id in [well, dead] {
        fleet.tap.heard(id, Transition::Accepted).await?;
    }
    let error = JobError { message: "it broke".to_owned(), code: "handler".to_owned(), terminal: true };
    end(&jobs, well, JobState::Succeeded, None).await?;
    end(&jobs, dead, JobState::Dead, Some(error)).await?;
    assert_eq!(fleet.tap.heard(well, Transition::Succeeded).await?.result.as_deref(), Some(&b"7"[..]));
    fleet.tap.heard(dead, Transition::Dead).await?;
    assert_eq!(dead_letter(&fleet, "default", dead).await?.reason, "it broke");
    for id in [well, dead] {
        is_forgotten(&jobs, id).await?;
    }
    fleet.service("worker").await?;
    let probe = submit(&fleet, command(&["true"])).await?;
    fleet.tap.heard(probe, Transition::Succeeded).await?;
    for id in [well, dead] {
        let started = fleet.tap.of(id).into_iter().find(|(t, _)| *t == Transition::Started);
        assert_eq!(started, None, "it ran again");
    }
    Ok(())
}

/// A timer that the broker does not fire: the job runs, and what the timer would publish later is gone.
#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_timer_is_fired() -> Result<()> {
    let (mut fleet, jobs) = fleet().await?;
    fleet.service("dispatcher").await?;
    fleet.service("worker").await?;
    let task = command(&["true"]).into_submission(&fleet).delay(Duration::from_secs(3600)).submit().await?;
    fleet.tap.heard(task.id, Transition::Accepted).await?;
    let seen = jobs.read(&QueueName::default(), task.id).await?;
    let Some(RecordBody::Job(accepted)) = seen.last.map(|l| l.body) else { bail!("it is not there") };
    // The same job under another id, whose timer should have fired a minute ago.
    let id = JobId::from_parts(Timestamp::now(), nonce()[..10].try_into()?);
    let mut job = Job { due_at: Timestamp::now() - 60.seconds(), nonce: nonce(), ..accepted };
    job.task.id = id;
    let address = Address { queue: QueueName::default(), priority: Priority::Normal, job_id: id };
    let change = Change {
        address: &address,
        token: 0,
        record: RecordKind::Later,
        body: job.encode(),
        nonce: &job.nonce,
        trace: None,
        ttl: None,
        timer: Some((Timestamp::now() + 1.hour(), RecordKind::Ready)),
        purge: None,
    };
    let verdict = jobs.write(change, Instant::now() + PATIENCE).await?;
    ensure!(matches!(verdict, Verdict::Won(_)), "{verdict:?}");
    assert_eq!(fleet.tap.heard(id, Transition::Released).await?.note, "its timer was overdue");
    assert_eq!(fleet.ended(id).await?.state, JobState::Succeeded);
    is_forgotten(&jobs, id).await?;
    // The other timer stands.
    assert_eq!(fleet.tap.of(task.id), [(Transition::Accepted, 0)]);
    Ok(())
}
