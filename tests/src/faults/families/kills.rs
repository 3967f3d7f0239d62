//! SIGKILL of services at any time.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::Scene;
use crate::faults::ledger::Ledger;
use crate::faults::stage::Stage;

/// For the monitor to have seen everything.
const CATCH_UP: Duration = Duration::from_secs(30);

/// One after the other, now and then all of them at once.
pub(super) async fn of_service(scene: &mut Scene<'_>, service: &str) -> Result<()> {
    for _ in 0..scene.times(5, 2) {
        let all = scene.stage.labels(service);
        let victims = if scene.seed.percent(20) { all } else { vec![scene.pick(&all)?] };
        for victim in &victims {
            scene.stage.kill(victim).await?;
        }
        // Some are back before their leases end, some after.
        scene.wait(100, 4000).await;
        for victim in &victims {
            scene.stage.spawn(victim, &[]).await?;
        }
        for victim in &victims {
            scene.stage.fleet.process(victim)?.ready().await?;
        }
        scene.wait(300, 1500).await;
    }
    Ok(())
}

/// The monitor knows every job that was accepted, each with its end, and missed no event.
pub(super) async fn monitor_agrees(stage: &mut Stage, ledger: &Ledger) -> Result<Vec<String>> {
    let monitor = stage.fleet.process("monitor-1")?.http().await?;
    let wanted: BTreeSet<_> = ledger.acknowledged().into_iter().map(|job| job.id.to_string()).collect();
    let deadline = Instant::now() + CATCH_UP;
    let mut complaints;
    loop {
        complaints = Vec::new();
        let status = get(&format!("{monitor}/api/v1/status")).await?;
        if status["gaps"].as_array().is_none_or(|gaps| !gaps.is_empty()) {
            complaints.push(format!("the monitor missed events: {status}"));
        }
        let ended = ended(&monitor).await?;
        let missing = wanted.difference(&ended).count();
        if missing > 0 {
            complaints.push(format!("the monitor does not know the ends of {missing} jobs"));
        }
        if complaints.is_empty() || Instant::now() >= deadline {
            return Ok(complaints);
        }
        sleep(Duration::from_millis(300)).await;
    }
}

/// The jobs that have ended, as the monitor tells them.
async fn ended(monitor: &str) -> Result<BTreeSet<String>> {
    let mut ended = BTreeSet::new();
    let mut cursor = String::new();
    loop {
        let page = get(&format!("{monitor}/api/v1/jobs?limit=500{cursor}")).await?;
        for job in page["jobs"].as_array().context("no jobs")? {
            if job["ended_at"].is_string() {
                ended.extend(job["id"].as_str().map(str::to_owned));
            }
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(ended),
        }
    }
}

async fn get(url: &str) -> Result<Value> {
    Ok(reqwest::get(url).await?.error_for_status()?.json().await?)
}
