//! SIGKILL of the only broker.

use anyhow::Result;

use super::Scene;

pub(super) async fn kills(scene: &mut Scene<'_>) -> Result<()> {
    for _ in 0..scene.times(4, 2) {
        let outage = scene.seed.millis(0, 2500);
        scene.stage.kill_broker(outage).await?;
        scene.wait(1500, 4000).await;
    }
    Ok(())
}
