//! Programs of another version beside these: as in every rolling deployment, and its way back.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::Scene;

/// One process of each service after the other becomes an old one, and then a new one again.
pub(super) async fn together(scene: &mut Scene<'_>) -> Result<()> {
    let folder = scene.stage.old_programs.clone().context("no programs of another version")?;
    for service in ["dispatcher", "worker"] {
        for label in scene.stage.labels(service) {
            old(scene, &folder, &label, service).await?;
            scene.wait(1500, 3000).await;
        }
    }
    // By now all are old.
    scene.wait(1500, 3000).await;
    for service in ["worker", "dispatcher"] {
        for label in scene.stage.labels(service) {
            scene.stage.replace(&label).await?;
            scene.wait(500, 1500).await;
        }
    }
    Ok(())
}

async fn old(scene: &mut Scene<'_>, folder: &std::path::Path, label: &str, service: &str) -> Result<()> {
    let name =
        if service == "worker" { "windlass-fault-worker".to_owned() } else { format!("windlass-{service}") };
    let program: PathBuf = std::path::absolute(folder.join(&name))?;
    if !program.is_file() {
        scene.stage.complaints.push(format!("there is no {}", program.display()));
        return Ok(());
    }
    let program = program.to_str().context("the folder's name is no text")?.to_owned();
    scene.stage.drain(label).await?;
    scene.stage.spawn_program(label, &program, &[]).await?;
    scene.stage.fleet.process(label)?.ready().await
}
