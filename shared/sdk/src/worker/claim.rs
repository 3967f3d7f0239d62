//! From a delivered message to the right to run it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use windlass_broker::absence::{SLACK, Signs};
use windlass_broker::delivery::Delivered;
use windlass_broker::jobs::{Address, Change, Seen, Verdict, nonce};
use windlass_core::admission::outcome_is_known;
use windlass_core::attempt::{next_number, push_bounded, without_messages};
use windlass_core::protocol::{self, Opening, Stale, Standing};
use windlass_core::{Attempt, JobError, RecordKind};
use windlass_proto::{Claim, Job, RecordBody, v1};

use super::held::{Held, WRITE_TIMEOUT};
use super::not_understood;
use super::shared::Shared;
use super::stale::{not_mine, refused};
use super::unsaid::Unsaid;
use crate::failure::chain;

/// Checks and claims as the protocol asks; none if the job is not ours, and the message has been dealt with.
pub(super) async fn open(
    shared: &Shared,
    delivered: &Delivered,
    address: Address,
    job: Job,
    ack_wait: Duration,
) -> Option<Held> {
    let work = delivered.sequence;
    let held = Held {
        work,
        token: AtomicU64::new(work),
        claiming: AtomicBool::new(false),
        attempts: job.attempts.clone(),
        checkpoint: Mutex::new(job.checkpoint.clone()),
        alone: AtomicBool::new(false),
        kind_unknown_since: None,
        trace: delivered.trace(),
        handle: delivered.handle().clone(),
        delivery_count: AtomicU64::new(delivered.count),
        ack_wait,
        confirmed_at: Mutex::new(delivered.received_at),
        unsaid: Unsaid::default(),
        address,
        job,
    };
    let opening = protocol::opening(delivered.delivery());
    if opening == Opening::Run {
        // Started later, it could run beside the holder that the broker gave it to since, or after its end.
        if held.is_leased() {
            return Some(held);
        }
        tracing::info!(job_id = %held.address.job_id, "a delivery is too old to be run");
        return None;
    }
    Box::pin(look(shared, delivered, held, opening)).await
}

/// As the protocol asks where a delivery may not be the first, by what stands in the stream.
async fn look(shared: &Shared, delivered: &Delivered, held: Held, opening: Opening) -> Option<Held> {
    let work = held.work;
    let Address { queue, job_id, .. } = &held.address;
    if opening == Opening::Check && shared.jobs.is_in_force(work, queue, *job_id).await {
        return Some(held);
    }
    let seen = not_understood::read(shared, delivered, &held.address, held.ack_wait).await?;
    let standing = match opening {
        Opening::Run | Opening::Check => protocol::check(work, &seen.view),
        Opening::Claim => protocol::claim(work, &seen.view),
    };
    match (standing, opening) {
        (Standing::NotMine(stale), _) => {
            not_mine(shared, &held, &seen, stale, "run").await;
            None
        }
        (Standing::Mine { .. }, Opening::Run | Opening::Check) => Some(held),
        (Standing::Mine { token }, Opening::Claim) => claim(shared, delivered, held, &seen, token).await,
    }
}

async fn claim(
    shared: &Shared,
    delivered: &Delivered,
    mut held: Held,
    seen: &Seen,
    token: u64,
) -> Option<Held> {
    let ack_wait = held.ack_wait;
    let last = seen.last.as_ref()?;
    if let RecordBody::Claim(claim) = &last.body
        && protocol::is_outdated(
            delivered.delivery(),
            claim.delivery_count,
            shared.broker.now().duration_since(last.stored_at).unsigned_abs(),
            ack_wait,
        )
    {
        not_mine(shared, &held, seen, Stale::Abandon, "claim").await;
        return None;
    }
    held.attempts = last.body.attempts().to_vec();
    let now = shared.broker.now();
    let (holder, handed_back, alone) = match &last.body {
        RecordBody::Claim(claim) => {
            *held.checkpoint() = claim.checkpoint.clone();
            held.kind_unknown_since = claim.kind_unknown_since;
            (claim.worker.clone(), claim.reason == v1::ClaimReason::HandBack, claim.alone)
        }
        // A first holder leaves its name in an event only.
        _ => (String::new(), false, false),
    };
    let lost = protocol::lost_attempt(delivered.delivery(), last.record.kind, handed_back);
    if let Some(outcome) = lost {
        let message = if may_repeat(shared, delivered).await {
            "the worker was lost, or lost its lease; the job may have ended and been forgotten since, so that the next \
             attempt may repeat a finished job"
        } else {
            "the worker was lost, or lost its lease"
        };
        let crash = Attempt {
            number: held.attempt_number(),
            worker: holder,
            started_at: None,
            ended_at: now,
            outcome,
            error: Some(JobError {
                message: message.to_owned(),
                code: "worker_lost".to_owned(),
                terminal: false,
            }),
            alone,
            failure: 0,
        };
        push_bounded(&mut held.attempts, crash);
    }
    if !delivered.is_fresh(ack_wait) {
        tracing::info!(job_id = %held.address.job_id, "a delivery is too old to be claimed");
        return None;
    }
    let reason = if delivered.count > 1 { v1::ClaimReason::Redelivered } else { v1::ClaimReason::Suspect };
    let deadline = (delivered.received_at + ack_wait).min(Instant::now() + WRITE_TIMEOUT);
    let restated = Restated {
        on: token,
        reason,
        attempts: held.attempts.clone(),
        checkpoint: held.checkpoint().clone(),
    };
    match restate(shared, &held, restated, deadline).await {
        Verdict::Won(_) => {}
        Verdict::Undecided => return None,
        Verdict::Lost => {
            refused(shared, &held, "claim").await;
            return None;
        }
    }
    windlass_broker::failpoint::hit(windlass_broker::failpoint::Point::WorkerClaimed).await;
    if let (Some(_), Some(crash)) = (lost, held.attempts.last()) {
        metrics::counter!("windlass_crashes_total", "queue" => held.address.queue.to_string()).increment(1);
        tracing::warn!(job_id = %held.address.job_id, attempt = crash.number, worker = crash.worker,
            "the job's former worker was lost; running it again");
    }
    // Also what an earlier claim has told: its writer may not have said it.
    let first = next_number(&held.job.attempts);
    let past: Vec<_> = held.attempts.iter().filter(|a| a.number >= first).cloned().collect();
    let past = held.teller().attempts_ended(&past).collect();
    held.unsaid.add(past);
    Some(held)
}

/// Whether this work may be of a job that ended before an absence of all dispatchers, and was forgotten in it.
async fn may_repeat(shared: &Shared, delivered: &Delivered) -> bool {
    let horizon = shared.options.horizon;
    let now = shared.broker.now();
    if now.duration_since(delivered.published_at).unsigned_abs() < horizon {
        return false;
    }
    let absence = match Signs::read(&shared.broker).await {
        Ok(signs) => signs.present(now).or(signs.absence),
        Err(error) => {
            tracing::warn!(%error, "the dispatchers' signs of life cannot be read");
            None
        }
    };
    let may_repeat = !outcome_is_known(delivered.published_at, false, absence, horizon, SLACK);
    if may_repeat {
        metrics::counter!("windlass_possible_repeats_total").increment(1);
    }
    may_repeat
}

/// What a claim says of a job that this worker holds, or is about to.
pub(super) struct Restated {
    /// The sequence that must still be last.
    pub(super) on: u64,
    pub(super) reason: v1::ClaimReason,
    pub(super) attempts: Vec<Attempt>,
    pub(super) checkpoint: Bytes,
}

/// How long a hand-back is remembered while no worker takes the job: without it the next one would count a crash.
pub(super) const HAND_BACK_TTL: Duration = Duration::from_secs(28 * 86_400);

/// Writes a claim of the held work, on the work itself or on an earlier claim of it. If it is in force, it is our token
/// from then on. An error of the broker's leaves it undecided.
pub(super) async fn restate(shared: &Shared, held: &Held, restated: Restated, deadline: Instant) -> Verdict {
    let Restated { on, reason, attempts, checkpoint } = restated;
    let nonce = nonce();
    let claim = Claim {
        work_sequence: held.work,
        worker: shared.options.id.clone(),
        reason,
        claimed_at: shared.broker.now(),
        attempts,
        kind: held.job.task.kind.clone(),
        accepted_at: held.job.accepted_at,
        nonce: nonce.clone(),
        delivery_count: held.delivery_count.load(Ordering::Relaxed),
        checkpoint: checkpoint.clone(),
        alone: held.is_alone(),
        kind_unknown_since: held.kind_unknown_since,
    };
    // It outlasts the attempt, and whoever might still hold the token that it replaced.
    let ttl = match reason {
        v1::ClaimReason::HandBack => HAND_BACK_TTL,
        _ => held.attempt_timeout(shared) + shared.options.horizon,
    };
    let change = Change {
        address: &held.address,
        token: on,
        record: RecordKind::Claim,
        body: claim.encode(),
        nonce: &nonce,
        trace: held.trace,
        ttl: Some(ttl),
        timer: None,
        purge: None,
    };
    held.claiming.store(true, Ordering::Release);
    let mut written = shared.jobs.write(change.clone(), deadline).await;
    if written.as_ref().is_err_and(windlass_broker::jobs::Error::is_too_large) {
        let claim = Claim { attempts: without_messages(&claim.attempts), ..claim };
        written = shared.jobs.write(Change { body: claim.encode(), ..change }, deadline).await;
    }
    let verdict = written.unwrap_or_else(|error| {
        let error = chain(&error);
        tracing::error!(job_id = %held.address.job_id, error, "a claim was not written");
        Verdict::Undecided
    });
    if let Verdict::Won(Some(token)) = verdict {
        held.token.store(token, Ordering::Release);
        *held.checkpoint() = checkpoint;
        if on != held.work {
            // This one stands in the place of an earlier claim. If the deletion does not come through, that expires.
            let jobs = shared.jobs.clone();
            tokio::spawn(async move { jobs.delete(on).await });
        }
    }
    held.claiming.store(false, Ordering::Release);
    verdict
}

/// Restates a job that we hold, with what has changed since.
pub(super) async fn renew(
    shared: &Shared,
    held: &Held,
    reason: v1::ClaimReason,
    checkpoint: Bytes,
) -> Verdict {
    let restated = Restated { on: held.token(), reason, attempts: held.attempts.clone(), checkpoint };
    restate(shared, held, restated, Instant::now() + WRITE_TIMEOUT).await
}
