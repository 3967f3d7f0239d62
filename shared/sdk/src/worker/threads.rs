//! The threads that handlers run on.
//!
//! They are not those of the worker itself: a handler that blocks or computes without awaiting holds up other handlers,
//! but no heartbeat, settlement, probe or signal.

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// A runtime of its own. Dropping it does not wait for what runs there.
#[derive(Debug)]
pub(crate) struct Threads(Option<Runtime>);

// === impl Threads ===

impl Threads {
    /// Starts them: `threads` for futures, as many as there are cores if none, and up to `blocking` for functions that block.
    pub(super) fn start(threads: Option<usize>, blocking: usize) -> std::io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.enable_all().thread_name("handler").max_blocking_threads(blocking);
        if let Some(threads) = threads {
            builder.worker_threads(threads);
        }
        Ok(Self(Some(builder.build()?)))
    }

    /// Runs a handler.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        handler: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        match &self.0 {
            Some(runtime) => runtime.spawn(handler),
            // Only while it is dropped.
            None => tokio::spawn(handler),
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A handler that ignores its cancellation may run for ever.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
