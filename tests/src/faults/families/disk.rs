//! No space left for the broker.

use anyhow::{Context as _, Result};

use super::Scene;
use crate::faults::stage::Whom;

/// The broker does not answer what it cannot store, and needs a restart when there is room again.
pub(super) async fn full(scene: &mut Scene<'_>) -> Result<()> {
    for _ in 0..scene.times(2, 1) {
        let fault = scene.stage.faults.begin("disk full", Whom::Broker);
        disk(scene)?.fill()?;
        scene.wait(2000, 5000).await;
        disk(scene)?.free()?;
        let hard = scene.seed.percent(50);
        let broker = scene.stage.one()?;
        if hard {
            broker.kill9().await?;
        } else {
            broker.stop().await?;
        }
        broker.restart().await?;
        scene.stage.faults.end(fault);
        scene.wait(2000, 4000).await;
    }
    Ok(())
}

fn disk<'a>(scene: &'a Scene<'_>) -> Result<&'a windlass_testkit::SmallDisk> {
    scene.stage.disk.as_ref().context("the broker's disk is not a small one")
}
