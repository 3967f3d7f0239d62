//! Three nodes that are one broker.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use windlass_testkit::process::{Signal, signal};

use super::Scene;
use crate::faults::stage::{Stage, Whom};

/// For a node to have caught up.
const CATCH_UP: Duration = Duration::from_secs(60);
const STREAMS: [&str; 4] = ["TASKS", "JOBS", "EVENTS", "COMMANDS"];

/// Each node once, as a careful operator does it: the next when the one before has caught up.
pub(super) async fn rolling_restart(scene: &mut Scene<'_>) -> Result<()> {
    for node in 0..scene.stage.cluster()?.len() {
        let hard = scene.seed.percent(60);
        let what = if hard { "kill -9 of a node" } else { "restart of a node" };
        let fault = scene.stage.faults.begin(what, Whom::Broker);
        let server = scene.stage.cluster()?.node(node);
        if hard {
            server.kill9().await?;
        } else {
            server.stop().await?;
        }
        scene.wait(200, 2500).await;
        scene.stage.cluster()?.restart(node).await?;
        current(scene.stage).await?;
        scene.stage.faults.end(fault);
        scene.wait(500, 2000).await;
    }
    Ok(())
}

/// The node that leads the stream of jobs sleeps, until after another was elected.
pub(super) async fn leader_pause(scene: &mut Scene<'_>) -> Result<()> {
    for _ in 0..scene.times(2, 1) {
        let leader = scene.stage.leader().await?;
        let pid = scene.stage.cluster()?.node(leader).pid().context("the leader does not run")?;
        let fault = scene.stage.faults.begin("SIGSTOP of the leader", Whom::Broker);
        signal(pid, Signal::STOP).await?;
        let pause = scene.seed.millis(4000, 12_000);
        sleep(pause).await;
        signal(pid, Signal::CONT).await?;
        current(scene.stage).await?;
        scene.stage.faults.end(fault);
        scene.wait(500, 2000).await;
    }
    Ok(())
}

/// Waits until every stream has a leader, and all its copies are complete.
async fn current(stage: &Stage) -> Result<()> {
    let deadline = Instant::now() + CATCH_UP;
    loop {
        let mut complete = 0;
        for stream in STREAMS {
            let (call, all) = (format!("STREAM.INFO.{stream}"), json!({}));
            let asked = timeout(Duration::from_secs(2), stage.admin.api(&call, &all)).await;
            complete += usize::from(matches!(asked, Ok(Ok(info)) if is_complete(&info["cluster"])));
        }
        if complete == STREAMS.len() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the copies are not complete after {CATCH_UP:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

fn is_complete(cluster: &Value) -> bool {
    let replicas = cluster["replicas"].as_array().map_or(&[][..], Vec::as_slice);
    cluster["leader"].is_string()
        && replicas.len() == 2
        && replicas.iter().all(|r| r["current"] == true && r["offline"] != true)
}
