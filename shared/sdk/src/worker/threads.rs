//! The threads that handlers run on.
//!
//! They are not those of the worker itself: a handler that blocks or computes without awaiting holds up other handlers,
//! but no heartbeat, settlement, probe or signal.
//!
//! To wake a thread costs more than a short handler. So handlers are handed over in the order in which they come, and
//! what they returned is handed back, as many at a time as there are: one wake for all of them.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::{AbortHandle, Abortable};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::starting::Starting;
use crate::handler::Returned;

/// A runtime of its own. Dropping it does not wait for what runs there.
pub(crate) struct Threads {
    runtime: Option<Runtime>,
    starting: Starting,
    ended: Arc<Mailbox<Answer>>,
    _answering: AbortOnDropHandle<()>,
}

/// A handler that runs there: a future of what it returned.
#[derive(Debug)]
pub(crate) struct Running {
    abort: AbortHandle,
    returned: oneshot::Receiver<Result<Returned, Panic>>,
}

/// Why a handler returned nothing.
#[derive(Debug)]
pub(crate) enum NotReturned {
    /// With this.
    Panicked(Panic),
    /// It was aborted.
    Aborted,
}

/// What a panic carries.
type Panic = Box<dyn Any + Send>;

/// What a handler came to, and where that is waited for.
type Answer = (oneshot::Sender<Result<Returned, Panic>>, Result<Returned, Panic>);

/// Hands things from one thread to another, and wakes it once for all that it has not taken yet. Its users bound it:
/// nothing is in it that has no slot.
struct Mailbox<T> {
    waiting: Mutex<Vec<T>>,
    filled: Notify,
}

// === impl Threads ===

impl Threads {
    /// Starts them: `threads` for futures, as many as there are cores if none, and up to `blocking` for functions that block.
    pub(super) fn start(threads: Option<usize>, blocking: usize) -> std::io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.enable_all().thread_name("handler").max_blocking_threads(blocking);
        if let Some(threads) = threads {
            builder.worker_threads(threads);
        }
        let runtime = builder.build()?;
        let starting = Starting::on(runtime.handle(), runtime.metrics().num_workers());
        let ended = Arc::<Mailbox<Answer>>::default();
        let to_answer = Arc::clone(&ended);
        let answering = tokio::spawn(async move {
            loop {
                for (waits, outcome) in to_answer.take().await {
                    // Nobody waits for a stuck one any more.
                    let _ = waits.send(outcome);
                }
            }
        });
        Ok(Self { runtime: Some(runtime), starting, ended, _answering: AbortOnDropHandle::new(answering) })
    }

    /// Runs a handler.
    pub(super) fn spawn(&self, handler: impl Future<Output = Returned> + Send + 'static) -> Running {
        let (abort, registration) = AbortHandle::new_pair();
        let (answer, returned) = oneshot::channel();
        let ended = Arc::clone(&self.ended);
        let handler = Abortable::new(AssertUnwindSafe(handler).catch_unwind(), registration);
        self.starting.put(Box::pin(async move {
            // If it was aborted, nobody answers: that says so.
            if let Ok(outcome) = handler.await {
                ended.put((answer, outcome));
            }
        }));
        Running { abort, returned }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A handler that ignores its cancellation may run for ever.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

// === impl Running ===

impl Running {
    /// Drops the handler's future where it awaits next.
    pub(super) fn abort(&self) {
        self.abort.abort();
    }
}

impl Future for Running {
    type Output = Result<Returned, NotReturned>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.returned.poll_unpin(context).map(|answered| match answered {
            Ok(outcome) => outcome.map_err(NotReturned::Panicked),
            Err(_) => Err(NotReturned::Aborted),
        })
    }
}

// === impl Mailbox ===

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), filled: Notify::new() }
    }
}

impl<T> Mailbox<T> {
    fn put(&self, item: T) {
        let was_empty = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push(item);
            waiting.len() == 1
        };
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Waits for some, and takes all.
    async fn take(&self) -> Vec<T> {
        loop {
            self.filled.notified().await;
            let taken = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if !taken.is_empty() {
                return taken;
            }
        }
    }
}
