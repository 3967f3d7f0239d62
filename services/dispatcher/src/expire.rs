//! Jobs that are to be looked at: at the end of their wait for the first attempt, when they have waited for enough other
//! tasks to be one job with, or after their handler cancelled them.
//!
//! A worker that is given such a job expires it itself. This is for the jobs that no worker is given: their timer fires,
//! and what the stream shows then decides. A job that was delivered has begun, or its worker will decide.

use std::time::Duration;

use jiff::Timestamp;
use windlass_broker::delivery::Delivered;
use windlass_broker::jobs::{Jobs, Seen, SeenRecord, Verdict};
use windlass_core::expiry::{expires_at, is_expired};
use windlass_core::protocol::{self, Kind, Removal};
use windlass_core::{JobError, JobId, JobState, QueueName};
use windlass_proto::{RecordBody, v1};

use crate::cancel::{Step, end};
use crate::children;
use crate::shared::Shared;
use crate::unique;

/// Before a job that could not be looked at is looked at again.
const AGAIN: Duration = Duration::from_secs(1);
/// For setting a timer anew.
const TIMER_TIMEOUT: Duration = Duration::from_secs(10);

/// Deals with one message that such a timer, or a worker, published.
pub(crate) async fn look(shared: &Shared, delivered: Delivered) {
    let Some((queue, job_id)) = shared.broker.names().parse_expired_subject(&delivered.subject) else {
        tracing::warn!(subject = delivered.subject, "not the timer of a job");
        let _ = delivered.handle().ack().await;
        return;
    };
    let acknowledged = if expire(shared, &queue, job_id).await {
        delivered.handle().ack().await
    } else {
        delivered.handle().nak(Some(AGAIN)).await
    };
    if acknowledged.is_err() {
        tracing::debug!(
            "a timer's acknowledgement was not sent; the job is looked at again, which does no harm"
        );
    }
}

/// True once there is nothing left to do.
async fn expire(shared: &Shared, queue: &QueueName, job_id: JobId) -> bool {
    let jobs = shared.jobs(queue);
    let seen = match jobs.read(queue, job_id).await {
        Ok(seen) => seen,
        Err(error) => {
            tracing::warn!(%job_id, %error, "a job could not be read");
            return false;
        }
    };
    let Some(last) = seen.last.as_ref().filter(|_| !seen.view.done) else {
        return after_the_end(shared, queue, job_id, &seen).await;
    };
    if let RecordBody::Job(job) = &last.body
        && unique::is_open(last.record.kind, job)
    {
        return unique::let_go(shared, &jobs, last, job).await;
    }
    match decide(&jobs, last, shared.broker.now()).await {
        Decision::Leave => true,
        Decision::Unknown => false,
        Decision::Later(at) => match jobs.set_expiry(queue, job_id, at, TIMER_TIMEOUT).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%job_id, %error, "the timer of a job's expiry could not be set");
                false
            }
        },
        Decision::Expire(max_wait) => finish(shared, &jobs, &seen, last, max_wait).await,
    }
}

/// A handler that cancelled its own job has asked for this look. Its children are cancelled with it.
async fn after_the_end(shared: &Shared, queue: &QueueName, job_id: JobId, seen: &Seen) -> bool {
    let cancelled = seen.done.as_ref().is_some_and(|done| done.state == JobState::Cancelled);
    !cancelled || children::cancel_all(shared, queue, job_id).await
}

enum Decision {
    /// It has begun, or is not ours to end.
    Leave,
    /// It may wait until then.
    Later(Timestamp),
    /// It has waited longer than this.
    Expire(Duration),
    /// It could not be found out.
    Unknown,
}

async fn decide(jobs: &Jobs, last: &SeenRecord, now: Timestamp) -> Decision {
    // A job that was handed back before an attempt began waits for a worker: its claim names no task, its work does.
    let work = match &last.body {
        RecordBody::Claim(claim)
            if claim.reason == v1::ClaimReason::HandBack && claim.attempts.is_empty() =>
        {
            match jobs.left_over(&last.address.queue, last.address.job_id).await {
                Ok(records) => records.into_iter().find_map(|record| match record.body {
                    RecordBody::Job(job) if record.record.sequence == claim.work_sequence => Some(job),
                    _ => None,
                }),
                Err(_) => return Decision::Unknown,
            }
        }
        // Its time to wait begins when it waits for others no more.
        RecordBody::Job(job) if job.awaiting => None,
        RecordBody::Job(job) => Some(job.clone()),
        RecordBody::Claim(_) | RecordBody::Done(_) => None,
    };
    let Some(job) = work else { return Decision::Leave };
    let max_wait = job.task.max_wait;
    if !is_expired(&job.attempts, job.due_at, max_wait, now) {
        return match expires_at(job.due_at, max_wait).filter(|_| job.attempts.is_empty()) {
            Some(at) => Decision::Later(at),
            None => Decision::Leave,
        };
    }
    if last.record.kind == Kind::Ready {
        match jobs.was_delivered(&last.address.queue, last.record.sequence).await {
            Ok(false) => {}
            Ok(true) => return Decision::Leave,
            Err(error) => {
                tracing::warn!(%error, "a queue's consumer could not be read");
                return Decision::Unknown;
            }
        }
    }
    Decision::Expire(max_wait.unwrap_or_default())
}

async fn finish(shared: &Shared, jobs: &Jobs, seen: &Seen, last: &SeenRecord, max_wait: Duration) -> bool {
    let Removal::Write { token, purge_timer, then_delete } = protocol::cancel(&seen.view) else {
        return true;
    };
    let message = format!("no attempt began within {} s", max_wait.as_secs_f64());
    let error = JobError { message, code: "expired".to_owned(), terminal: true };
    let step = Step { token, purge_timer, then_delete };
    match end(shared, jobs, last, step, JobState::Expired, error).await {
        Verdict::Won(_) => {
            let queue = last.address.queue.to_string();
            metrics::counter!("windlass_jobs_expired_total", "queue" => queue).increment(1);
            true
        }
        // Somebody moved it just now.
        Verdict::Lost | Verdict::Undecided => false,
    }
}
