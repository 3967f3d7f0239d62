//! One delivered message, from its arrival to its acknowledgement.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use opentelemetry::trace::SpanKind;
use windlass_broker::dead;
use windlass_broker::delivery::Delivered;
use windlass_broker::jobs::Address;
use windlass_broker::trace::{Hop, Relation, Subject};
use windlass_core::settle::{DeadCause, is_crash_loop};
use windlass_core::{JobError, JobState, Outcome, Transition};
use windlass_proto::{Job, v1};

use super::claim::open;
use super::context::{Context, Reason};
use super::execute::{Ended, execute};
use super::held::Held;
use super::settle::{self, RESULT_LIMIT_BYTES, ended_attempt};
use super::shared::Shared;
use super::stale;
use crate::failure::Failure;

/// How long a kind that nobody here handles stays away.
const UNKNOWN_KIND_DELAY: Duration = Duration::from_secs(5);
/// A job that waits longer than this before it may run starts a trace of its own, linked to its publisher's.
const LINK_AFTER: Duration = Duration::from_secs(60);

/// Deals with a message. Without `run` the job is only handed back, for a worker that stops.
pub(super) async fn process(shared: &Shared, delivered: Delivered, ack_wait: Duration, run: bool) {
    let broker = shared.client.broker();
    let subject = broker.names().parse_job_subject(&delivered.subject);
    let (subject, job) = match (subject, Job::decode(delivered.body.clone())) {
        (Some(subject), Ok(job)) => (subject, job),
        (_, decoded) => {
            let reason =
                decoded.err().map_or_else(|| "subject: is not a job's".to_owned(), |e| e.to_string());
            return malformed(shared, &delivered, reason).await;
        }
    };
    windlass_broker::failpoint::hit(windlass_broker::failpoint::Point::WorkerDelivered).await;
    let address = Address { queue: subject.queue, priority: subject.priority, job_id: subject.job_id };
    let Some(mut held) = open(shared, &delivered, address, job, ack_wait).await else { return };
    if !run {
        return settle::hand_back(shared, &mut held, None, None).await;
    }
    if is_crash_loop(&held.attempts) {
        return give_up(shared, &mut held, DeadCause::CrashLoop, "its worker was lost too often").await;
    }
    if !shared.handlers.contains_key(&held.job.task.kind) {
        // In hand-overs, not by the job's age: one that waited long must still meet a worker that knows its kind.
        let waited = UNKNOWN_KIND_DELAY * u32::try_from(held.delivery_count).unwrap_or(u32::MAX);
        if waited < shared.options.unknown_kind_patience {
            tracing::warn!(kind = %held.job.task.kind, "no handler for this kind; handing the job on");
            return settle::hand_back(shared, &mut held, None, Some(UNKNOWN_KIND_DELAY)).await;
        }
        return give_up(
            shared,
            &mut held,
            DeadCause::UnknownKind,
            "no worker of its queue has a handler for its kind",
        )
        .await;
    }
    attempt(shared, &mut held).await;
}

async fn give_up(shared: &Shared, held: &mut Held, cause: DeadCause, message: &str) {
    let error = JobError { message: message.to_owned(), code: cause.as_str().to_owned(), terminal: false };
    settle::end(shared, held, None, JobState::Dead, Bytes::new(), Some(error)).await;
}

async fn attempt(shared: &Shared, held: &mut Held) {
    let number = held.attempt_number();
    let started_at = Timestamp::now();
    let waited = started_at.duration_since(held.job.due_at).unsigned_abs();
    let queue = held.address.queue.to_string();
    metrics::histogram!("windlass_queue_wait_seconds", "queue" => queue.clone()).record(waited.as_secs_f64());

    let subject = Subject {
        job_id: held.address.job_id,
        kind: Some(&held.job.task.kind),
        queue: &held.address.queue,
        attempt: number,
    };
    let delayed = held.job.due_at.duration_since(held.job.accepted_at).unsigned_abs();
    let relation = if delayed > LINK_AFTER { Relation::Link } else { Relation::Child };
    Hop::start("wait", SpanKind::Internal, subject, held.trace, relation, Some(held.job.due_at.into())).end();
    let hop = Hop::start("process", SpanKind::Consumer, subject, held.trace, relation, None);

    let mut started = held.teller().event(Transition::Started, number, started_at);
    started.worker.clone_from(&shared.options.id);
    held.unsaid.begin(&shared.events, started);
    windlass_broker::failpoint::hit(windlass_broker::failpoint::Point::WorkerStarted).await;

    let task = &held.job.task;
    let context = Context::new(
        held.address.job_id,
        task.kind.clone(),
        held.address.queue.clone(),
        held.address.priority,
        number,
        held.attempt_timeout(shared),
        shared.client.clone(),
    );
    let registration = shared.running.register(held.token, &context);
    let Some(handler) = shared.handlers.get(&task.kind).cloned() else { return };
    let (payload, for_handler) = (task.payload.clone(), context.clone());
    // Inside the future, so that a panic before its first await is caught as well.
    let running = async move { (handler.run)(payload, for_handler).await };
    let (ended, stuck) = execute(shared, held, &context, &hop, running).await;

    windlass_broker::failpoint::hit(windlass_broker::failpoint::Point::WorkerHandlerEnded).await;
    let outcome = outcome_of(&ended);
    metrics::histogram!("messaging_process_duration_seconds", "queue" => queue.clone(), "outcome" => outcome)
        .record(Timestamp::now().duration_since(started_at).as_secs_f64());
    hop.set("windlass.job.outcome", outcome);
    if stuck.is_some() {
        tracing::error!(job_id = %held.address.job_id, kind = %task.kind, "a handler ignores its cancellation; its slot stays taken");
        metrics::counter!("windlass_stuck_handlers_total", "queue" => queue).increment(1);
    }
    drop(registration);
    let settling =
        Hop::start("settle", SpanKind::Client, subject, Some(hop.traceparent()), Relation::Child, None);
    settle_by(shared, held, started_at, ended, &hop).await;
    settling.end();
    drop(hop);
    if let Some(stuck) = stuck {
        // Its slot is not free; but a worker that stops does not wait for it.
        shared.hand_back.run_until_cancelled(stuck).await;
    }
}

async fn settle_by(shared: &Shared, held: &mut Held, started_at: Timestamp, ended: Ended, hop: &Hop) {
    let number = held.attempt_number();
    let attempt = |outcome, error| ended_attempt(shared, number, started_at, outcome, error);
    match ended {
        Ended::Returned(Ok(value)) if value.len() <= RESULT_LIMIT_BYTES => {
            let attempt = attempt(Outcome::Succeeded, None);
            settle::end(shared, held, Some(attempt), JobState::Succeeded, value, None).await;
        }
        Ended::Returned(Ok(value)) => {
            let bytes = value.len();
            let failure =
                Failure::new(format!("the result has {bytes} bytes: expected at most {RESULT_LIMIT_BYTES}"))
                    .code("result_too_large")
                    .terminal();
            hop.fail("the result is too large");
            settle::fail(shared, held, attempt(Outcome::Failed, Some(failure.into_error())), None).await;
        }
        Ended::Returned(Err(failure)) => {
            let delay = failure.delay();
            let error = failure.into_error();
            hop.fail(&error.message);
            settle::fail(shared, held, attempt(Outcome::Failed, Some(error)), delay).await;
        }
        Ended::Stopped(Reason::TimedOut) => {
            let seconds = held.attempt_timeout(shared).as_secs_f64();
            let error = Failure::new(format!("took longer than {seconds} s")).code("timeout").into_error();
            hop.fail(&error.message);
            settle::fail(shared, held, attempt(Outcome::TimedOut, Some(error)), None).await;
        }
        Ended::Stopped(Reason::Cancelled(reason)) => {
            let error = Failure::new(reason).code("cancelled").terminal().into_error();
            let attempt = attempt(Outcome::Cancelled, Some(error.clone()));
            settle::end(shared, held, Some(attempt), JobState::Cancelled, Bytes::new(), Some(error)).await;
        }
        Ended::Stopped(Reason::Draining) => {
            settle::hand_back(shared, held, Some(attempt(Outcome::HandedBack, None)), None).await;
        }
        Ended::Stopped(Reason::LeaseLost) => stale::refused(shared, held, "keep its lease").await,
    }
}

fn outcome_of(ended: &Ended) -> &'static str {
    match ended {
        Ended::Returned(Ok(_)) => "succeeded",
        Ended::Returned(Err(_)) => "failed",
        Ended::Stopped(Reason::TimedOut) => "timed_out",
        Ended::Stopped(Reason::Cancelled(_)) => "cancelled",
        Ended::Stopped(Reason::Draining) => "handed_back",
        Ended::Stopped(Reason::LeaseLost) => "lease_lost",
    }
}

/// A message that no dispatcher of ours wrote. Kept as a dead letter, so that nothing is lost and nothing loops.
async fn malformed(shared: &Shared, delivered: &Delivered, reason: String) {
    let broker = shared.client.broker();
    tracing::error!(subject = delivered.subject, reason, "a message in the stream of jobs is none");
    metrics::counter!("windlass_malformed_total", "stream" => "jobs").increment(1);
    let subject = broker.names().parse_job_subject(&delivered.subject);
    let (queue, job_id) = match subject {
        Some(subject) => (subject.queue, subject.job_id),
        None => (dead::unknown_queue(), delivered.derived_id()),
    };
    let letter = v1::DeadLetter {
        reason,
        code: "malformed".to_owned(),
        original_subject: delivered.subject.clone(),
        original_headers: delivered
            .header_lines()
            .into_iter()
            .map(|(name, value)| v1::Header { name: name.to_owned(), value: value.to_owned() })
            .collect(),
        original_body: delivered.body.clone(),
        dead_at: Some(windlass_proto::instant(Timestamp::now())),
        ..v1::DeadLetter::default()
    };
    match dead::publish(broker, &queue, job_id, letter).await {
        Ok(()) => {
            let _ = delivered.handle().ack().await;
        }
        Err(error) => tracing::error!(%error, "a dead letter was not stored; the message is delivered again"),
    }
}
