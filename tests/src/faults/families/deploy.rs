//! Rolling deployments under load: a new process comes, the old one is told to stop.

use anyhow::Result;

use super::Scene;

/// How often every service is replaced.
const DEPLOYMENTS: u64 = 20;

pub(super) async fn rolling(scene: &mut Scene<'_>) -> Result<()> {
    let services = ["worker", "dispatcher", "worker", "scheduler", "worker", "monitor"];
    for deployment in 0..scene.times(DEPLOYMENTS, 3) {
        let service = services[usize::try_from(deployment)? % services.len()];
        for label in scene.stage.labels(service) {
            // Told to stop, it must end well within its time; what it cannot end it hands back.
            scene.stage.replace(&label).await?;
        }
        scene.wait(0, 300).await;
    }
    Ok(())
}
