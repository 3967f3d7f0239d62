//! Leases of handlers that give nothing else a turn.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Semaphore;
use windlass::worker::Options;
use windlass::{Failure, Handlers, JobState, State};
use windlass_core::Transition;
use windlass_testkit::process::Signal;

use super::{Alpha, Beta, fleet, host_with};

/// A handler that blocks the only thread of all handlers for longer than its lease keeps it.
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_blocks_its_thread_keeps_its_lease() -> Result<()> {
    async fn block(job: Alpha) -> Result<(), Failure> {
        // The time that passes is the fault.
        std::thread::sleep(Duration::from_millis(job.text.parse()?));
        Ok(())
    }
    let fleet = fleet().await?;
    let options = Options { handler_threads: Some(1), ..Options::default() };
    let _worker = host_with(&fleet, Handlers::new().register(block)?, options).await?;
    let twice = fleet.layout.ack_wait * 5 / 2;
    let id = fleet.client.submit(&Alpha::new(&twice.as_millis().to_string())).await?.id;
    assert_eq!(fleet.ended(id).await?.state, JobState::Succeeded);
    assert_eq!(fleet.tap.heard(id, Transition::Succeeded).await?.attempt, 1);
    let moves: Vec<_> = fleet.tap.of(id).into_iter().map(|(transition, _)| transition).collect();
    assert_eq!(moves, [Transition::Accepted, Transition::Started, Transition::Succeeded]);
    Ok(())
}

/// A worker that slept past its lease is given its own job again: it goes on with the attempt that runs, under a claim of
/// its own, and nobody is told of a crash.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_keeps_what_it_is_given_again() -> Result<()> {
    let mut fleet = windlass_testkit::Fleet::running().await?;
    let (gate, job) = crate::support::gated(&fleet, "gate")?;
    let id = crate::support::submit(&fleet, job).await?;
    fleet.tap.heard(id, Transition::Started).await?;
    fleet.process("worker")?.signal(Signal::STOP).await?;
    let client = fleet.broker.client("admin").await?;
    let deadline = tokio::time::Instant::now() + windlass_testkit::PATIENCE;
    // The broker gives it to the request that the worker left there.
    while client.api("CONSUMER.INFO.JOBS.worker-default", &serde_json::json!({})).await?["num_redelivered"]
        != 1
    {
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "it is not delivered again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fleet.process("worker")?.signal(Signal::CONT).await?;
    let jobs = windlass_broker::jobs::Jobs::new(&fleet.operator, windlass_core::PoolName::default());
    loop {
        let last = jobs.read(&windlass_core::QueueName::default(), id).await?.last;
        if last.is_some_and(|last| matches!(last.record.kind, windlass_core::protocol::Kind::Claim { .. })) {
            break;
        }
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "it is not claimed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    crate::support::open(&gate, "awake\n").await?;
    assert_eq!(fleet.result(id).await?["stdout"], "awake\n");
    assert_eq!(fleet.tap.heard(id, Transition::Succeeded).await?.attempt, 1);
    let moves: Vec<_> = fleet.tap.of(id).into_iter().map(|(transition, _)| transition).collect();
    assert_eq!(moves, [Transition::Accepted, Transition::Started, Transition::Succeeded]);
    Ok(())
}

/// A handler that ignores its cancellation: its attempt is counted as timed out, and its slot is not used before it ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_handler_keeps_its_slot() -> Result<()> {
    async fn stuck(_: Alpha, State(gate): State<Arc<Semaphore>>) -> Result<(), Failure> {
        // Does not await: nothing can abort it.
        while gate.try_acquire().is_err() {
            std::thread::yield_now();
        }
        Ok(())
    }
    async fn quick(_: Beta) -> Result<(), Failure> {
        Ok(())
    }
    let fleet = fleet().await?;
    let gate = Arc::new(Semaphore::new(0));
    let options = Options {
        slots: 1,
        cancel_grace: Duration::from_millis(50),
        handler_threads: Some(2),
        ..Options::default()
    };
    let handlers = Handlers::with_state(Arc::clone(&gate)).register(stuck)?.register(quick)?;
    let _worker = host_with(&fleet, handlers, options).await?;
    let first = fleet
        .client
        .task(&Alpha::new("x"))
        .max_attempts(1)
        .attempt_timeout(Duration::from_millis(200))
        .submit()
        .await?
        .id;
    assert_eq!(fleet.ended(first).await?.error.map(|e| e.code).as_deref(), Some("timeout"));
    let second = fleet.client.submit(&Beta::new("y")).await?.id;
    fleet.tap.heard(second, Transition::Accepted).await?;
    // The workers' own word: one handler is stuck. It is said every few seconds.
    let control = fleet.broker.client("admin").await?;
    loop {
        let workers = control.messages("KV_windlass_workers").await?;
        let infos = workers
            .into_iter()
            .filter_map(|(_, body)| <windlass_proto::v1::WorkerInfo as prost::Message>::decode(body).ok());
        if infos.map(|info| info.stuck).max() == Some(1) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let started = |id| fleet.tap.of(id).contains(&(Transition::Started, 1));
    assert!(!started(second), "its slot was used");
    gate.add_permits(1);
    assert_eq!(fleet.ended(second).await?.state, JobState::Succeeded);
    Ok(())
}
