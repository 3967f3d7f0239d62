//! A task becomes a job: validated, created once, announced, and only then acknowledged.

use std::time::Duration;

use jiff::Timestamp;
use opentelemetry::trace::SpanKind;
use tokio::time::Instant;
use windlass_broker::absence::SLACK;
use windlass_broker::ahead::Mark;
use windlass_broker::delivery::Delivered;
use windlass_broker::failpoint::{Point, hit};
use windlass_broker::jobs::{Address, Change, Jobs, Seen, Verdict, nonce};
use windlass_broker::provision;
use windlass_broker::trace::{Hop, Relation, Subject};
use windlass_core::admission::{Admitted, late_by, outcome_is_known};
use windlass_core::expiry::expires_at;
use windlass_core::task::Parent;
use windlass_core::{Event, JobId, QueueName, RecordKind, Task, Transition, dependency};
use windlass_proto::{Incoming, Job, Teller};

use crate::children;
use crate::dependencies::{self, Gate, Held};
use crate::intake::{self, Before};
use crate::objects::{self, Checked};
use crate::reject::{Rejection, reject};
use crate::shared::Shared;
use crate::unique::{self, Entrant};

/// Deals with one message of TASKS. It is acknowledged only once its outcome is stored; anything that stays open is
/// delivered again.
pub(crate) async fn admit(shared: &Shared, delivered: Delivered, ack_wait: Duration) {
    // A create's condition, "the job does not exist", becomes true again when the job is forgotten; so it is not
    // tried for longer than the task is ours.
    let deadline = Instant::now() + ack_wait * 2 / 3;
    let rejection = match read(shared, &delivered) {
        Ok((queue, task)) => match known_before(shared, &queue, &delivered, Some(task.id)).await {
            Some(Before::Nothing) => match objects::check(shared, &queue, &task).await {
                Checked::There => return create(shared, &delivered, queue, task, deadline).await,
                Checked::Refused(rejection) => *rejection,
                Checked::Open => return,
            },
            Some(Before::Taken) => return acknowledge(&delivered).await,
            Some(Before::Perhaps) => Rejection::outcome_unknown().of_queue(&queue).of_task(&task),
            None => return,
        },
        Err(rejection) => {
            let queue = shared.broker.names().queue_of_task(&delivered.subject).and_then(|q| q.parse().ok());
            match queue {
                Some(queue) => match known_before(shared, &queue, &delivered, None).await {
                    Some(Before::Taken) => return acknowledge(&delivered).await,
                    Some(_) => rejection,
                    None => return,
                },
                None => rejection,
            }
        }
    };
    Box::pin(reject(shared, &delivered, rejection)).await;
}

/// What was done with a task before this delivery; that its job is there is nothing. None if it is not known now.
async fn known_before(
    shared: &Shared,
    queue: &QueueName,
    delivered: &Delivered,
    id: Option<JobId>,
) -> Option<Before> {
    let known = async {
        let before = intake::before(shared, queue, delivered).await?;
        if let (Before::Perhaps, Some(id)) = (before, id) {
            let seen = Box::pin(shared.jobs(queue).read(queue, id)).await?;
            return Ok(if seen.last.is_some() { Before::Nothing } else { before });
        }
        Ok::<_, anyhow::Error>(before)
    };
    let known = known.await;
    known
        .inspect_err(|error| tracing::warn!(%queue, error = format!("{error:#}"), "it is not known whether a task was admitted before; it is delivered again"))
        .ok()
}

async fn acknowledge(delivered: &Delivered) {
    let _ = delivered.handle().ack().await;
}

/// Deals with a task ahead of its delivery, if it can be admitted as it is; else it waits for that.
pub(crate) async fn admit_ahead(shared: &Shared, delivered: Delivered) {
    // Nobody else knows that it is here: what was fetched long ago may have been dealt with.
    let deadline = delivered.received_at + shared.layout.ack_wait * 2 / 3;
    let Ok((queue, task)) = read(shared, &delivered) else { return };
    let is_plain = task.unique.is_none() && task.aggregate.is_none();
    if !is_plain
        || !intake::may_go_ahead(shared, &queue)
        || known_before(shared, &queue, &delivered, None).await != Some(Before::Nothing)
        || !matches!(objects::check(shared, &queue, &task).await, Checked::There)
    {
        return;
    }
    if let Err(error) = shared.jobs(&queue).mark(&queue, delivered.sequence, Mark::Begun).await {
        tracing::debug!(job_id = %task.id, %error, "a task waits for its delivery");
        return;
    }
    metrics::counter!("windlass_tasks_admitted_ahead_total", "queue" => queue.to_string()).increment(1);
    create(shared, &delivered, queue, task, deadline).await;
}

fn read(shared: &Shared, delivered: &Delivered) -> Result<(QueueName, Task<bytes::Bytes>), Rejection> {
    let text = shared.broker.names().queue_of_task(&delivered.subject).unwrap_or_default();
    let queue: QueueName = text.parse().map_err(|e| Rejection::invalid("queue", e))?;
    let incoming = Incoming {
        headers: &delivered.header_lines(),
        body: &delivered.body,
        derived_id: &|| delivered.derived_id(),
    };
    let task = windlass_proto::read_task(incoming)
        .map_err(|e| Rejection::invalid(e.field, e.reason).of_queue(&queue))?;
    shared
        .limits
        .check(&task, delivered.published_at)
        .and_then(|()| shared.settings.check(&queue, &task))
        .and_then(|()| dependency::check(&queue, task.id, &task.after))
        .map_err(|e| Rejection::invalid(e.field, e.reason).of_queue(&queue).of_task(&task))?;
    let certain = delivered.count == 1 && !delivered.suspect;
    let horizon = shared.layout.horizon;
    if outcome_is_known(delivered.published_at, certain, shared.absence.latest(), horizon, SLACK) {
        Ok((queue, task))
    } else {
        Err(Rejection::outcome_unknown().of_queue(&queue).of_task(&task))
    }
}

async fn create(
    shared: &Shared,
    delivered: &Delivered,
    queue: QueueName,
    task: Task<bytes::Bytes>,
    deadline: Instant,
) {
    hit(Point::TaskRead).await;
    if !ensure_queue(shared, delivered, &queue, &task).await {
        return;
    }
    let held = if task.after.is_empty() {
        None
    } else {
        match Box::pin(dependencies::gate(shared, delivered, &queue, &task)).await {
            Gate::Open => None,
            Gate::Held(held) => Some(held),
            Gate::Exists(seen) => return exists(shared, delivered, &task, &seen).await,
            Gate::Refused(_) if delivered.is_ahead() => return,
            Gate::Refused(rejection) => return Box::pin(reject(shared, delivered, *rejection)).await,
            Gate::Shut => return,
        }
    };
    let hop = Hop::start(
        "admit",
        SpanKind::Consumer,
        Subject { job_id: task.id, kind: Some(&task.kind), queue: &queue, attempt: 0 },
        delivered.trace(),
        Relation::Child,
        None,
    );
    // The broker's word is the publisher's: the task was accepted when it was stored.
    let accepted_at = delivered.published_at;
    let due_at = task.start.due_at(accepted_at);
    let entrance = shared.settings.entrance(&queue);
    let (record, timer) = if held.is_some() {
        (RecordKind::Held, Some((dependencies::never(), entrance)))
    } else if due_at > shared.broker.now() {
        (RecordKind::Later, Some((due_at, entrance)))
    } else {
        (entrance, None)
    };
    if record == RecordKind::Due && !delivered.is_ahead() && intake::is_overtaken(delivered) {
        shared.bursts.give_way(&queue).await;
    }
    let address = Address { queue, priority: task.priority, job_id: task.id };
    let jobs = shared.jobs(&address.queue);
    // Both stand before the job does: what is left of one that is not made harms nobody.
    // Of a task that is collected no child is left.
    let parent = task.parent.clone().filter(|parent| !parent.detached && task.aggregate.is_none());
    if let Some(parent) = &parent
        && !Box::pin(children::mark(shared, parent, &address.queue, address.job_id)).await
    {
        return;
    }
    if task.unique.is_some() || task.aggregate.is_some() {
        let note = late(shared, delivered, address.job_id, address.queue.to_string()).unwrap_or_default();
        let trace = hop.traceparent();
        let entrant = Entrant { address, task, accepted_at, due_at, trace, deadline, note };
        return Box::pin(unique::admit(shared, delivered, entrant, parent.as_ref())).await;
    }
    // The time to wait of one that is held begins when it is released.
    let expires_at = expires_at(due_at, task.max_wait).filter(|_| held.is_none());
    let Some(expiry_sequence) = set_expiry(&jobs, &address, expires_at, deadline).await else {
        return;
    };
    let nonce = nonce();
    let waits = !task.after.is_empty();
    let job = Job {
        expiry_sequence,
        awaiting: held.is_some(),
        held_since: held.as_ref().map(|_| shared.broker.now()),
        ..Job::new(task, accepted_at, due_at, nonce.clone())
    };
    let change = Change {
        address: &address,
        token: 0,
        record,
        body: job.encode(),
        nonce: &nonce,
        trace: Some(hop.traceparent()),
        ttl: None,
        timer,
        purge: None,
    };
    let written = jobs.write(change, deadline).await;
    let Some((event, is_made)) = outcome(shared, delivered, &hop, &jobs, &address, &job, written).await
    else {
        return;
    };
    let events = match held.as_ref().filter(|_| is_made) {
        Some(held) => vec![waiting(&event, held, shared.broker.now()), event],
        None => vec![event],
    };
    if shared.events.record_all(events).await.is_ok()
        && follow(shared, parent.as_ref(), &address).await
        && (!waits || settle(shared, &address, held.filter(|_| is_made)).await)
    {
        hit(Point::AcceptedSaid).await;
        let _ = delivered.handle().ack().await;
        hit(Point::TaskAcked).await;
    }
}

/// Makes the queue's consumer with its first task. False if it cannot be: then the task is refused, or waits.
async fn ensure_queue(
    shared: &Shared,
    delivered: &Delivered,
    queue: &QueueName,
    task: &Task<bytes::Bytes>,
) -> bool {
    match shared.queues.ensure(&shared.broker, &shared.layout, queue).await {
        Ok(()) => true,
        Err(error @ provision::Error::TooManyQueues { .. }) if !delivered.is_ahead() => {
            let rejection = Rejection::invalid("queue", error).of_queue(queue).of_task(task);
            Box::pin(reject(shared, delivered, rejection)).await;
            false
        }
        Err(error) => {
            tracing::warn!(%queue, %error, "the queue's consumer could not be made; the task waits");
            false
        }
    }
}

/// What is said of a task once its job was written: that it is accepted, and whether its job was made now. None if it
/// stays open.
async fn outcome(
    shared: &Shared,
    delivered: &Delivered,
    hop: &Hop,
    jobs: &Jobs,
    address: &Address,
    job: &Job,
    written: Result<Verdict, windlass_broker::jobs::Error>,
) -> Option<(Event, bool)> {
    let queue = address.queue.to_string();
    match written {
        Ok(Verdict::Won(_)) => {
            hit(Point::JobCreated).await;
            metrics::counter!("windlass_tasks_admitted_total", "queue" => queue.clone()).increment(1);
            let teller = Teller {
                queue: &address.queue,
                job_id: address.job_id,
                priority: address.priority,
                kind: &job.task.kind,
                accepted_at: job.accepted_at,
                trace: Some(hop.traceparent()),
            };
            let note = late(shared, delivered, address.job_id, queue).unwrap_or_default();
            Some((Event { note, ..teller.accepted(job.due_at).of_task(&job.task) }, true))
        }
        Ok(Verdict::Lost) => {
            metrics::counter!("windlass_tasks_duplicate_total", "queue" => queue).increment(1);
            hop.set("windlass.task.duplicate", true);
            match Box::pin(jobs.read(&address.queue, address.job_id)).await {
                // None where it was forgotten between the refusal and this look: the redelivery decides.
                Ok(seen) => seen.last.as_ref().map(|last| (last.accepted(), false)),
                Err(error) => {
                    tracing::warn!(job_id = %address.job_id, %error, "an existing job could not be read");
                    None
                }
            }
        }
        Ok(Verdict::Undecided) => {
            tracing::warn!(job_id = %address.job_id, "it is not known whether the job was made; the task is delivered again");
            None
        }
        Err(error) => {
            hop.fail("the job was not made");
            tracing::error!(job_id = %address.job_id, error = %anyhow::Error::new(error), "the job was not made; the task is delivered again");
            None
        }
    }
}

/// What ended while the job was made is seen now.
async fn settle(shared: &Shared, address: &Address, held: Option<Held>) -> bool {
    let known = held.map(|held| held.known);
    Box::pin(dependencies::settle(shared, &address.queue, address.job_id, known.as_deref())).await
}

/// A task whose job exists, and which names jobs that are not known any more, or comes again.
async fn exists(shared: &Shared, delivered: &Delivered, task: &Task<bytes::Bytes>, seen: &Seen) {
    let Some(last) = &seen.last else { return };
    let parent = task.parent.as_ref().filter(|parent| !parent.detached);
    if Box::pin(dependencies::known_again(shared, last)).await && follow(shared, parent, &last.address).await
    {
        let _ = delivered.handle().ack().await;
    }
}

/// That a job is held, from the event of its acceptance.
fn waiting(accepted: &Event, held: &Held, now: Timestamp) -> Event {
    let note = format!("waits for {} jobs to end", held.open);
    Event { note, transition: Transition::Held, at: now, due_at: None, ..accepted.clone() }
}

/// What its history says of a job whose id may have been used by one that was forgotten while the task waited.
fn late(shared: &Shared, delivered: &Delivered, job_id: JobId, queue: String) -> Option<String> {
    let admitted = Admitted {
        // One of version 7 is no derived one: nothing is computed for it.
        id: Some(job_id).filter(|id| id.made_at().is_some() || *id != delivered.derived_id()),
        published_at: delivered.published_at,
        now: shared.broker.now(),
        absence: shared.absence.latest(),
    };
    let waited = late_by(&admitted, shared.layout.horizon, SLACK)?;
    metrics::counter!("windlass_tasks_admitted_late_total", "queue" => queue).increment(1);
    Some(format!(
        "waited {} s to be admitted: if its id was used before, this may repeat a job that has ended",
        waited.as_secs()
    ))
}

/// Sets the timer of a job that may not wait for ever; its sequence, 0 if there is none to set. None if it could not be.
pub(crate) async fn set_expiry(
    jobs: &Jobs,
    address: &Address,
    expires_at: Option<Timestamp>,
    deadline: Instant,
) -> Option<u64> {
    let Some(at) = expires_at else { return Some(0) };
    let left = deadline.saturating_duration_since(Instant::now());
    match Box::pin(jobs.set_expiry(&address.queue, address.job_id, at, left)).await {
        Ok(sequence) => Some(sequence),
        Err(error) => {
            tracing::warn!(job_id = %address.job_id, %error, "the timer of a job's expiry could not be set; the task is delivered again");
            None
        }
    }
}

/// A child whose parent was cancelled meanwhile is cancelled too.
pub(crate) async fn follow(shared: &Shared, parent: Option<&Parent>, address: &Address) -> bool {
    match parent {
        Some(parent) => Box::pin(children::follow(shared, parent, &address.queue, address.job_id)).await,
        None => true,
    }
}
