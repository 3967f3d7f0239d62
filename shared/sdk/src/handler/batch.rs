//! Handlers that take several jobs of a kind at once: one statement for many rows, one request for many messages.
//!
//! Each job stays a job of its own, with its lease, its outcome and its retries; a batch is only how they are run. It
//! is gathered from what the worker runs at the moment, so a worker needs at least as many slots as a batch is to have.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::extract::{FromRef, State};
use super::{Job, Returned, json};
use crate::failure::Failure;
use crate::worker::context::Context;

/// When a batch is complete.
#[derive(Debug, Clone, Copy)]
pub struct BatchOptions {
    /// The most jobs of one batch.
    pub max_size: usize,
    /// How long the first job of a batch waits for others.
    pub max_delay: Duration,
}

/// One job of a batch.
#[derive(Debug)]
pub struct BatchItem<J> {
    /// What to work on.
    pub job: J,
    /// Its attempt: an attempt that was cancelled meanwhile may be left out.
    pub context: Context,
}

/// A function that works on several jobs. Implemented for
/// `async fn(Vec<BatchItem<J>>) -> Result<Vec<Result<R, Failure>>, Failure>`, and with a `State<T>` after the jobs: one
/// outcome for each job, in the order of the jobs, or one failure of all.
#[diagnostic::on_unimplemented(
    message = "this is not a batch handler for a worker with state `{S}`",
    note = "a batch handler is `async fn(Vec<BatchItem<J>>) -> Result<Vec<Result<R, Failure>>, Failure>`, with a `State<T>` behind the jobs if it needs one"
)]
pub trait BatchHandler<S, M>: Clone + Send + Sync + 'static {
    /// What its items hold.
    type Job: Job;

    /// Runs it.
    fn call(
        self,
        items: Vec<BatchItem<Self::Job>>,
        state: Arc<S>,
    ) -> impl Future<Output = Result<Vec<Returned>, Failure>> + Send;
}

macro_rules! batch_handler {
    ($($state:ident)?) => {
        impl<S, F, J, R, Fut, $($state,)?> BatchHandler<S, (J, R, Fut, $($state,)?)> for F
        where
            S: Send + Sync + 'static,
            F: Fn(Vec<BatchItem<J>>, $(State<$state>)?) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Result<Vec<Result<R, Failure>>, Failure>> + Send,
            J: Job,
            R: Serialize + Send,
            $($state: FromRef<S> + Send,)?
        {
            type Job = J;

            #[allow(unused_variables)]
            async fn call(self, items: Vec<BatchItem<J>>, state: Arc<S>) -> Result<Vec<Returned>, Failure> {
                let outcomes = self(items, $(State($state::from_ref(&state)))?).await?;
                Ok(outcomes.into_iter().map(json).collect())
            }
        }
    };
}

batch_handler!();
batch_handler!(T);

/// A job that waits for its batch.
struct Waiting<J> {
    item: BatchItem<J>,
    outcome: oneshot::Sender<Returned>,
    /// The attempt is not over before the batch is, whatever becomes of its own future.
    busy: TaskTrackerToken,
}

type RunBatch<J> = Box<dyn Fn(Vec<Waiting<J>>) + Send + Sync>;

/// Gathers the jobs of one kind.
pub(super) struct Gathering<J> {
    options: BatchOptions,
    gathered: Mutex<Gathered<J>>,
    run: RunBatch<J>,
}

struct Gathered<J> {
    waiting: Vec<Waiting<J>>,
    /// Counts batches, so that a timer knows whether its own has gone already.
    batch: u64,
}

// === impl Gathering ===

impl<J: Job> Gathering<J> {
    pub(super) fn new<S, M: 'static, H>(handler: H, state: Arc<S>, options: BatchOptions) -> Arc<Self>
    where
        S: Send + Sync + 'static,
        H: BatchHandler<S, M, Job = J>,
    {
        let run = move |waiting: Vec<Waiting<J>>| {
            tokio::spawn(settle(handler.clone(), Arc::clone(&state), waiting));
        };
        let gathered = Mutex::new(Gathered { waiting: Vec::new(), batch: 0 });
        Arc::new(Self { options, gathered, run: Box::new(run) })
    }

    /// Adds a job, and waits for its outcome.
    pub(super) async fn run(self: Arc<Self>, job: J, context: Context) -> Returned {
        let (outcome, told) = oneshot::channel();
        let busy = context.busy();
        self.add(Waiting { item: BatchItem { job, context }, outcome, busy });
        told.await
            .unwrap_or_else(|_| Err(Failure::new("the batch has no outcome for this job").code("batch")))
    }

    fn add(self: &Arc<Self>, waiting: Waiting<J>) {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        gathered.waiting.push(waiting);
        if gathered.waiting.len() >= self.options.max_size {
            (self.run)(gathered.take());
        } else if gathered.waiting.len() == 1 {
            let (gathering, batch) = (Arc::clone(self), gathered.batch);
            tokio::spawn(async move {
                tokio::time::sleep(gathering.options.max_delay).await;
                let mut gathered = gathering.gathered.lock().unwrap_or_else(PoisonError::into_inner);
                if gathered.batch == batch {
                    (gathering.run)(gathered.take());
                }
            });
        }
    }
}

impl<J> Gathered<J> {
    fn take(&mut self) -> Vec<Waiting<J>> {
        self.batch += 1;
        std::mem::take(&mut self.waiting)
    }
}

/// Runs a batch and tells each job its outcome.
async fn settle<S, M, H: BatchHandler<S, M>>(handler: H, state: Arc<S>, waiting: Vec<Waiting<H::Job>>) {
    let (mut items, mut told) = (Vec::new(), Vec::new());
    for Waiting { item, outcome, busy } in waiting {
        // Nobody waits for the outcome of an attempt that is over.
        if !outcome.is_closed() {
            items.push(item);
            told.push((outcome, busy));
        }
    }
    let count = items.len();
    if count == 0 {
        return;
    }
    let called = AssertUnwindSafe(handler.call(items, state)).catch_unwind().await;
    let outcomes = match called {
        Ok(Ok(outcomes)) if outcomes.len() == count => outcomes,
        Ok(Ok(outcomes)) => {
            let message = format!("the batch handler returned {} outcomes for {count} jobs", outcomes.len());
            all(count, &Failure::new(message).code("batch").terminal())
        }
        Ok(Err(failure)) => all(count, &failure),
        Err(panic) => all(count, &Failure::new(crate::worker::panic_message(panic.as_ref())).code("panic")),
    };
    for ((outcome, _busy), returned) in told.into_iter().zip(outcomes) {
        let _ = outcome.send(returned);
    }
}

/// The same for all of them.
fn all(count: usize, failure: &Failure) -> Vec<Returned> {
    (0..count).map(|_| Err::<Bytes, _>(failure.clone())).collect()
}
