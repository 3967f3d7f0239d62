//! Queues that keep the ends of their jobs for a moment only.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use tokio::time::Instant;
use windlass_broker::jobs::Jobs;
use windlass_broker::provision::Layout;
use windlass_broker::queues::QueueStore;
use windlass_core::{JobId, PoolName, QueueName, Transition};
use windlass_testkit::{Fleet, PATIENCE};

use crate::support::{command, submit};

const TTL: Duration = Duration::from_secs(1);
/// Several times as long as ends are kept.
const ACK_WAIT: Duration = Duration::from_secs(6);

async fn fleet() -> Result<(Fleet, Jobs)> {
    let mut fleet = Fleet::start_with(Layout { ack_wait: ACK_WAIT, ..Layout::default() }).await?;
    let store = QueueStore::new(&fleet.operator);
    store
        .change(&QueueName::default(), "test", Timestamp::now(), |settings| {
            settings.outcome_ttl = Some(TTL);
            Ok(())
        })
        .await?;
    fleet.service("dispatcher").await?;
    let jobs = Jobs::new(&fleet.operator, PoolName::default());
    Ok((fleet, jobs))
}

fn starts(fleet: &Fleet, id: JobId) -> usize {
    fleet.tap.of(id).iter().filter(|(transition, _)| *transition == Transition::Started).count()
}

/// Runs one job after another until this holds: ends go while there is work.
async fn work_until(fleet: &Fleet, what: &str, holds: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await? {
        ensure!(Instant::now() < deadline, "never {what}");
        let probe = submit(fleet, command(&["true"])).await?;
        fleet.tap.heard(probe, Transition::Succeeded).await?;
    }
    Ok(())
}

async fn is_forgotten(jobs: &Jobs, queue: &QueueName, id: JobId) -> Result<bool> {
    Ok(jobs.read(queue, id).await?.last.is_none())
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_are_forgotten_while_there_is_work_and_in_their_queue_alone() -> Result<()> {
    let (mut fleet, jobs) = fleet().await?;
    fleet.set_env("WINDLASS__WORKER__QUEUES", "default,other");
    let other: QueueName = "other".parse()?;
    let kept = command(&["true"]).into_submission(&fleet).queue(other.as_str()).submit().await?.id;
    fleet.service("worker").await?;
    fleet.tap.heard(kept, Transition::Succeeded).await?;
    let id = submit(&fleet, command(&["true"])).await?;
    fleet.tap.heard(id, Transition::Succeeded).await?;
    let queue = QueueName::default();
    work_until(&fleet, "forgotten", async || is_forgotten(&jobs, &queue, id).await).await?;
    assert!(!is_forgotten(&jobs, &other, kept).await?, "another queue's end");
    Ok(())
}

/// History `settled_first`: a worker dies between a job's end and the acknowledgement of its work. The end stands until
/// the work is given to another, who finds it there.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_stands_while_its_work_may_be_delivered_again() -> Result<()> {
    let (mut fleet, jobs) = fleet().await?;
    let dies = [("WINDLASS_FAILPOINTS".to_owned(), "worker.done.written=kill@1".into())];
    fleet.spawn_program("worker-1", "windlass-worker", "worker", &dies).await?;
    fleet.process("worker-1")?.ready().await?;
    let id = submit(&fleet, command(&["true"])).await?;
    fleet.process("worker-1")?.ended().await?;
    let queue = QueueName::default();
    let done = jobs.read(&queue, id).await?.last.context("it has no end")?.record.sequence;
    let work = jobs.left_over(&queue, id).await?.first().context("its work is gone")?.record.sequence;
    assert!(work < done);
    fleet.service("worker-2").await?;
    work_until(&fleet, "delivered again", async || Ok(jobs.at(work).await?.is_none())).await?;
    assert_eq!(starts(&fleet, id), 1, "it ran again: {:?}", fleet.tap.of(id));
    // Then it goes as all others.
    work_until(&fleet, "forgotten", async || is_forgotten(&jobs, &queue, id).await).await?;
    assert_eq!(starts(&fleet, id), 1);
    Ok(())
}
