//! The attempts that run, so that they can be told to stop.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use windlass_core::{JobId, QueueName};

use super::context::{Context, Reason};

/// By token: a job may be claimed anew by its own worker.
#[derive(Debug, Default)]
pub(crate) struct Running {
    by_token: Mutex<HashMap<(QueueName, JobId, u64), Context>>,
}

/// Registered until dropped.
#[derive(Debug)]
pub(crate) struct Registration<'a> {
    running: &'a Running,
    key: (QueueName, JobId, u64),
}

// === impl Running ===

impl Running {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(QueueName, JobId, u64), Context>> {
        // The map is whole between calls, whoever panicked.
        self.by_token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn register(&self, token: u64, context: &Context) -> Registration<'_> {
        let key = (context.queue().clone(), context.job_id(), token);
        self.lock().insert(key.clone(), context.clone());
        Registration { running: self, key }
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// The jobs of a queue, with their tokens.
    pub(crate) fn of_queue(&self, queue: &QueueName) -> Vec<(JobId, u64)> {
        self.lock().keys().filter(|(q, ..)| q == queue).map(|(_, id, token)| (*id, *token)).collect()
    }

    /// Tells the holder of this token that its job was cancelled.
    pub(crate) fn cancel(&self, queue: &QueueName, job_id: JobId, token: u64, reason: &str) {
        if let Some(context) = self.lock().get(&(queue.clone(), job_id, token)) {
            tracing::info!(%job_id, reason, "cancelling the running attempt");
            context.cancel(Reason::Cancelled(reason.to_owned()));
        }
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.running.lock().remove(&self.key);
    }
}
