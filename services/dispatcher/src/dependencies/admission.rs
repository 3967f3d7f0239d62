//! What a task waits for, when it is admitted.
//!
//! A job is made only once all that it waits for is known, so that no job waits for what will never be. A task whose
//! dependency is not known is delivered again for a while, as the two may have been published in any order; then it is
//! refused. Tasks that wait for each other end there too: none of them is ever made.

use tokio::time::Instant;
use windlass_broker::delivery::Delivered;
use windlass_broker::failpoint::{Point, hit};
use windlass_broker::jobs::{Jobs, Seen, SeenRecord};
use windlass_broker::names::Place;
use windlass_core::dependency::{Effect, FIELD, Readiness, Standing, readiness};
use windlass_core::{QueueName, Task};

use super::patience::{MOST, PATIENCE, Verdict};
use super::{settle, standings};
use crate::reject::Rejection;
use crate::shared::Shared;

/// What becomes of a task with dependencies.
pub(crate) enum Gate {
    /// It waits for none any more.
    Open,
    /// It is to be held: its edges are marked.
    Held(Held),
    /// Its job exists.
    Exists(Box<Seen>),
    /// Nothing can be done now; it is delivered again.
    Shut,
    /// It is no valid task.
    Refused(Box<Rejection>),
}

/// What is known of the dependencies of a job that is held.
pub(crate) struct Held {
    /// In the order of the task.
    pub(crate) known: Vec<Standing>,
    /// How many it waits for.
    pub(crate) open: usize,
}

/// Looks at what a task waits for, and marks it.
pub(crate) async fn gate(
    shared: &Shared,
    delivered: &Delivered,
    queue: &QueueName,
    task: &Task<bytes::Bytes>,
) -> Gate {
    let places: Vec<Place> = task.after.iter().map(|one| (one.queue_or(queue).clone(), one.job_id)).collect();
    let pool = shared.layout.pool_of(queue);
    if let Some((other, id)) = places.iter().find(|(other, _)| shared.layout.pool_of(other) != pool) {
        let reason = format!(
            "names the job {id} of the queue {other}, which the pool {} serves: expected jobs of the pool {pool}",
            shared.layout.pool_of(other)
        );
        return refused(queue, task, reason);
    }
    match Box::pin(look(shared, delivered, queue, task, places)).await {
        Ok(gate) => gate,
        Err(error) => {
            let error = anyhow::Error::new(error);
            tracing::warn!(job_id = %task.id, error = format!("{error:#}"), "what a job waits for could not be looked at; its task is delivered again");
            Gate::Shut
        }
    }
}

async fn look(
    shared: &Shared,
    delivered: &Delivered,
    queue: &QueueName,
    task: &Task<bytes::Bytes>,
    places: Vec<Place>,
) -> Result<Gate, windlass_broker::jobs::Error> {
    let jobs = shared.jobs(queue);
    // Once is enough for marks.
    if (delivered.count > 1 || delivered.suspect)
        && let Some(exists) = existing(&jobs, queue, task).await?
    {
        return Ok(exists);
    }
    let found = standings(&jobs, places.clone()).await?;
    if let Some(unknown) = found.iter().position(Option::is_none) {
        return match existing(&jobs, queue, task).await? {
            Some(exists) => Ok(exists),
            None => Ok(unknown_yet(shared, delivered, queue, task, &places[unknown]).await),
        };
    }
    if delivered.count > 1 {
        shared.patience.forget(task.id);
    }
    let known: Vec<Standing> = found.into_iter().flatten().collect();
    let edges = || task.after.iter().map(|one| one.on_failure).zip(known.iter().copied());
    if readiness(edges()) == Readiness::Starts {
        return Ok(Gate::Open);
    }
    let open: Vec<Place> = edges()
        .zip(&places)
        .filter(|((policy, standing), _)| policy.effect(*standing) != Effect::Satisfied)
        .map(|(_, place)| place.clone())
        .collect();
    for (other, _) in &open {
        // In this order: what ends from here on is heard of, and what has ended is seen once the job is made.
        if let Err(error) = shared.listening.ensure(shared, other).await {
            tracing::warn!(queue = %other, %error, "the ends of a queue's jobs cannot be followed; trying again");
            return Ok(Gate::Shut);
        }
    }
    if !shared.edge_marks.mark(&shared.layout.pool_of(queue), (queue, task.id), &open).await {
        return Ok(Gate::Shut);
    }
    hit(Point::EdgesMarked).await;
    Ok(Gate::Held(Held { known, open: open.len() }))
}

async fn existing(
    jobs: &Jobs,
    queue: &QueueName,
    task: &Task<bytes::Bytes>,
) -> Result<Option<Gate>, windlass_broker::jobs::Error> {
    let seen = jobs.read(queue, task.id).await?;
    Ok(seen.last.is_some().then(|| Gate::Exists(Box::new(seen))))
}

/// One that may come soon; or has not come for long enough.
async fn unknown_yet(
    shared: &Shared,
    delivered: &Delivered,
    queue: &QueueName,
    task: &Task<bytes::Bytes>,
    (other, id): &Place,
) -> Gate {
    let age = shared.broker.now().duration_since(delivered.published_at).unsigned_abs();
    let reason = match shared.patience.wait(task.id, delivered.count, age, Instant::now()) {
        Verdict::Again(delay) => {
            tracing::debug!(job_id = %task.id, on = %id, "a job waits for one that is not known yet");
            let _ = delivered.handle().nak(Some(delay)).await;
            return Gate::Shut;
        }
        Verdict::TooLate => format!(
            "expected one that exists, or is published within {} s, and has not ended longer ago than ends are remembered",
            PATIENCE.as_secs()
        ),
        Verdict::TooMany => format!(
            "{MOST} tasks wait for such ones already: expected the job that is waited for to be published first"
        ),
    };
    refused(queue, task, format!("names the job {id} of the queue {other}, which is not known: {reason}"))
}

fn refused(queue: &QueueName, task: &Task<bytes::Bytes>, reason: String) -> Gate {
    Gate::Refused(Box::new(Rejection::invalid(FIELD, reason).of_queue(queue).of_task(task)))
}

/// A task comes again whose job exists: true once all that follows its making is done.
pub(crate) async fn known_again(shared: &Shared, last: &SeenRecord) -> bool {
    shared.events.record(last.accepted()).await.is_ok()
        && settle(shared, &last.address.queue, last.address.job_id, None).await
}
