//! What a handler may know of its attempt.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use windlass_core::{JobId, Kind, Priority, QueueName};

use crate::client::Client;

/// An attempt, as its handler sees it. Clones are the same attempt.
#[derive(Debug, Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    job_id: JobId,
    kind: Kind,
    queue: QueueName,
    priority: Priority,
    attempt: u32,
    timeout: Duration,
    cancelled: CancellationToken,
    reason: OnceLock<Reason>,
    client: Client,
}

/// Why an attempt should stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It took longer than it may.
    TimedOut,
    /// Somebody cancelled the job, with these words.
    Cancelled(String),
    /// Another worker may have the job now: whatever this attempt returns is refused.
    LeaseLost,
    /// The worker stops; the job will run again elsewhere.
    Draining,
}

// === impl Context ===

impl Context {
    pub(crate) fn new(
        job_id: JobId,
        kind: Kind,
        queue: QueueName,
        priority: Priority,
        attempt: u32,
        timeout: Duration,
        client: Client,
    ) -> Self {
        let inner = Inner {
            job_id,
            kind,
            queue,
            priority,
            attempt,
            timeout,
            cancelled: CancellationToken::new(),
            reason: OnceLock::new(),
            client,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The job.
    pub fn job_id(&self) -> JobId {
        self.inner.job_id
    }

    /// Its kind.
    pub fn kind(&self) -> &Kind {
        &self.inner.kind
    }

    /// Its queue.
    pub fn queue(&self) -> &QueueName {
        &self.inner.queue
    }

    /// Its priority, for tasks that it leads to.
    pub fn priority(&self) -> Priority {
        self.inner.priority
    }

    /// Which attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.inner.attempt
    }

    /// Time allowed for this attempt.
    pub fn timeout(&self) -> Duration {
        self.inner.timeout
    }

    /// Resolves when the attempt should stop; [`Context::reason`] says why.
    pub async fn cancelled(&self) {
        self.inner.cancelled.cancelled().await;
    }

    /// Whether the attempt should stop.
    pub fn is_cancelled(&self) -> bool {
        self.inner.cancelled.is_cancelled()
    }

    /// Why it should stop, if it should.
    pub fn reason(&self) -> Option<&Reason> {
        self.inner.reason.get()
    }

    /// For tasks that this one leads to: they belong to the same trace.
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// The first reason stands.
    pub(crate) fn cancel(&self, reason: Reason) {
        let _ = self.inner.reason.set(reason);
        self.inner.cancelled.cancel();
    }
}
