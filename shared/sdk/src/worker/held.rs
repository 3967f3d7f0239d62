//! A job that this worker holds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::Instant;
use windlass_broker::delivery::Handle;
use windlass_broker::jobs::Address;
use windlass_core::Attempt;
use windlass_core::attempt::next_number;
use windlass_core::trace::TraceParent;
use windlass_proto::{Job, Teller};

use super::shared::Shared;
use super::unsaid::Unsaid;

/// For a conditional write, a leader's loss included.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(25);

/// A job that this worker holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) address: Address,
    pub(super) job: Job,
    /// Sequence of the work message.
    pub(super) work: u64,
    /// The fencing token: that sequence, or the one of our last claim.
    pub(super) token: AtomicU64,
    /// A claim of ours is on its way: the token may be another from one moment to the next.
    pub(super) claiming: AtomicBool,
    /// Every earlier attempt, crashes that we found included.
    pub(super) attempts: Vec<Attempt>,
    /// What the handler saved last, in this attempt or before; empty if nothing.
    pub(super) checkpoint: Mutex<Bytes>,
    /// It runs with no neighbour in this process.
    pub(super) alone: AtomicBool,
    /// Since when it is handed on because nobody has a handler for its kind.
    pub(super) kind_unknown_since: Option<Timestamp>,
    pub(super) trace: Option<TraceParent>,
    pub(super) handle: Handle,
    /// The broker's count of this delivery.
    pub(super) delivery_count: AtomicU64,
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

    pub(super) fn token(&self) -> u64 {
        self.token.load(Ordering::Acquire)
    }

    pub(super) fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Relaxed)
    }

    /// Locked for a moment only.
    pub(super) fn checkpoint(&self) -> MutexGuard<'_, Bytes> {
        self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The broker has confirmed the lease just now.
    pub(super) fn confirm(&self) {
        *self.confirmed_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// When the broker last confirmed the lease.
    pub(super) fn confirmed_at(&self) -> Instant {
        *self.confirmed_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the broker has confirmed the lease within its time. If not, another may have been given the message.
    pub(super) fn is_leased(&self) -> bool {
        self.confirmed_at().elapsed() < self.ack_wait
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
