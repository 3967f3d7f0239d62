//! One delivered message, from its arrival to its acknowledgement.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use opentelemetry::trace::SpanKind;
use windlass_broker::dead;
use windlass_broker::delivery::Delivered;
use windlass_broker::jobs::{Address, Verdict};
use windlass_broker::trace::{Hop, Relation, Subject};
use windlass_core::expiry::is_expired;
use windlass_core::settle::{DeadCause, HandedOn, UNKNOWN_KIND_DELAY, is_crash_loop, runs_alone};
use windlass_core::{Event, JobError, JobState, Outcome, Transition};
use windlass_proto::{Job, v1};

use super::claim::{open, renew};
use super::context::{About, Context, Reason, Renewal};
use super::execute::{self, Ended, execute};
use super::held::Held;
use super::isolation::Place;
use super::lease;
use super::not_understood;
use super::payload::Loading;
use super::results;
use super::running::Doing;
use super::settle::{self, ended_attempt};
use super::shared::Shared;
use super::stale;
use crate::failure::{Failure, Follows};
use crate::handler::extract::Payload;

/// Before a job that found no place here is offered to another worker, or to this one again.
const NO_PLACE_DELAY: Duration = Duration::from_secs(1);
/// A job that waits longer than this before it may run starts a trace of its own, linked to its publisher's.
const LINK_AFTER: Duration = Duration::from_secs(60);

/// Deals with a message. Without `run` the job is only handed back, for a worker that stops.
pub(super) async fn process(shared: &Shared, delivered: Delivered, ack_wait: Duration, run: bool) {
    let broker = &shared.broker;
    let subject = broker.names().parse_job_subject(&delivered.subject);
    let address = subject.map(|s| Address { queue: s.queue, priority: s.priority, job_id: s.job_id });
    let (address, job) = match (address, Job::decode(delivered.body.clone())) {
        (Some(address), Ok(job)) => (address, job),
        (address, decoded) => {
            let error = decoded.err().unwrap_or_else(|| shared.jobs.not_a_job(&delivered.subject));
            return if error.is_unknown {
                let handing = not_understood::hand_on(shared, &delivered, address.as_ref(), &error, ack_wait);
                Box::pin(handing).await;
            } else {
                Box::pin(malformed(shared, &delivered, error.to_string())).await;
            };
        }
    };
    windlass_broker::failpoint::hit(windlass_broker::failpoint::Point::WorkerDelivered).await;
    if let Some(doing) = shared.running.doing(&address.queue, address.job_id, delivered.sequence)
        && Box::pin(is_kept(doing, &delivered, ack_wait)).await
    {
        return;
    }
    let Some(mut held) = open(shared, &delivered, address, job, ack_wait).await else { return };
    if !run {
        return Box::pin(settle::hand_back(shared, &mut held, None, None)).await;
    }
    if is_crash_loop(&held.attempts) {
        let message = "its worker was lost too often while it ran alone";
        return Box::pin(give_up(shared, &mut held, DeadCause::CrashLoop, message)).await;
    }
    if is_expired(&held.attempts, held.job.due_at, held.job.task.max_wait, shared.broker.now()) {
        return Box::pin(expire(shared, &mut held)).await;
    }
    if !shared.handlers.contains_key(&held.job.task.kind) {
        let now = Timestamp::now();
        let handed_on = HandedOn {
            times: held.delivery_count.load(Ordering::Relaxed).saturating_sub(1),
            since: *held.kind_unknown_since.get_or_insert(now),
        };
        if !handed_on.is_enough(now, shared.options.unknown_kind_patience) {
            tracing::warn!(kind = %held.job.task.kind, "no handler for this kind; handing the job on");
            return Box::pin(settle::hand_back(shared, &mut held, None, Some(UNKNOWN_KIND_DELAY))).await;
        }
        let message = "no worker of its queue has a handler for its kind";
        return Box::pin(give_up(shared, &mut held, DeadCause::UnknownKind, message)).await;
    }
    held.kind_unknown_since = None;
    let place = if runs_alone(&held.attempts) {
        Box::pin(alone(shared, &held)).await
    } else {
        shared.isolation.enter()
    };
    match place {
        Some(_place) => attempt(shared, &mut held).await,
        None => Box::pin(settle::hand_back(shared, &mut held, None, Some(NO_PLACE_DELAY))).await,
    }
}

/// Waits until nothing else runs here, and says that this job runs alone; none if that cannot be.
async fn alone<'a>(shared: &'a Shared, held: &Held) -> Option<Place<'a>> {
    let alone = shared.isolation.begin()?;
    tracing::info!(job_id = %held.address.job_id, "the job lost its worker twice: it runs alone in this process");
    // Longer with each hand-over, so that its turn comes even where every worker is busy with long work.
    let hand_overs = u32::try_from(held.delivery_count.load(Ordering::Relaxed).clamp(1, 100)).unwrap_or(100);
    let patience = shared.options.isolation_wait.saturating_mul(hand_overs);
    let place = tokio::select! {
        place = alone.acquire(patience) => place?,
        // The write below is refused, and its refusal dealt with.
        () = lease::keep(held, &shared.jobs) => return None,
        () = shared.hand_back.cancelled() => return None,
    };
    held.alone.store(true, Ordering::Relaxed);
    let checkpoint = held.checkpoint().clone();
    match renew(shared, held, v1::ClaimReason::Alone, checkpoint).await {
        Verdict::Won(_) => Some(place),
        // Handing back meets the same refusal and deals with it.
        Verdict::Lost | Verdict::Undecided => None,
    }
}

/// The job waited longer than it may.
async fn expire(shared: &Shared, held: &mut Held) {
    let waited = held.job.task.max_wait.unwrap_or_default();
    let queue = held.address.queue.to_string();
    metrics::counter!("windlass_jobs_expired_total", "queue" => queue).increment(1);
    let message = format!("no attempt began within {} s", waited.as_secs_f64());
    let error = JobError { message, code: "expired".to_owned(), terminal: true };
    settle::end(shared, held, None, JobState::Expired, Bytes::new(), Some(error)).await;
}

/// A message that this worker has already: its lease had ended, or the broker forgot that it had been delivered. True
/// if the attempt goes on, under a claim of its own; to claim the job for a second attempt would stop the first.
async fn is_kept(doing: Doing, delivered: &Delivered, ack_wait: Duration) -> bool {
    match doing {
        // What becomes of it is decided by the write that is on its way; the next delivery finds out.
        Doing::Settling => true,
        Doing::Running(context) => match context.renew(Renewal::Redelivered(delivered.count)).await {
            Ok(()) => {
                if let Err(error) = delivered.handle().extend(ack_wait / 6).await {
                    tracing::debug!(%error, "a lease was regained and not confirmed; its heartbeats go on");
                }
                true
            }
            // Another holds it: what is to become of this message is looked up.
            Err(_) if context.reason() == Some(&Reason::LeaseLost) => false,
            // The claim may come into force yet, or the attempt has just ended and is being settled.
            Err(_) => true,
        },
    }
}

async fn give_up(shared: &Shared, held: &mut Held, cause: DeadCause, message: &str) {
    let error = JobError { message: message.to_owned(), code: cause.as_str().to_owned(), terminal: false };
    settle::end(shared, held, None, JobState::Dead, Bytes::new(), Some(error)).await;
}

async fn attempt(shared: &Shared, held: &mut Held) {
    let number = held.attempt_number();
    let started_at = shared.broker.now();
    let waited = started_at.duration_since(held.job.due_at).unsigned_abs();
    let meter = shared.meters.of(&held.address.queue);
    meter.waited(waited);

    let subject = Subject {
        job_id: held.address.job_id,
        kind: Some(&held.job.task.kind),
        queue: &held.address.queue,
        attempt: number,
    };
    let delayed = held.job.due_at.duration_since(held.job.accepted_at).unsigned_abs();
    let relation = if delayed > LINK_AFTER { Relation::Link } else { Relation::Child };
    let hop = Hop::start("process", SpanKind::Consumer, subject, held.trace, relation, None);
    // Samplers decide by the trace: where this one is not recorded, those beside it and in it are not either.
    let is_recorded = hop.is_recorded();
    if is_recorded {
        let since = Some(held.job.due_at.into());
        Hop::start("wait", SpanKind::Internal, subject, held.trace, relation, since).end();
    }

    let event = started(shared, held, started_at);
    held.unsaid.begin(&shared.events, event);
    windlass_broker::failpoint::hit(windlass_broker::failpoint::Point::WorkerStarted).await;

    if held.job.expiry_sequence != 0 {
        let (jobs, timer) = (shared.jobs.clone(), held.job.expiry_sequence);
        // It has begun in time. Left there, the timer would fire and find that out.
        tokio::spawn(async move { jobs.delete(timer).await });
    }
    let task = &held.job.task;
    let Some(handler) = shared.handlers.get(&task.kind).cloned() else { return };
    let (context, saves) = Context::new(About {
        job_id: held.address.job_id,
        kind: task.kind.clone(),
        queue: held.address.queue.clone(),
        priority: held.address.priority,
        attempt: number,
        timeout: held.attempt_timeout(shared),
        checkpoint: held.checkpoint().clone(),
        client: shared.client.with_parent(held.address.queue.clone(), held.address.job_id),
        codec: shared.options.codec.clone(),
    });
    let had = shared.running.have(&held.address.queue, held.address.job_id, held.work);
    let registration = shared.running.register(held.token(), &context);
    let (loading, for_handler) = (Loading::of(shared, held), context.clone());
    let content_type = task.content_type.clone();
    // Inside the future, so that a panic before its first await is caught as well.
    let running = async move {
        let bytes = Box::pin(loading.load()).await?;
        for_handler.load(Payload { bytes: bytes.clone(), content_type });
        (handler.run)(bytes, for_handler).await
    };
    let begun = execute::Attempt { shared, held, context: &context, saves, registration };
    let (ended, stuck) = execute(begun, &hop, running).await;
    let (progress, lines) = context.take_told();
    shared.events.tell(progress, lines);

    windlass_broker::failpoint::hit(windlass_broker::failpoint::Point::WorkerHandlerEnded).await;
    let outcome = outcome_of(&ended);
    meter.processed(outcome, shared.broker.now().duration_since(started_at).as_secs_f64().max(0.0));
    hop.set("windlass.job.outcome", outcome);
    if stuck.is_some() {
        tracing::error!(job_id = %held.address.job_id, kind = %task.kind, "a handler ignores its cancellation; its slot stays taken");
        let queue = held.address.queue.to_string();
        metrics::counter!("windlass_stuck_handlers_total", "queue" => queue).increment(1);
    }
    let span = is_recorded.then(|| {
        Hop::start("settle", SpanKind::Client, subject, Some(hop.traceparent()), Relation::Child, None)
    });
    settle_by(shared, held, started_at, ended, &hop).await;
    drop(span);
    drop(had);
    drop(hop);
    if let Some(stuck) = stuck {
        shared.stuck.fetch_add(1, Ordering::Relaxed);
        // Its slot is not free; but a worker that stops does not wait for it.
        shared.hand_back.run_until_cancelled(stuck.ended()).await;
        shared.stuck.fetch_sub(1, Ordering::Relaxed);
    }
}

fn started(shared: &Shared, held: &Held, at: Timestamp) -> Event {
    Event {
        worker: shared.options.id.clone(),
        alone: held.is_alone(),
        ..held.teller().event(Transition::Started, held.attempt_number(), at)
    }
}

async fn settle_by(shared: &Shared, held: &mut Held, started_at: Timestamp, ended: Ended, hop: &Hop) {
    match ended {
        Ended::Returned(Ok(value)) => match results::store(shared, held, value).await {
            Ok(result) => {
                let attempt = ended_attempt(shared, held, started_at, Outcome::Succeeded, None);
                settle::end(shared, held, Some(attempt), JobState::Succeeded, result, None).await;
            }
            Err(failure) => Box::pin(settle_failure(shared, held, started_at, failure, hop)).await,
        },
        Ended::Returned(Err(failure)) => {
            Box::pin(settle_failure(shared, held, started_at, failure, hop)).await;
        }
        Ended::Stopped(Reason::TimedOut) => {
            let seconds = held.attempt_timeout(shared).as_secs_f64();
            let error = Failure::new(format!("took longer than {seconds} s")).code("timeout").into_error();
            hop.fail(&error.message);
            let attempt = ended_attempt(shared, held, started_at, Outcome::TimedOut, Some(error));
            Box::pin(settle::fail(shared, held, attempt, None)).await;
        }
        Ended::Stopped(Reason::Cancelled(reason)) => {
            let failure = Failure::cancel(reason).in_clear();
            Box::pin(settle_failure(shared, held, started_at, failure, hop)).await;
        }
        Ended::Stopped(Reason::Draining) => {
            let attempt = ended_attempt(shared, held, started_at, Outcome::HandedBack, None);
            Box::pin(settle::hand_back(shared, held, Some(attempt), None)).await;
        }
        Ended::Stopped(Reason::Recalled(_)) => {
            let attempt = ended_attempt(shared, held, started_at, Outcome::HandedBack, None);
            Box::pin(settle::recalled(shared, held, attempt)).await;
        }
        Ended::Stopped(Reason::LeaseLost) => {
            Box::pin(stale::refused(shared, held, "keep its lease")).await;
        }
    }
}

/// After a failure, as it says what follows.
async fn settle_failure(
    shared: &Shared,
    held: &mut Held,
    started_at: Timestamp,
    failure: Failure,
    hop: &Hop,
) {
    let follows = failure.follows();
    let attempt = |outcome, error| ended_attempt(shared, held, started_at, outcome, error);
    match follows {
        Follows::Snooze(delay) => {
            let attempt = attempt(Outcome::Snoozed, None);
            settle::snooze(shared, held, attempt, delay).await;
        }
        Follows::Throttle(delay) => {
            settle::slow_down(shared, held, delay).await;
            let attempt = attempt(Outcome::Snoozed, None);
            settle::snooze(shared, held, attempt, delay).await;
        }
        Follows::Cancellation => {
            let error = results::error(shared, held, failure);
            let attempt = attempt(Outcome::Cancelled, Some(error.clone()));
            settle::end(shared, held, Some(attempt), JobState::Cancelled, Bytes::new(), Some(error)).await;
        }
        Follows::Retry | Follows::RetryAfter(_) | Follows::Death => {
            let delay = if let Follows::RetryAfter(delay) = follows { Some(delay) } else { None };
            let error = results::error(shared, held, failure);
            hop.fail(&error.message);
            let attempt = attempt(Outcome::Failed, Some(error));
            settle::fail(shared, held, attempt, delay).await;
        }
    }
}

fn outcome_of(ended: &Ended) -> &'static str {
    match ended {
        Ended::Returned(Ok(_)) => "succeeded",
        Ended::Returned(Err(failure)) => match failure.follows() {
            Follows::Snooze(_) | Follows::Throttle(_) => "snoozed",
            Follows::Cancellation => "cancelled",
            Follows::Retry | Follows::RetryAfter(_) | Follows::Death => "failed",
        },
        Ended::Stopped(Reason::TimedOut) => "timed_out",
        Ended::Stopped(Reason::Cancelled(_)) => "cancelled",
        Ended::Stopped(Reason::Draining | Reason::Recalled(_)) => "handed_back",
        Ended::Stopped(Reason::LeaseLost) => "lease_lost",
    }
}

/// A message that no dispatcher of ours wrote. Kept as a dead letter, so that nothing is lost and nothing loops.
async fn malformed(shared: &Shared, delivered: &Delivered, reason: String) {
    let broker = &shared.broker;
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
        dead_at: Some(windlass_proto::instant(shared.broker.now())),
        ..v1::DeadLetter::default()
    };
    match dead::publish(broker, &queue, job_id, letter).await {
        Ok(()) => {
            let _ = delivered.handle().ack().await;
        }
        Err(error) => tracing::error!(%error, "a dead letter was not stored; the message is delivered again"),
    }
}
