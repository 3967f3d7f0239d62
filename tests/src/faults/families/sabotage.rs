//! Defects made by hand, so that it is seen that a round finds them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use prost::Message as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use windlass::Client;
use windlass_broker::Broker;
use windlass_core::audit::JobKey;
use windlass_core::{Event, JobId, JobState, Outcome, Transition};
use windlass_proto::v1;
use windlass_testkit::Servers as _;

use super::Scene;
use crate::faults::jobs::Work;
use crate::faults::load::{Order, accepted};
use crate::faults::settle::subjects;
use crate::faults::stage::QUEUES;

/// Deletes a job that waits, tells a second end of one that has ended, and the end of one that never was.
pub(super) async fn all(scene: &mut Scene<'_>) -> Result<()> {
    let waiting = submit(scene, Some(Duration::from_hours(1))).await?;
    let later = found(scene, &waiting, "later").await?;
    scene.stage.admin.api("STREAM.PURGE.JOBS", &json!({ "filter": later })).await?;

    let ended = submit(scene, None).await?;
    found(scene, &ended, "done").await?;
    tell(scene, &ended).await?;
    let never = JobKey { id: JobId::from_parts(Timestamp::now(), scene.seed.bytes()), ..ended };
    tell(scene, &never).await
}

async fn submit(scene: &mut Scene<'_>, delay: Option<Duration>) -> Result<JobKey> {
    let client = Client::new(Broker::connect(scene.stage.fleet.broker.options("publisher")).await?);
    let id = JobId::from_parts(Timestamp::now(), scene.seed.bytes());
    let order = Order::new(QUEUES[0], id, "faults.work", Work::default(), Some(JobState::Succeeded));
    let order = order.with(delay, None);
    let job = order.job.clone();
    accepted(order, client, scene.ledger.clone(), CancellationToken::new()).await;
    Ok(job)
}

/// The subject of a job's record, once it is there.
async fn found(scene: &Scene<'_>, job: &JobKey, record: &str) -> Result<String> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while tokio::time::Instant::now() < deadline {
        let all = subjects(&scene.stage.admin).await?;
        if let Some(found) = all.into_iter().find(|s| s.record == record && s.id == job.id.to_string()) {
            return Ok(found.text);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("{} has no record `{record}`", job.id)
}

/// A success of a worker that nobody knows.
async fn tell(scene: &Scene<'_>, job: &JobKey) -> Result<()> {
    let kind = "faults.work".parse()?;
    let mut event =
        Event::new(job.queue.clone(), job.id, Some(kind), Transition::Succeeded, 1, Timestamp::now());
    "nobody".clone_into(&mut event.worker);
    event.outcome = Some(Outcome::Succeeded);
    let batch = v1::EventBatch { events: vec![v1::Event::from(event)], ..v1::EventBatch::default() };
    let subject = format!("windlass.event.{}.worker.default", job.queue);
    let stored = scene.stage.admin.store(&subject, &[], batch.encode_to_vec()).await?;
    stored.get("seq").context("the event was not stored").map(|_| ())
}
