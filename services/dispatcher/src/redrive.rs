//! Starting a dead job again, from its letter.
//!
//! A new job is made of the letter's task. Its id follows from the old one's and from the instant of its death: the old
//! id itself is refused by the old job's end for the horizon, and a derived one makes a command that is carried out
//! twice make one job. In order: the job, its events, and only then the letter goes. Each step may be the last, and the
//! command is carried out again from the start: the job exists, the events say nothing new, the letter is removed.
//!
//! "The job exists" is remembered for the horizon after its end. A command that is delivered again later than that may
//! have made a job that has been forgotten, so it is refused, and the letter stays: whoever wants it may ask again.

use opentelemetry::trace::SpanKind;
use windlass_broker::absence::SLACK;
use windlass_broker::dead::Letters;
use windlass_broker::jobs::{Address, Change, Verdict, nonce};
use windlass_broker::provision;
use windlass_broker::trace::{Hop, Relation, Subject};
use windlass_core::admission::outcome_is_known;
use windlass_core::letter::Letter;
use windlass_core::trace::TraceParent;
use windlass_core::{Event, Task, Transition};
use windlass_proto::{Job, Teller};

use crate::order::{Before, Carried, Order};
use crate::shared::Shared;
use crate::{flow, objects};

type Bytes = bytes::Bytes;

pub(crate) async fn redrive(shared: &Shared, order: &Order) -> Carried {
    let letters = Letters::new(&shared.broker);
    let Some(letter) = meant(&letters, order).await else { return Carried::Open };
    let Some(letter) = letter else {
        tracing::info!(job_id = %order.job_id, queue = %order.queue, "no such dead letter, or none any more");
        return Carried::Out;
    };
    let mut task = match checked(shared, order, &letter) {
        Ok(task) => task,
        Err(reason) => {
            tracing::warn!(job_id = %order.job_id, queue = %order.queue, reason, "a dead letter is not redriven");
            return Carried::Refused;
        }
    };
    if let Err(error) = objects::copy(shared, &order.queue, &mut task).await {
        let passes = error.may_pass();
        let error = anyhow::Error::new(error);
        tracing::warn!(job_id = %order.job_id, queue = %order.queue, %error, "the payload of a dead letter could not be copied");
        return if passes { Carried::Open } else { Carried::Refused };
    }
    match shared.queues.ensure(&shared.broker, &shared.layout, &order.queue).await {
        Ok(()) => {}
        Err(error @ provision::Error::TooManyQueues { .. }) => {
            tracing::warn!(job_id = %order.job_id, queue = %order.queue, %error, "a dead letter is not redriven");
            return Carried::Refused;
        }
        Err(error) => {
            tracing::warn!(queue = %order.queue, %error, "the queue's consumer could not be made");
            return Carried::Open;
        }
    }
    let redriven = format!("as {} {}", task.id, order.words());
    let Some(mut accepted) = start(shared, order, task, letter.trace).await else { return Carried::Open };
    accepted.note = format!("redriven from {} {}", order.job_id, order.words());
    let remark = remark(shared, order, &letter, Transition::Redriven, redriven);
    if shared.events.record_all([accepted, remark]).await.is_err() {
        return Carried::Open;
    }
    removed(shared, &letters, &letter).await
}

/// The letter that is meant, if it is there; none at all where that is not known.
pub(crate) async fn meant(letters: &Letters, order: &Order) -> Option<Option<Letter<Bytes>>> {
    match letters.find(&order.queue, order.job_id).await {
        // A later death is none of this order's.
        Ok(found) => Some(found.filter(|letter| Some(letter.dead_at) == order.dead_at)),
        Err(error) => {
            tracing::warn!(job_id = %order.job_id, %error, "a dead letter could not be read");
            None
        }
    }
}

/// What the dead job's history shows of an order.
pub(crate) fn remark(
    shared: &Shared,
    order: &Order,
    letter: &Letter<Bytes>,
    transition: Transition,
    note: String,
) -> Event {
    // By its last attempt, so that each of several deaths has its own.
    let attempt = letter.attempts.last().map_or(0, |attempt| attempt.number);
    let (queue, kind) = (order.queue.clone(), letter.kind.clone());
    Event { note, ..Event::new(queue, order.job_id, kind, transition, attempt, shared.broker.now()) }
}

/// Removes a letter that has been dealt with, and the payload that was kept for it.
pub(crate) async fn removed(shared: &Shared, letters: &Letters, letter: &Letter<Bytes>) -> Carried {
    if !flow::unblock(shared, letter).await {
        return Carried::Open;
    }
    match letters.delete(letter.sequence).await {
        Ok(()) => {
            if let Ok(task) = &letter.task {
                objects::remove_of(shared, &letter.queue, task).await;
            }
            Carried::Out
        }
        Err(error) => {
            tracing::error!(job_id = %letter.job_id, %error, "a dead letter was not removed; trying again");
            Carried::Open
        }
    }
}

fn checked(shared: &Shared, order: &Order, letter: &Letter<Bytes>) -> Result<Task<Bytes>, String> {
    let task = letter.redriven_task()?;
    shared.limits.check(&task, order.ordered_at).map_err(|error| error.to_string())?;
    let horizon = shared.layout.horizon;
    let known = match order.delivered {
        Before::Never => true,
        Before::Perhaps => outcome_is_known(order.ordered_at, false, shared.absence.latest(), horizon, SLACK),
        Before::Certainly => {
            let age = shared.broker.now().duration_since(order.ordered_at).unsigned_abs();
            age + shared.layout.ack_wait < horizon
        }
    };
    if known {
        Ok(task)
    } else {
        Err("the command is old and was delivered before: its job may have run, and be forgotten".to_owned())
    }
}

/// Makes the job; returns the event that says so, once it is known to exist.
async fn start(
    shared: &Shared,
    order: &Order,
    task: Task<Bytes>,
    died_in: Option<TraceParent>,
) -> Option<Event> {
    let address = Address { queue: order.queue.clone(), priority: task.priority, job_id: task.id };
    let kind = task.kind.clone();
    let subject = Subject { job_id: task.id, kind: Some(&kind), queue: &order.queue, attempt: 0 };
    let hop = Hop::start("redrive", SpanKind::Consumer, subject, order.trace, Relation::Child, None);
    hop.set("windlass.job.redriven_from", order.job_id.to_string());
    if let Some(died_in) = died_in {
        hop.link(died_in);
    }
    // The same for every delivery of the command, and so is the event.
    let accepted_at = order.ordered_at;
    let job = Job::new(task, accepted_at, accepted_at, nonce());
    let change = Change {
        address: &address,
        token: 0,
        record: shared.settings.entrance(&order.queue),
        body: job.encode(),
        nonce: &job.nonce,
        trace: Some(hop.traceparent()),
        ttl: None,
        timer: None,
        purge: None,
    };
    let jobs = shared.jobs(&order.queue);
    match jobs.write(change, order.deadline).await {
        Ok(Verdict::Won(_)) => {
            let teller = Teller {
                queue: &address.queue,
                job_id: address.job_id,
                priority: address.priority,
                kind: &kind,
                accepted_at,
                trace: Some(hop.traceparent()),
            };
            Some(teller.accepted(accepted_at).of_task(&job.task))
        }
        // By an earlier delivery.
        Ok(Verdict::Lost) => match jobs.read(&address.queue, address.job_id).await {
            Ok(seen) => seen.last.map(|last| last.accepted()),
            Err(error) => {
                tracing::warn!(job_id = %address.job_id, %error, "an existing job could not be read");
                None
            }
        },
        Ok(Verdict::Undecided) => {
            tracing::warn!(job_id = %address.job_id, "it is not known whether the job was made; trying again");
            None
        }
        Err(error) => {
            hop.fail("the job was not made");
            tracing::error!(job_id = %address.job_id, error = %anyhow::Error::new(error), "the job was not made");
            None
        }
    }
}
