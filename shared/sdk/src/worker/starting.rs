//! Handlers on their way to their threads.
//!
//! Each is polled once before it becomes a task. Most of those that are short end there, so that many of them cost one
//! wake of one thread; a task for each woke the other threads too, and cost a tenth of a worker's throughput.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::poll;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

/// A handler that answers by itself.
pub(super) type Handler = BoxFuture<'static, ()>;

/// Those that no thread has taken yet. Its users bound it: nothing is in it that has no slot.
pub(super) struct Starting {
    waiting: Arc<Waiting>,
    _helping: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Waiting {
    /// With when each came.
    handlers: Mutex<VecDeque<(Instant, Handler)>>,
    /// For threads, one at a time.
    filled: Notify,
    /// For whoever looks after them.
    begun: Notify,
}

/// A handler that has waited so long waits behind one that blocks its thread: another thread is woken.
const STALLED: Duration = Duration::from_millis(5);

// === impl Starting ===

impl Starting {
    /// Starts them on this runtime, which has so many threads. Looked after on the caller's.
    pub(super) fn on(runtime: &Handle, threads: usize) -> Self {
        let waiting = Arc::<Waiting>::default();
        for _ in 0..threads {
            runtime.spawn(Arc::clone(&waiting).serve());
        }
        let helping = tokio::spawn(Arc::clone(&waiting).help());
        Self { waiting, _helping: AbortOnDropHandle::new(helping) }
    }

    /// To be started.
    pub(super) fn put(&self, handler: Handler) {
        let was_empty = {
            let mut handlers = self.waiting.lock();
            handlers.push_back((Instant::now(), handler));
            handlers.len() == 1
        };
        if was_empty {
            self.waiting.filled.notify_one();
            self.waiting.begun.notify_one();
        }
    }
}

// === impl Waiting ===

impl Waiting {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(Instant, Handler)>> {
        // It is whole between calls, whoever panicked.
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Handler> {
        self.lock().pop_front().map(|(_, handler)| handler)
    }

    /// What each thread does.
    async fn serve(self: Arc<Self>) {
        loop {
            while let Some(mut handler) = self.next() {
                if poll!(&mut handler).is_pending() {
                    tokio::spawn(handler);
                }
                // Whatever else runs on this thread has its turn.
                consume_budget().await;
            }
            self.filled.notified().await;
        }
    }

    /// Wakes another thread while handlers wait for one that is blocked.
    async fn help(self: Arc<Self>) {
        loop {
            self.begun.notified().await;
            loop {
                sleep(STALLED).await;
                let Some(oldest) = self.lock().front().map(|(since, _)| *since) else { break };
                if oldest.elapsed() >= STALLED {
                    self.filled.notify_one();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A handler that blocks its thread until another has run: they are put together, so that one thread takes both.
    #[tokio::test]
    async fn one_that_blocks_holds_up_no_other() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let starting = Starting::on(runtime.handle(), 2);
        let (says, hears) = mpsc::channel();
        let (ends, ended) = tokio::sync::oneshot::channel();
        starting.put(Box::pin(async move {
            hears.recv().unwrap();
            let _ = ends.send(());
        }));
        starting.put(Box::pin(async move { says.send(()).unwrap() }));
        tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap().unwrap();
        runtime.shutdown_background();
    }

    #[tokio::test]
    async fn one_that_waits_goes_on_by_itself() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let starting = Starting::on(runtime.handle(), 1);
        let (says, hears) = tokio::sync::oneshot::channel();
        let (ends, ended) = tokio::sync::oneshot::channel();
        starting.put(Box::pin(async move {
            hears.await.unwrap();
            let _ = ends.send(());
        }));
        starting.put(Box::pin(async move { says.send(()).unwrap() }));
        tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap().unwrap();
        runtime.shutdown_background();
    }
}
