//! Payloads in Object Store: whether a task's is there, and removing those that nobody needs any more.
//!
//! A payload is needed while its job lives, and while its job's dead letter stands, which may be run again. Whoever ends
//! a job removes it. What is missed, or was stored for a task that never came, is found here: by walking the buckets,
//! under the reconciler's lease.
//!
//! Its publisher stores a payload before the task that names it. So what is young is left alone, and so is what was
//! stored not long before the oldest task that waits in TASKS, for that may be the one that names it.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, Interval};
use windlass_broker::jobs::{Jobs, Seen};
use windlass_broker::objects::{self, Objects, Owner, Stored};
use windlass_broker::{dead, tasks};
use windlass_core::{JobState, ObjectRef, PoolName, QueueName, Task};
use windlass_proto::RecordBody;

use crate::reject::Rejection;
use crate::shared::Shared;

/// For a look at a task's payload.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// For copying one.
const COPY_TIMEOUT: Duration = Duration::from_secs(60);

/// What is known of a task's payload.
#[derive(Debug)]
pub(crate) enum Checked {
    /// It is there, or in the task itself.
    There,
    /// No worker could run it.
    Refused(Box<Rejection>),
    /// Not known now.
    Open,
}

/// Looks whether a task's payload is where its worker will look for it.
pub(crate) async fn check(shared: &Shared, queue: &QueueName, task: &Task<bytes::Bytes>) -> Checked {
    let Some(object) = &task.form.object else { return Checked::There };
    let refused = |field: &'static str, reason: String| {
        Checked::Refused(Box::new(Rejection::invalid(field, reason).of_queue(queue).of_task(task)))
    };
    // Another job's is not this one's to read, nor to remove.
    let own = Owner { queue: queue.clone(), job_id: task.id };
    if objects::owner(object).as_ref() != Some(&own) {
        let expected = format!("{queue}/{}/<a word>", task.id);
        return refused("payload_object.name", format!("is not of this job: expected `{expected}`"));
    }
    let payloads = Objects::payloads(&shared.broker, &shared.layout.pool_of(queue));
    match Box::pin(payloads.check(object, Instant::now() + CHECK_TIMEOUT)).await {
        Ok(()) => Checked::There,
        Err(error) if error.may_pass() => {
            tracing::warn!(job_id = %task.id, error = %anyhow::Error::new(error), "a payload could not be looked at; the task waits");
            Checked::Open
        }
        Err(error) => match Box::pin(shared.jobs(queue).read(queue, task.id)).await {
            // The task came again, and its job may have ended in between.
            Ok(seen) if seen.last.is_some() => Checked::There,
            Ok(_) => refused("payload_object", error.to_string()),
            Err(error) => {
                tracing::warn!(job_id = %task.id, %error, "a job could not be read; the task waits");
                Checked::Open
            }
        },
    }
}

/// Gives a job that is started again a payload of its own: the one that it is copied from goes with its dead letter.
pub(crate) async fn copy(
    shared: &Shared,
    queue: &QueueName,
    task: &mut Task<bytes::Bytes>,
) -> Result<(), objects::Error> {
    let Some(object) = &task.form.object else { return Ok(()) };
    // One at a time: each is held in memory. Never closed.
    let _permit = shared.copies.acquire().await;
    let payloads = Objects::payloads(&shared.broker, &shared.layout.pool_of(queue));
    let deadline = Instant::now() + COPY_TIMEOUT;
    let bytes = payloads.get(object, deadline).await?;
    task.form.object = Some(payloads.put(queue, task.id, &bytes, deadline).await?);
    Ok(())
}

/// Removes the payload of a job that was ended from outside, as far as its last record names it.
pub(crate) async fn remove(shared: &Shared, queue: &QueueName, body: &RecordBody) {
    if let RecordBody::Job(job) = body {
        remove_of(shared, queue, &job.task).await;
    }
}

/// Removes the payload of a task that nobody runs any more.
pub(crate) async fn remove_of(shared: &Shared, queue: &QueueName, task: &Task<bytes::Bytes>) {
    let Some(object) = &task.form.object else { return };
    // Of a task that was refused it may be another job's.
    if objects::owner(object) != Some(Owner { queue: queue.clone(), job_id: task.id }) {
        return;
    }
    let payloads = Objects::payloads(&shared.broker, &shared.layout.pool_of(queue));
    if let Err(error) = payloads.remove(&object.name).await {
        tracing::debug!(job_id = %task.id, %error, "a payload was not removed; it is collected later");
    }
}

/// Walks a pool's bucket, one object a tick, and removes what nobody needs.
pub(crate) async fn collect(shared: &Shared, pool: &PoolName, pace: &mut Interval) -> anyhow::Result<()> {
    let payloads = Objects::payloads(&shared.broker, pool);
    let jobs = Jobs::new(&shared.broker, pool.clone());
    let all = payloads.list().await?;
    // In this order: a task that is admitted after it was looked for here has a job by then.
    let now = jobs.broker_time().await?;
    let oldest_task = tasks::oldest(&shared.broker).await?.unwrap_or(now).min(now);
    let old = oldest_task.saturating_sub(shared.layout.horizon).unwrap_or(Timestamp::MIN);
    for stored in all {
        pace.tick().await;
        let is_old = payloads.stored_at(&stored).await?.is_some_and(|at| at < old);
        if !is_old || is_needed(shared, &jobs, &stored).await? {
            continue;
        }
        payloads.discard(&stored).await?;
        metrics::counter!("windlass_reconciled_total", "found" => "payload").increment(1);
        tracing::info!(
            bucket = payloads.bucket(),
            object = stored.name,
            "removed a payload that no job needs"
        );
    }
    Ok(())
}

/// Whether a job that lives, or a dead letter, names it.
async fn is_needed(shared: &Shared, jobs: &Jobs, stored: &Stored) -> anyhow::Result<bool> {
    let (Some(Owner { queue, job_id }), Some(name)) = (&stored.owner, &stored.name) else { return Ok(false) };
    let names_it = |object: Option<&ObjectRef>| object.is_some_and(|object| object.name == *name);
    let Seen { last, done, .. } = jobs.read(queue, *job_id).await?;
    match (last, done) {
        // Its letter comes, or is there.
        (_, Some(done)) => Ok(done.state == JobState::Dead),
        (Some(last), None) => match &last.body {
            RecordBody::Job(job) => Ok(names_it(job.task.form.object.as_ref())),
            // The work that it claims may name it.
            _ => Ok(true),
        },
        (None, None) => match dead::find(&shared.broker, queue, *job_id).await? {
            Some(letter) => Ok(dead::task_of(&letter).is_none_or(|task| names_it(task.form.object.as_ref()))),
            None => Ok(false),
        },
    }
}
