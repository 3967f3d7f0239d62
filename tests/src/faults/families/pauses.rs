//! SIGSTOP: a process that sleeps past its leases, wakes, and does not know.

use anyhow::Result;

use super::Scene;
use crate::faults::stage::LEASE;

pub(super) async fn of_workers(scene: &mut Scene<'_>) -> Result<()> {
    let lease = u64::try_from(LEASE.as_millis())?;
    for _ in 0..scene.times(4, 2) {
        let all = scene.stage.labels("worker");
        let victim = scene.pick(&all)?;
        let past = scene.seed.millis(lease + 200, lease * 2 + 1000);
        scene.stage.pause(&victim, past).await?;
        scene.wait(500, 2000).await;
    }
    Ok(())
}
