//! What becomes of jobs that find a limit reached, where settings say otherwise than that they wait.

use windlass_broker::jobs::Verdict;
use windlass_core::flow::AtLimit;
use windlass_core::{JobError, JobId, JobState};

use super::Failure;
use super::decision::Decision;
use super::owner::Owner;
use crate::cancel;
use crate::ended::{self, End};
use crate::order::{Before, Order};

/// Of a job that a limit ended.
const CODE: &str = "limit";

/// Ends a job that has just come, as settings say. If it cannot be ended now, it is delivered again.
pub(super) async fn end(owner: &Owner, one: &Decision) -> Result<(), Failure> {
    let (shared, jobs) = (&*owner.shared, owner.flow.jobs());
    let state = match owner.settings.at_limit {
        AtLimit::Reject => JobState::Dead,
        _ => JobState::Cancelled,
    };
    let (queue, job_id) = (&one.address.queue, one.address.job_id);
    let mut seen = jobs.read(queue, job_id).await?;
    let stands = |seen: &windlass_broker::jobs::Seen| {
        !seen.view.done && seen.view.last.is_some_and(|last| last.sequence == one.token)
    };
    if let (true, Some(last)) = (stands(&seen), &seen.last) {
        let limit =
            if one.key().is_some() && owner.settings.key_limit().is_some() { "its key" } else { "its queue" };
        let message = format!("as many of {limit} run as may");
        let error = JobError { message, code: CODE.to_owned(), terminal: false };
        let end = End { token: one.token, purge_timer: false, state, error };
        if !matches!(ended::write(shared, jobs, last, end).await?, (Verdict::Won(_), _)) {
            return Ok(());
        }
        metrics::counter!("windlass_limit_ends_total", "queue" => queue.to_string(), "state" => state.as_str())
            .increment(1);
        seen = jobs.read(queue, job_id).await?;
    }
    if ended::clear_up(shared, jobs, queue, job_id, &seen).await
        && let Some(handle) = &one.handle
    {
        let _ = handle.ack().await;
    }
    Ok(())
}

/// Cancels a job that runs, to make room for one that has come.
pub(super) async fn cancel(owner: &Owner, job_id: JobId) {
    let shared = &*owner.shared;
    let order = Order {
        queue: owner.flow.queue().clone(),
        job_id,
        reason: "another has come, and as many ran as may".to_owned(),
        requested_by: "its queue's settings".to_owned(),
        dead_at: None,
        ordered_at: shared.broker.now(),
        delivered: Before::Never,
        trace: None,
        deadline: tokio::time::Instant::now() + super::CALL_TIMEOUT,
    };
    // If it cannot be, whoever came waits until it ends by itself.
    let carried = cancel::cancel(shared, &order).await;
    tracing::info!(%job_id, queue = %order.queue, ?carried, "the oldest was cancelled for another");
}
