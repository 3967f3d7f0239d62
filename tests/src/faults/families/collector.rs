//! Traces that nobody takes.

use std::time::Duration;

use anyhow::Result;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::Scene;
use crate::faults::stage::Whom;

/// First nobody listens; then somebody does, and never answers. Services must work and stop as ever.
pub(super) async fn dead(scene: &mut Scene<'_>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    drop(listener);
    with_collector(scene, "a collector that refuses", port).await?;
    let mute = TcpListener::bind("127.0.0.1:0").await?;
    let port = mute.local_addr()?.port();
    let holding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = mute.accept().await {
            held.push(connection);
        }
    });
    with_collector(scene, "a collector that does not answer", port).await?;
    holding.abort();
    Ok(())
}

async fn with_collector(scene: &mut Scene<'_>, what: &str, port: u16) -> Result<()> {
    let fault = scene.stage.faults.begin(what, Whom::Process("collector".to_owned(), 0));
    scene.stage.fleet.set_env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}"));
    for service in ["dispatcher", "worker"] {
        for label in scene.stage.labels(service) {
            scene.stage.replace(&label).await?;
        }
    }
    sleep(Duration::from_secs(scene.times(5, 2))).await;
    // It stops well, too: this time with spans that wait.
    scene.stage.replace("worker-1").await?;
    scene.stage.faults.end(fault);
    Ok(())
}
