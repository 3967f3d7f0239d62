//! Timers that are too short for the broker's clock.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use jiff::{Timestamp, ToSpan as _};
use prost::Message as _;
use tokio::time::Instant;
use windlass_broker::jobs::{Address, Change, Jobs, SeenRecord, Verdict, nonce};
use windlass_broker::provision::Layout;
use windlass_core::protocol::Kind;
use windlass_core::{JobId, PoolName, Priority, QueueName, RecordKind};
use windlass_proto::{instant, v1};
use windlass_testkit::{PATIENCE, TestBroker};

/// Sets a timer for a new job; the nonce of its record.
async fn set(jobs: &Jobs, id: JobId) -> Result<Bytes> {
    let (now, due_at) = (Timestamp::now(), Timestamp::now() + 200.milliseconds());
    let task = v1::Task { id: id.to_string(), kind: "a.b".to_owned(), ..v1::Task::default() };
    let nonce = nonce();
    let job = v1::Job {
        task: Some(task),
        accepted_at: Some(instant(now)),
        due_at: Some(instant(due_at)),
        nonce: nonce.clone(),
        ..v1::Job::default()
    };
    let address = Address { queue: QueueName::default(), priority: Priority::Normal, job_id: id };
    let change = Change {
        address: &address,
        token: 0,
        record: RecordKind::Later,
        body: job.encode_to_vec().into(),
        nonce: &nonce,
        trace: None,
        ttl: None,
        timer: Some((due_at, RecordKind::Ready)),
        purge: None,
    };
    let verdict = jobs.write(change, Instant::now() + PATIENCE).await?;
    ensure!(matches!(verdict, Verdict::Won(_)), "{verdict:?}");
    Ok(nonce)
}

/// Waits until the timer has fired; what it fired as.
async fn fired(jobs: &Jobs, id: JobId) -> Result<SeenRecord> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let last = jobs.read(&QueueName::default(), id).await?.last.context("the job is gone")?;
        match last.record.kind {
            Kind::Ready => return Ok(last),
            Kind::Later => ensure!(Instant::now() < deadline, "the timer does not fire"),
            other => bail!("{other:?}"),
        }
        // Nothing tells of a timer but looking.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A delay under a second is fired by whoever set it, and once; if that process is gone, by the broker.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_timer_is_fired_by_its_writer_or_else_by_the_broker() -> Result<()> {
    let broker = TestBroker::start().await?;
    let reader = broker.provision(&Layout::default()).await?;
    let reader = Jobs::new(&reader, PoolName::default());
    let (lives, dies) = (
        JobId::from_parts(Timestamp::now(), nonce()[..10].try_into()?),
        JobId::from_parts(Timestamp::now(), nonce()[..10].try_into()?),
    );
    let set_by_us = set(&reader, lives).await?;
    let lost = broker.connect("test").await?;
    let set_by_another = set(&Jobs::new(&lost, PoolName::default()), dies).await?;
    lost.drain().await;

    let by_us = fired(&reader, lives).await?;
    assert_ne!(*by_us.body.nonce(), set_by_us, "the broker fired what its writer should have");
    let by_broker = fired(&reader, dies).await?;
    assert_eq!(*by_broker.body.nonce(), set_by_another, "who can have fired it?");
    // The broker's timer of the first was set for the same instant as that of the second: it is gone.
    let left = reader.left_over(&QueueName::default(), lives).await?;
    assert_eq!(left.iter().map(|l| l.record).collect::<Vec<_>>(), [by_us.record]);
    Ok(())
}
