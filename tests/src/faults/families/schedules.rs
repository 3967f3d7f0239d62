//! Schedulers: each instant of a schedule makes one job, whoever dies.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use windlass_core::audit::JobKey;
use windlass_core::{JobId, ScheduleId};

use super::{Scene, kills};
use crate::faults::ledger::Ledger;
use crate::faults::settle::subjects;
use crate::faults::stage::{QUEUES, Stage};

/// A schedule of every second.
pub(super) struct Ticking {
    id: ScheduleId,
    made_at: Timestamp,
}

/// For the schedulers to have made up for what they missed.
const CATCH_UP: Duration = Duration::from_secs(30);

pub(super) async fn kills(scene: &mut Scene<'_>) -> Result<()> {
    let ticking = Ticking::start(scene.stage).await?;
    sleep(Duration::from_millis(2500)).await;
    kills::of_service(scene, "scheduler").await?;
    ticking.stop(scene.stage, scene.ledger).await
}

// === impl Ticking ===

impl Ticking {
    pub(super) async fn start(stage: &Stage) -> Result<Self> {
        let file = stage.folder().join("schedule.toml");
        let text = "id = \"tick\"\nkind = \"faults.work\"\npayload = { milliseconds = 20 }\nevery = \"1s\"\n";
        std::fs::write(&file, text)?;
        let file = file.to_str().context("the folder's name is no text")?;
        stage.cli(&["schedule", "apply", "-f", file, "-o", "json"]).await?;
        let listed = stage.cli(&["schedule", "list", "-o", "json"]).await?;
        let made_at = listed["schedules"][0]["created_at"].as_str().context("no schedule")?.parse()?;
        Ok(Self { id: "tick".parse()?, made_at })
    }

    /// Once the schedulers have caught up: every instant from the beginning until now is then a job that was promised.
    pub(super) async fn stop(self, stage: &mut Stage, ledger: &Ledger) -> Result<()> {
        stage.heal().await?;
        let promised = Timestamp::now().as_second() + 1;
        let deadline = Instant::now() + CATCH_UP;
        let last = self.job(promised)?.id.to_string();
        while !subjects(&stage.admin).await?.iter().any(|subject| subject.id == last) {
            ensure!(Instant::now() < deadline, "no scheduler fires the instant {promised}");
            sleep(Duration::from_millis(100)).await;
        }
        stage.cli(&["schedule", "delete", "tick", "-o", "json"]).await?;
        let deleted = Timestamp::now().as_second() + 1;
        // What is due just then may still be published.
        for second in self.made_at.as_second() + 1..=deleted + 1 {
            let at = Timestamp::from_second(second)?;
            ledger.scheduled(self.job(second)?, at, second <= promised);
        }
        Ok(())
    }

    fn job(&self, second: i64) -> Result<JobKey> {
        let id = JobId::of_fire(&self.id, Timestamp::from_second(second)?);
        Ok(JobKey { queue: QUEUES[0].parse()?, id })
    }
}
