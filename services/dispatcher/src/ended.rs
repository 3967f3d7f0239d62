//! The end of a job from outside; and, of one that has ended, what was perhaps not said of it, and what is left of it.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use windlass_broker::dead;
use windlass_broker::jobs::{self, Change, Jobs, Seen, SeenRecord, Verdict, nonce};
use windlass_core::admission::kept_for;
use windlass_core::flow::Follows;
use windlass_core::{Form, JobError, JobId, JobState, QueueName, RecordKind, protocol};
use windlass_proto::{Done, RecordBody};

use crate::dependencies;
use crate::flow::leave;
use crate::shared::Shared;

/// For one conditional write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

/// How a job ends that no worker ends.
pub(crate) struct End {
    /// The sequence that must still be last.
    pub(crate) token: u64,
    /// Whether that is a timer, to be purged in the same write.
    pub(crate) purge_timer: bool,
    pub(crate) state: JobState,
    pub(crate) error: JobError,
}

/// Writes the end of a job as it was just read. What follows it is not done yet.
pub(crate) async fn write(
    shared: &Shared,
    jobs: &Jobs,
    last: &SeenRecord,
    end: End,
) -> Result<(Verdict, Done), jobs::Error> {
    let done = record(shared, last, end.state, end.error, None);
    let change = change(shared, last, &done, end.token, end.purge_timer);
    let verdict = jobs.write(change, Instant::now() + WRITE_TIMEOUT).await?;
    Ok((verdict, done))
}

/// The end of a job as it was just read; the other is the job for whose sake it ends.
pub(crate) fn record(
    shared: &Shared,
    last: &SeenRecord,
    state: JobState,
    error: JobError,
    other_id: Option<JobId>,
) -> Done {
    Done {
        kind: last.body.kind().clone(),
        state,
        attempts: last.body.attempts().to_vec(),
        result: Bytes::new(),
        result_form: Form::default(),
        result_content_type: String::new(),
        error: Some(error),
        accepted_at: last.body.accepted_at(),
        ended_at: shared.broker.now(),
        nonce: nonce(),
        other_id,
    }
}

/// The write of that record.
pub(crate) fn change<'a>(
    shared: &Shared,
    last: &'a SeenRecord,
    done: &'a Done,
    token: u64,
    purge_timer: bool,
) -> Change<'a> {
    Change {
        address: &last.address,
        token,
        record: RecordKind::Done,
        body: done.encode(),
        nonce: &done.nonce,
        trace: last.trace,
        ttl: Some(kept_for(shared.layout.horizon)),
        timer: None,
        purge: purge_timer.then(|| last.record.kind.record_kind()),
    }
}

/// True once all of it is stored and gone. May be done at any time, and again.
pub(crate) async fn clear_up(
    shared: &Shared,
    jobs: &Jobs,
    queue: &QueueName,
    job_id: JobId,
    seen: &Seen,
) -> bool {
    let left = match jobs.left_over(queue, job_id).await {
        Ok(left) => left,
        Err(error) => {
            tracing::warn!(%job_id, %error, "a job could not be read");
            return false;
        }
    };
    // The letter first: an event that says "dead" can be acted upon. Only the work that is left has what it holds.
    let work = left.iter().find_map(|record| match &record.body {
        RecordBody::Job(job) => Some(job),
        _ => None,
    });
    let trace = seen.last.as_ref().and_then(|last| last.trace);
    if let (Some(done @ Done { state: JobState::Dead, .. }), Some(job)) = (&seen.done, work) {
        let letter = dead::of_job(&shared.broker, queue, &job.task, done, trace);
        if let Err(error) = dead::publish(&shared.broker, queue, job_id, letter).await {
            tracing::error!(%job_id, %error, "a dead letter was not stored; it will be tried again");
            return false;
        }
    }
    if shared.events.record_all(seen.past()).await.is_err() {
        return false;
    }
    if let Some(done) = &seen.done {
        if let Err(error) = dependencies::abandon(jobs, queue, job_id).await {
            tracing::warn!(%job_id, %error, "what an ended job waited for is not forgotten yet; trying again");
            return false;
        }
        for record in &left {
            if !leave(jobs, record, Follows::End(done.state)).await {
                return false;
            }
        }
    }
    for record in left.iter().filter(|left| protocol::is_left_over(&left.record, &seen.view)) {
        if let Err(error) = jobs.delete(record.record.sequence).await {
            tracing::warn!(%job_id, %error, "what is left of an ended job was not deleted; trying again");
            return false;
        }
    }
    true
}
