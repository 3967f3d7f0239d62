//! From a delivered message to the right to run it.

use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use windlass_broker::absence::{SLACK, Signs};
use windlass_broker::delivery::Delivered;
use windlass_broker::jobs::{Address, Change, Seen, Verdict, nonce};
use windlass_core::admission::outcome_is_known;
use windlass_core::attempt::{next_number, push_bounded};
use windlass_core::protocol::{self, Opening, Stale, Standing};
use windlass_core::{Attempt, JobError, RecordKind};
use windlass_proto::{Claim, Job, RecordBody, v1};

use super::held::{Held, WRITE_TIMEOUT};
use super::shared::Shared;
use super::stale::{not_mine, read, refused};
use super::unsaid::Unsaid;

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
        token: work,
        attempts: job.attempts.clone(),
        trace: delivered.trace(),
        handle: delivered.handle().clone(),
        delivery_count: delivered.count,
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
    let seen = read(shared, &held.address).await?;
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
            Timestamp::now().duration_since(last.stored_at).unsigned_abs(),
            ack_wait,
        )
    {
        not_mine(shared, &held, seen, Stale::Abandon, "claim").await;
        return None;
    }
    held.attempts = last.body.attempts().to_vec();
    let now = Timestamp::now();
    let (holder, handed_back) = match &last.body {
        RecordBody::Claim(claim) => (claim.worker.clone(), claim.reason == v1::ClaimReason::HandBack),
        // A first holder leaves its name in an event only.
        _ => (String::new(), false),
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
        };
        push_bounded(&mut held.attempts, crash);
    }
    let nonce = nonce();
    let claim = Claim {
        work_sequence: held.work,
        worker: shared.options.id.clone(),
        reason: if delivered.count > 1 { v1::ClaimReason::Redelivered } else { v1::ClaimReason::Suspect },
        claimed_at: now,
        attempts: held.attempts.clone(),
        kind: held.job.task.kind.clone(),
        accepted_at: held.job.accepted_at,
        nonce: nonce.clone(),
        delivery_count: delivered.count,
    };
    if !delivered.is_fresh(ack_wait) {
        tracing::info!(job_id = %held.address.job_id, "a delivery is too old to be claimed");
        return None;
    }
    let deadline = (delivered.received_at + ack_wait).min(Instant::now() + WRITE_TIMEOUT);
    // It outlasts the attempt, and whoever might still hold the token that it replaced.
    let ttl = held.attempt_timeout(shared) + shared.options.horizon;
    match write_claim(shared, &held, token, claim.encode(), &nonce, ttl, deadline).await {
        Verdict::Won(sequence) => held.token = sequence,
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
    let past = held.attempts.iter().filter(|a| a.number >= first).map(|a| held.teller().attempt_ended(a));
    held.unsaid.add(past.collect());
    Some(held)
}

/// Whether this work may be of a job that ended before an absence of all dispatchers, and was forgotten in it.
async fn may_repeat(shared: &Shared, delivered: &Delivered) -> bool {
    let horizon = shared.options.horizon;
    let now = Timestamp::now();
    if now.duration_since(delivered.published_at).unsigned_abs() < horizon {
        return false;
    }
    let absence = match Signs::read(shared.client.broker()).await {
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

/// Writes a claim of the held work, on the work itself or on an earlier claim of it; an error of the broker's leaves it undecided.
pub(super) async fn write_claim(
    shared: &Shared,
    held: &Held,
    token: u64,
    body: bytes::Bytes,
    nonce: &bytes::Bytes,
    ttl: Duration,
    deadline: Instant,
) -> Verdict {
    let change = Change {
        address: &held.address,
        token,
        record: RecordKind::Claim,
        body,
        nonce,
        trace: held.trace,
        ttl: Some(ttl),
        timer: None,
        purge: None,
    };
    let verdict = shared.jobs.write(change, deadline).await.unwrap_or_else(|error| {
        tracing::error!(job_id = %held.address.job_id, %error, "a claim was not written");
        Verdict::Undecided
    });
    if token != held.work && matches!(verdict, Verdict::Won(_)) {
        // This one stands in the place of an earlier claim. If the deletion does not come through, that expires.
        let jobs = shared.jobs.clone();
        tokio::spawn(async move { jobs.delete(token).await });
    }
    verdict
}
