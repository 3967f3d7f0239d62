//! From a delivered message to the right to run it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use windlass_broker::absence::{SLACK, Signs};
use windlass_broker::delivery::{Delivered, Handle};
use windlass_broker::jobs::{Address, Change, Seen, Verdict, nonce};
use windlass_core::admission::outcome_is_known;
use windlass_core::attempt::{next_number, push_bounded};
use windlass_core::protocol::{self, Opening, Stale, Standing};
use windlass_core::trace::TraceParent;
use windlass_core::{Attempt, JobError, RecordKind, Transition};
use windlass_proto::{Claim, Job, RecordBody, Teller, v1};

use super::unsaid::Unsaid;
use super::{Shared, settle};

/// For a conditional write, a leader's loss included.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(25);

/// A job that this worker holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) address: Address,
    pub(super) job: Job,
    /// Sequence of the work message.
    pub(super) work: u64,
    /// The fencing token: that sequence, or the one of our claim.
    pub(super) token: u64,
    /// Every earlier attempt, crashes that we found included.
    pub(super) attempts: Vec<Attempt>,
    pub(super) trace: Option<TraceParent>,
    pub(super) handle: Handle,
    /// The broker's count of this delivery.
    pub(super) delivery_count: u64,
    pub(super) ack_wait: Duration,
    /// When the broker last confirmed the lease; at first, when the message arrived.
    pub(super) confirmed_at: Mutex<Instant>,
    /// What is to be said of it, and stored before the message is acknowledged.
    pub(super) unsaid: Unsaid,
}

// === impl Held ===

impl Held {
    pub(super) fn attempt_number(&self) -> u32 {
        next_number(&self.attempts)
    }

    /// The broker has confirmed the lease just now.
    pub(super) fn confirm(&self) {
        *self.confirmed_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Whether the broker has confirmed the lease within its time. If not, another may have been given the message.
    pub(super) fn is_leased(&self) -> bool {
        let confirmed_at = *self.confirmed_at.lock().unwrap_or_else(PoisonError::into_inner);
        confirmed_at.elapsed() < self.ack_wait
    }

    /// Who tells events of this job.
    pub(super) fn teller(&self) -> Teller<'_> {
        Teller {
            queue: &self.address.queue,
            job_id: self.address.job_id,
            priority: self.address.priority,
            kind: &self.job.task.kind,
            accepted_at: self.job.accepted_at,
            trace: self.trace,
        }
    }

    pub(super) fn attempt_timeout(&self, shared: &Shared) -> Duration {
        self.job.task.attempt_timeout.unwrap_or(shared.options.attempt_timeout)
    }
}

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

pub(super) async fn read(shared: &Shared, address: &Address) -> Option<Seen> {
    match shared.jobs.read(&address.queue, address.job_id).await {
        Ok(seen) => Some(seen),
        Err(error) => {
            // Unacknowledged: it is delivered again.
            tracing::warn!(job_id = %address.job_id, %error, "a job could not be read");
            None
        }
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
    if let protocol::Kind::Claim { .. } = last.record.kind {
        // Ours stands in its place. If this does not come through, it expires.
        let (jobs, replaced) = (shared.jobs.clone(), last.record.sequence);
        tokio::spawn(async move { jobs.delete(replaced).await });
    }
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

/// Writes a claim of the held work; an error of the broker's leaves it undecided.
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
    shared.jobs.write(change, deadline).await.unwrap_or_else(|error| {
        tracing::error!(job_id = %held.address.job_id, %error, "a claim was not written");
        Verdict::Undecided
    })
}

/// After the broker refused our token: finds out what that means for the message.
pub(super) async fn refused(shared: &Shared, held: &Held, tried: &'static str) {
    if let Some(seen) = read(shared, &held.address).await {
        let stale = protocol::refused(held.work, &seen.view);
        not_mine(shared, held, &seen, stale, tried).await;
    }
}

async fn not_mine(shared: &Shared, held: &Held, seen: &Seen, stale: Stale, tried: &'static str) {
    let queue = held.address.queue.to_string();
    metrics::counter!("windlass_refusals_total", "queue" => queue, "tried" => tried).increment(1);
    tracing::info!(job_id = %held.address.job_id, token = held.token, tried, ?stale, "not the holder of this job");
    let mut event = held.teller().event(Transition::Refused, held.attempt_number(), Timestamp::now());
    event.worker.clone_from(&shared.options.id);
    event.note = format!("tried to {tried} with token {}, which is not valid any more", held.token);
    let said = shared.events.record(event).await.is_ok();
    if stale == Stale::Acknowledge && said && settle::again(shared, held, seen).await {
        let _ = held.handle.ack().await;
    }
}
