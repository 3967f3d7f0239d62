//! The broker goes away under a running job, and comes back.

use std::time::Duration;

use anyhow::{Context as _, Result};
use windlass::JobState;
use windlass_core::Transition;
use windlass_testkit::Fleet;

use crate::support::{gated, open, submit};

/// Longer than one conditional write is tried while the broker answers.
const AWAY: Duration = Duration::from_secs(28);

/// What ends while the broker is away is settled when it is back, by the worker that ran it, as the same attempt.
#[tokio::test(flavor = "multi_thread")]
async fn what_ends_while_the_broker_is_away_is_settled_later() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    let (gate, job) = gated(&fleet, "gate")?;
    let id = submit(&fleet, job).await?;
    fleet.tap.heard(id, Transition::Started).await?;
    fleet.broker.kill9().await?;
    open(&gate, "open\n").await?;
    // The time that passes is the fault.
    tokio::time::sleep(AWAY).await;
    fleet.broker.restart().await?;
    let ended = fleet.ended(id).await.with_context(|| {
        std::fs::read_to_string(fleet.folder.path().join("worker.log")).unwrap_or_default()
    })?;
    assert_eq!(ended.state, JobState::Succeeded);
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
