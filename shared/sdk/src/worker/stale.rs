//! A message whose job this worker does not hold, or not any more.

use windlass_broker::dead;
use windlass_broker::jobs::{Address, Seen};
use windlass_core::flow::Follows;
use windlass_core::protocol::{self, Stale};
use windlass_core::{JobState, Transition};
use windlass_proto::Done;

use super::held::{Held, WRITE_TIMEOUT};
use super::settle::give_back;
use super::shared::Shared;

/// After the broker refused our token: finds out what that means for the message.
pub(super) async fn refused(shared: &Shared, held: &Held, tried: &'static str) {
    let Address { queue, job_id, .. } = &held.address;
    match shared.jobs.read(queue, *job_id).await {
        Ok(seen) => {
            let stale = protocol::refused(held.work, &seen.view);
            not_mine(shared, held, &seen, stale, tried).await;
        }
        // Unacknowledged: it is delivered again.
        Err(error) => tracing::warn!(%job_id, %error, "a job could not be read"),
    }
}

/// Counts and says it; then acknowledges, if nobody needs the message.
pub(super) async fn not_mine(shared: &Shared, held: &Held, seen: &Seen, stale: Stale, tried: &'static str) {
    let queue = held.address.queue.to_string();
    metrics::counter!("windlass_refusals_total", "queue" => queue, "tried" => tried).increment(1);
    tracing::info!(job_id = %held.address.job_id, token = held.token(), tried, ?stale, "not the holder of this job");
    let mut event = held.teller().event(Transition::Refused, held.attempt_number(), shared.broker.now());
    event.worker.clone_from(&shared.options.id);
    event.note = format!("tried to {tried} with token {}, which is not valid any more", held.token());
    let said = shared.events.record(event).await.is_ok();
    if stale == Stale::Acknowledge && said && again(shared, held, seen).await {
        let _ = held.handle.ack().await;
    }
}

/// Says again what the job's records tell: whoever wrote them may have died before saying so. True once it is stored.
async fn again(shared: &Shared, held: &Held, seen: &Seen) -> bool {
    if let Some(done @ Done { state: JobState::Dead, .. }) = &seen.done
        && !bury(shared, held, done).await
    {
        return false;
    }
    let follows = seen.done.as_ref().map_or(Follows::Another, |done| Follows::End(done.state));
    if !give_back(shared, held, follows).await {
        return false;
    }
    let cancelled = seen.done.as_ref().is_some_and(|done| done.state == JobState::Cancelled);
    if cancelled && !tell_children(shared, held).await {
        return false;
    }
    shared.events.record_all(seen.past()).await.is_ok()
}

/// Has the children of a job that was cancelled cancelled with it: by the dispatchers, since a worker may command
/// nothing. True once they are asked.
pub(super) async fn tell_children(shared: &Shared, held: &Held) -> bool {
    let Address { queue, job_id, .. } = &held.address;
    match shared.jobs.ask_for_a_look(queue, *job_id, WRITE_TIMEOUT).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%job_id, %error, "the children of a cancelled job are not told yet; it will be tried again");
            false
        }
    }
}

/// Stores the letter of a dead job; true once it is stored.
pub(super) async fn bury(shared: &Shared, held: &Held, done: &Done) -> bool {
    let broker = &shared.broker;
    let letter = dead::of_job(broker, &held.address.queue, &held.job.task, done, held.trace);
    match dead::publish(broker, &held.address.queue, held.address.job_id, letter).await {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(job_id = %held.address.job_id, %error, "a dead letter was not stored; it will be tried again");
            false
        }
    }
}
