//! Children: jobs that a handler of another job submitted, and that are cancelled with it.
//!
//! A child is marked in the stream of its parent before it is made. After it was made, its parent is looked at: so a
//! child either stands when its parent's markers are read, or finds its parent cancelled.

use tokio::time::Instant;
use windlass_broker::commands::{self, Command, Verb};
use windlass_broker::jobs::{ChildMarker, Jobs};
use windlass_core::task::Parent;
use windlass_core::{JobId, JobState, QueueName};

use crate::cancel;
use crate::order::{Before, Carried, Order};
use crate::shared::Shared;

/// For the cancellation of a child that finds its parent cancelled.
const CANCEL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);
/// In the history of a child that is cancelled with its parent.
const REQUESTED_BY: &str = "its parent's cancellation";

/// Before a child is made; true once it is marked.
pub(crate) async fn mark(shared: &Shared, parent: &Parent, queue: &QueueName, job_id: JobId) -> bool {
    let of = (parent.queue.clone(), parent.job_id);
    shared.child_marks.mark(shared.layout.pool_of(&parent.queue), of, (queue, job_id)).await
}

/// After a child was made; true unless its parent was cancelled and it could not be.
pub(crate) async fn follow(shared: &Shared, parent: &Parent, queue: &QueueName, job_id: JobId) -> bool {
    let jobs = shared.jobs(&parent.queue);
    match shared.parents.is_cancelled(&jobs, &parent.queue, parent.job_id).await {
        None => false,
        Some(false) => true,
        Some(true) => {
            let order = Order {
                queue: queue.clone(),
                job_id,
                reason: words(&parent.queue, parent.job_id),
                requested_by: REQUESTED_BY.to_owned(),
                dead_at: None,
                ordered_at: shared.broker.now(),
                delivered: Before::Never,
                trace: None,
                deadline: Instant::now() + CANCEL_TIMEOUT,
            };
            // Boxed: a child may have children.
            matches!(Box::pin(cancel::cancel(shared, &order)).await, Carried::Out)
        }
    }
}

/// Commands the cancellation of all children of a job that was cancelled; true once all of it is stored.
pub(crate) async fn cancel_all(shared: &Shared, queue: &QueueName, job_id: JobId) -> bool {
    let jobs = shared.jobs(queue);
    let mut from = 0;
    loop {
        let marker = match jobs.next_child_of(queue, job_id, from).await {
            Ok(Some(marker)) => marker,
            Ok(None) => return true,
            Err(error) => {
                tracing::warn!(%job_id, %error, "a job's children could not be read");
                return false;
            }
        };
        from = marker.sequence + 1;
        if !cancel_children(shared, &jobs, &marker).await {
            return false;
        }
    }
}

/// A marker whose parent has ended has no further use; if the parent was cancelled, its child is too. True if it is gone.
pub(crate) async fn tidy(shared: &Shared, jobs: &Jobs, marker: &ChildMarker) -> bool {
    let (parent_queue, parent_id) = &marker.parent;
    match jobs.read(parent_queue, *parent_id).await {
        Ok(seen) if seen.done.as_ref().is_some_and(|done| done.state == JobState::Cancelled) => {
            cancel_children(shared, jobs, marker).await
        }
        Ok(seen) if seen.view.done || seen.view.last.is_none() => jobs.delete(marker.sequence).await.is_ok(),
        Ok(_) | Err(_) => false,
    }
}

async fn cancel_children(shared: &Shared, jobs: &Jobs, marker: &ChildMarker) -> bool {
    let (parent_queue, parent_id) = &marker.parent;
    let words = words(parent_queue, *parent_id);
    for (queue, job_id) in &marker.children {
        let command = Command {
            queue,
            verb: Verb::Cancel,
            job_id: *job_id,
            reason: &words,
            requested_by: REQUESTED_BY,
            dead_at: None,
        };
        if let Err(error) = commands::publish(&shared.broker, command).await {
            tracing::warn!(%job_id, %error, "the cancellation of a child could not be commanded");
            return false;
        }
    }
    if let Err(error) = jobs.delete(marker.sequence).await {
        tracing::debug!(%error, "a marker was not removed; its children are told twice, which does no harm");
    }
    true
}

fn words(queue: &QueueName, job_id: JobId) -> String {
    format!("its parent, the job {job_id} of the queue {queue}, was cancelled")
}
