//! A backlog of many keys, of each of which one job may run at a time, while those who run and release them are killed.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass::Client;
use windlass_broker::Broker;
use windlass_core::{JobId, JobState};
use windlass_testkit::Servers as _;

use super::Scene;
use crate::faults::jobs::Work;
use crate::faults::ledger::Ledger;
use crate::faults::load::{Order, accepted};
use crate::faults::stage::{LIMITED, Stage};

/// Submissions that wait for their answers.
const IN_FLIGHT: usize = 500;
/// For a job more to end: longer than a lease, a takeover, and the start of a process that was killed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Until all of them have ended.
pub(super) async fn of_keys(scene: &mut Scene<'_>) -> Result<()> {
    let jobs = scene.options.backlog.jobs;
    let submitting = tokio::spawn(submit(orders(scene), client(scene).await?, scene.ledger.clone()));
    let (mut ended, mut since) = (0, Instant::now());
    loop {
        let service = if scene.seed.percent(50) { "worker" } else { "dispatcher" };
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
        scene.wait(500, 3000).await;
        let now = ends(scene.stage).await?;
        if now >= jobs {
            return submitting.await.context("the backlog was not submitted");
        }
        if now > ended {
            (ended, since) = (now, Instant::now());
        }
        anyhow::ensure!(since.elapsed() < PATIENCE, "for {PATIENCE:?} no job has ended, and {ended} have");
    }
}

async fn client(scene: &Scene<'_>) -> Result<Client> {
    Ok(Client::new(Broker::connect(scene.stage.fleet.broker.options("publisher")).await?))
}

fn orders(scene: &mut Scene<'_>) -> Vec<Order> {
    let backlog = scene.options.backlog;
    let mut order = |number: u64| {
        let id = JobId::from_parts(jiff::Timestamp::now(), scene.seed.bytes());
        let work = Work { milliseconds: scene.seed.below(20), ..Work::default() };
        let order = Order::new(LIMITED, id, "faults.work", work, Some(JobState::Succeeded));
        Order { key: Some(format!("key {} of the backlog", number % backlog.keys)), ..order }
    };
    (0..backlog.jobs).map(&mut order).collect()
}

async fn submit(orders: Vec<Order>, client: Client, ledger: Ledger) {
    let mut in_flight = JoinSet::new();
    for order in orders {
        if in_flight.len() >= IN_FLIGHT {
            in_flight.join_next().await;
        }
        in_flight.spawn(accepted(order, client.clone(), ledger.clone(), CancellationToken::new()));
    }
    while in_flight.join_next().await.is_some() {}
}

/// Jobs of the queue that have ended.
async fn ends(stage: &Stage) -> Result<u64> {
    // Beyond all of them: the answer has their number, and none of their names.
    let request = json!({ "subjects_filter": format!("windlass.job.{LIMITED}.done.>"), "offset": i32::MAX });
    let info = stage.admin.api("STREAM.INFO.JOBS", &request).await?;
    Ok(info["total"].as_u64().unwrap_or(0))
}
