//! Ending a job from outside.

use windlass_broker::cancel::{Mark, mark};
use windlass_broker::failpoint::{Point, hit};
use windlass_broker::jobs::{Jobs, SeenRecord, Verdict};
use windlass_core::flow::Follows;
use windlass_core::protocol::{self, Kind, Removal};
use windlass_core::{JobError, JobState};
use windlass_proto::Done;

use crate::children;
use crate::dependencies;
use crate::ended::{self, End};
use crate::flow::leave;
use crate::objects;
use crate::order::{Carried, Order};
use crate::shared::Shared;

/// How often a job that moves on under our hands is looked at anew before the command is put back.
const ROUNDS: usize = 8;

/// The mark first, so that a worker that holds the job stops; then the end, on the token; then its event; then what
/// nobody needs any more is deleted. Each step may be the last: the command is carried out again from the start.
pub(crate) async fn cancel(shared: &Shared, order: &Order) -> Carried {
    let jobs = shared.jobs(&order.queue);
    for _ in 0..ROUNDS {
        let seen = match jobs.read(&order.queue, order.job_id).await {
            Ok(seen) => seen,
            Err(error) => {
                tracing::warn!(job_id = %order.job_id, %error, "a job could not be read");
                return Carried::Open;
            }
        };
        match (protocol::cancel(&seen.view), &seen.last) {
            (Removal::Write { token, purge_timer, then_delete }, Some(last)) => {
                let step = Step { token, purge_timer, then_delete };
                let message = format!("cancelled {}", order.words());
                let error = JobError { message, code: "cancelled".to_owned(), terminal: true };
                match end(shared, &jobs, last, step, JobState::Cancelled, error).await {
                    Verdict::Won(_) => return with_children(shared, order).await,
                    Verdict::Lost => {}
                    Verdict::Undecided => return Carried::Open,
                }
            }
            // By another's hand, or by ours before a crash.
            (Removal::Ended, _) => {
                if !ended::clear_up(shared, &jobs, &order.queue, order.job_id, &seen).await {
                    return Carried::Open;
                }
                let cancelled = seen.done.as_ref().is_some_and(|done| done.state == JobState::Cancelled);
                return if cancelled { with_children(shared, order).await } else { Carried::Out };
            }
            _ => return Carried::NoJob,
        }
    }
    Carried::Open
}

async fn with_children(shared: &Shared, order: &Order) -> Carried {
    let told = children::cancel_all(shared, &order.queue, order.job_id).await;
    if told { Carried::Out } else { Carried::Open }
}

/// How a job is ended from outside: what [`protocol::cancel`] says.
pub(crate) struct Step {
    pub(crate) token: u64,
    pub(crate) purge_timer: bool,
    pub(crate) then_delete: Option<u64>,
}

/// Ends a job as it was just read, in this state and for this reason.
pub(crate) async fn end(
    shared: &Shared,
    jobs: &Jobs,
    last: &SeenRecord,
    step: Step,
    state: JobState,
    error: JobError,
) -> Verdict {
    let (queue, job_id) = (&last.address.queue, last.address.job_id);
    // A job that expires is known not to run.
    let may_run =
        state == JobState::Cancelled && matches!(last.record.kind, Kind::Ready | Kind::Claim { .. });
    if may_run {
        let mark_it = Mark { job_id, token: step.token, reason: error.message.clone(), hand_back: false };
        if let Err(error) = mark(&shared.broker, queue, &mark_it).await {
            tracing::warn!(%job_id, %error, "the end of a job could not be marked");
            return Verdict::Undecided;
        }
        hit(Point::CancelMarked).await;
    }
    let Step { token, purge_timer, then_delete } = step;
    let (verdict, done) =
        match ended::write(shared, jobs, last, End { token, purge_timer, state, error }).await {
            Ok(written) => written,
            Err(error) => {
                tracing::error!(%job_id, %error, "the end of a job was not written");
                return Verdict::Undecided;
            }
        };
    if let Verdict::Won(_) = verdict
        && !after(shared, jobs, last, &done, then_delete).await
    {
        return Verdict::Undecided;
    }
    verdict
}

/// What follows the end of a job from outside, over the record that was just read: its event, what it held, what is
/// left of it. True once all of it is done.
pub(crate) async fn after(
    shared: &Shared,
    jobs: &Jobs,
    last: &SeenRecord,
    done: &Done,
    then_delete: Option<u64>,
) -> bool {
    hit(Point::CancelWritten).await;
    if shared.events.record(last.teller().ended(done)).await.is_err() {
        return false;
    }
    hit(Point::CancelSaid).await;
    if !leave(jobs, last, Follows::End(done.state)).await {
        return false;
    }
    let (queue, job_id) = (&last.address.queue, last.address.job_id);
    if last.record.kind == Kind::Held
        && let Err(error) = dependencies::abandon(jobs, queue, job_id).await
    {
        tracing::warn!(%job_id, %error, "what a cancelled job waited for is not forgotten yet; trying again");
        return false;
    }
    let claim = matches!(last.record.kind, Kind::Claim { .. }).then_some(last.record.sequence);
    for sequence in then_delete.into_iter().chain(claim) {
        // Left there, it would run once the end is forgotten.
        if let Err(error) = jobs.delete(sequence).await {
            tracing::warn!(%error, "a message of a job that has ended was not deleted; trying again");
            return false;
        }
    }
    hit(Point::CancelDeleted).await;
    objects::remove(shared, &last.address.queue, &last.body).await;
    true
}
