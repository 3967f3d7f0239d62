//! A job that has ended: what was perhaps not said of it is said, and what is left of its work is removed.

use windlass_broker::dead;
use windlass_broker::jobs::{Jobs, Seen};
use windlass_core::{JobId, JobState, QueueName, protocol};
use windlass_proto::{Done, RecordBody};

use crate::shared::Shared;

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
    if let (Some(done @ Done { state: JobState::Dead, .. }), Some(job)) = (&seen.done, work) {
        let letter = dead::of_job(&shared.broker, queue, &job.task, done);
        if let Err(error) = dead::publish(&shared.broker, queue, job_id, letter).await {
            tracing::error!(%job_id, %error, "a dead letter was not stored; it will be tried again");
            return false;
        }
    }
    if shared.events.record_all(seen.past()).await.is_err() {
        return false;
    }
    for record in left.iter().filter(|left| protocol::is_left_over(&left.record, &seen.view)) {
        if let Err(error) = jobs.delete(record.record.sequence).await {
            tracing::warn!(%job_id, %error, "what is left of an ended job was not deleted; trying again");
            return false;
        }
    }
    true
}
