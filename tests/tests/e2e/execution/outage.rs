//! The broker goes away under a running job, and comes back.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Semaphore;
use windlass::{Failure, Handlers, JobState, State};
use windlass_core::Transition;

use super::{Alpha, fleet, host};

/// Longer than one conditional write is tried while the broker answers.
const AWAY: Duration = Duration::from_secs(28);

/// What ends while the broker is away is settled when it is back, by the worker that ran it, as the same attempt.
#[tokio::test(flavor = "multi_thread")]
async fn what_ends_while_the_broker_is_away_is_settled_later() -> Result<()> {
    async fn wait(_: Alpha, State(gate): State<Arc<Semaphore>>) -> Result<u8, Failure> {
        gate.acquire().await?.forget();
        Ok(7)
    }
    let mut fleet = fleet().await?;
    let gate = Arc::new(Semaphore::new(0));
    let _worker = host(&fleet, Handlers::with_state(Arc::clone(&gate)).register(wait)?).await?;
    let id = fleet.client.submit(&Alpha::new("x")).await?.id;
    fleet.tap.heard(id, Transition::Started).await?;
    fleet.broker.kill9().await?;
    gate.add_permits(1);
    // The time that passes is the fault.
    tokio::time::sleep(AWAY).await;
    fleet.broker.restart().await?;
    assert_eq!(fleet.ended(id).await?.state, JobState::Succeeded);
    let client = fleet.broker.client("admin").await?;
    loop {
        let events = windlass_testkit::stored_events(&client).await?;
        let of_job = || events.iter().filter(|e| e.job_id == id);
        if let Some(end) = of_job().find(|e| e.transition == Transition::Succeeded) {
            assert_eq!(end.attempt, 1);
            assert!(!of_job().any(|e| e.transition == Transition::Crashed), "it was taken for crashed");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
