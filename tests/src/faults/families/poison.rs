//! Jobs that break their worker, and messages that are no tasks.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use windlass::Client;
use windlass_broker::Broker;
use windlass_core::audit::JobKey;
use windlass_core::{JobId, JobState};
use windlass_testkit::{Servers as _, broker};

use super::Scene;
use crate::faults::jobs::Work;
use crate::faults::load::{Order, accepted};
use crate::faults::settle::subjects;
use crate::faults::stage::QUEUES;

/// Each kills its process.
const DEADLY: [&str; 4] = ["faults.abort", "faults.exit", "faults.overflow", "faults.exhaust"];
/// A job that lost two workers runs alone, and may lose three more.
const DEATHS_A_JOB: usize = 5;
/// For all of them to be dead.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);
/// How long a supervisor waits before it starts a service again.
const RESTART_DELAY: Duration = Duration::from_millis(200);

/// They die for good after a bounded number of workers; their neighbours all succeed.
pub(super) async fn jobs(scene: &mut Scene<'_>) -> Result<()> {
    let mut poisons = Vec::new();
    for kind in DEADLY.into_iter().take(usize::try_from(scene.times(4, 1))?) {
        poisons.push(submit(scene, kind, JobState::Dead).await?);
    }
    let deadline = Instant::now() + PATIENCE;
    let mut deaths = 0;
    let mut seen_at = jiff::Timestamp::now();
    loop {
        let looking_at = jiff::Timestamp::now();
        for label in scene.stage.labels("worker") {
            if !scene.stage.runs(&label)? {
                let whom = scene.stage.whom(&label)?;
                let fault = scene.stage.faults.begun("death by a job", whom, seen_at);
                scene.stage.faults.end(fault);
                deaths += 1;
                sleep(RESTART_DELAY).await;
                scene.stage.spawn(&label, &[]).await?;
            }
        }
        seen_at = looking_at;
        let ended = subjects(&scene.stage.admin).await?;
        let is_over = |job: &JobKey| {
            ended
                .iter()
                .any(|s| s.record == "done" && s.id == job.id.to_string() && s.queue == job.queue.as_str())
        };
        if poisons.iter().all(is_over) {
            break;
        }
        if Instant::now() >= deadline {
            scene.stage.complaints.push(format!("poison is not dead after {PATIENCE:?} and {deaths} deaths"));
            break;
        }
        sleep(POLL).await;
    }
    let bound = DEATHS_A_JOB * poisons.len();
    if deaths > bound {
        scene
            .stage
            .complaints
            .push(format!("{deaths} workers died of {} jobs: at most {bound}", poisons.len()));
    }
    Ok(())
}

type Headers<'a> = &'a [(&'a str, &'a str)];

/// Panics, which are failures, and messages that are no tasks, which are rejected.
pub(super) async fn messages(scene: &mut Scene<'_>) -> Result<()> {
    let client = broker::Client::connect(scene.stage.fleet.broker.options("publisher")).await?;
    let bad: [(Headers<'_>, &[u8]); 5] = [
        (&[], b"\xff\xff\xff\xff"),
        (&[], b""),
        (&[("Windlass-Kind", "not a kind")], b"{}"),
        (&[("Windlass-Kind", "faults.work"), ("Windlass-Id", "no-id")], b"{}"),
        (&[("Windlass-Kind", "faults.work"), ("Windlass-Priority", "highest of all")], b"{}"),
    ];
    for _ in 0..scene.times(4, 1) {
        submit(scene, "faults.panic", JobState::Dead).await?;
        for (headers, body) in bad {
            client.store("windlass.task.default", headers, body).await?;
            scene.malformed += 1;
        }
        scene.wait(200, 1500).await;
    }
    Ok(())
}

async fn submit(scene: &mut Scene<'_>, kind: &'static str, expected: JobState) -> Result<JobKey> {
    let client = Client::new(Broker::connect(scene.stage.fleet.broker.options("publisher")).await?);
    let id = JobId::from_parts(jiff::Timestamp::now(), scene.seed.bytes());
    let order = Order::new(QUEUES[0], id, kind, Work { milliseconds: 50, ..Work::default() }, Some(expected));
    let policy = windlass_core::RetryPolicy::default().with_max_attempts(1)?;
    let order = order.with(None, Some(policy));
    scene.ledger.ordered(&order);
    let job = order.job.clone();
    accepted(order, client, scene.ledger.clone(), CancellationToken::new()).await;
    Ok(job)
}
