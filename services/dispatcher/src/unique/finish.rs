//! A task whose id is known already: what it has come to, and what follows from it, done again.

use windlass_broker::jobs::{Jobs, Seen};
use windlass_core::unique::{Instead, OnConflict};
use windlass_core::{JobId, JobState, QueueName};

use super::{Entrant, Outcome};
use crate::shared::Shared;
use crate::{children, ended};

/// It could not be found out, or done.
#[derive(Debug)]
pub(super) struct Open;

/// What a task has come to; none if nothing is known of its id.
pub(super) async fn find(shared: &Shared, jobs: &Jobs, entrant: &Entrant) -> Result<Option<Outcome>, Open> {
    let (queue, id) = (&entrant.address.queue, entrant.id());
    let seen = read(jobs, queue, id).await?;
    let Some(last) = &seen.last else { return Ok(None) };
    let mut events = vec![last.accepted()];
    if let Some(done) = &seen.done {
        events.extend(seen.past());
        let code = done.error.as_ref().map_or("", |error| error.code.as_str());
        if let (Some(Instead::Merged), Some(other)) = (Instead::from_code(code), done.other_id) {
            // Of the job that collects tasks nobody else tells.
            events.extend(read(jobs, queue, other).await?.last.map(|last| last.accepted()));
        }
    }
    let replaces = entrant.task.unique.as_ref().is_some_and(|u| u.on_conflict == OnConflict::Replace);
    if replaces && let Some(replaced) = replaced_by(jobs, queue, id).await? {
        clear_up(shared, jobs, queue, replaced).await?;
    }
    Ok(Some(Outcome { events }))
}

/// Says the end of a job that was replaced, and removes what is left of it.
async fn clear_up(shared: &Shared, jobs: &Jobs, queue: &QueueName, job_id: JobId) -> Result<(), Open> {
    let seen = read(jobs, queue, job_id).await?;
    let Some(done) = &seen.done else { return Ok(()) };
    let cancelled = done.state == JobState::Cancelled;
    let cleared = ended::clear_up(shared, jobs, queue, job_id, &seen).await
        && (!cancelled || children::cancel_all(shared, queue, job_id).await);
    if cleared { Ok(()) } else { Err(Open) }
}

async fn read(jobs: &Jobs, queue: &QueueName, job_id: JobId) -> Result<Seen, Open> {
    jobs.read(queue, job_id).await.map_err(|error| {
        tracing::warn!(%job_id, %error, "a job could not be read");
        Open
    })
}

async fn replaced_by(jobs: &Jobs, queue: &QueueName, job_id: JobId) -> Result<Option<JobId>, Open> {
    jobs.replaced_by(queue, job_id).await.map_err(|error| {
        tracing::warn!(%job_id, %error, "it could not be read which job this one replaced");
        Open
    })
}
