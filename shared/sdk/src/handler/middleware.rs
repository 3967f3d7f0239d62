//! What stands around every handler of a worker: measuring, authorising, opening a transaction.
//!
//! ```
//! use windlass::handler::{Call, Next, Returned};
//!
//! async fn timed(call: Call, next: Next) -> Returned {
//!     let (kind, begun) = (call.context.kind().clone(), std::time::Instant::now());
//!     let returned = next.run(call).await;
//!     tracing::info!(%kind, seconds = begun.elapsed().as_secs_f64(), "handled");
//!     returned
//! }
//!
//! let handlers = windlass::Handlers::new().layer(timed);
//! ```

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

use super::registry::Run;
use super::{Returned, Running};
use crate::worker::context::Context;

/// One call of a handler.
#[derive(Debug)]
pub struct Call {
    /// What the handler works on, as it was published.
    pub payload: Bytes,
    /// The attempt.
    pub context: Context,
}

/// The handler, with the middleware that stands between it and the one that is called.
pub struct Next {
    layers: Arc<[Arc<dyn Middleware>]>,
    /// Of the one that is called next.
    index: usize,
    handler: Run,
}

/// What stands around every handler. Implemented for `async fn(Call, Next) -> Returned`.
///
/// It may end the call itself, by not calling [`Next::run`], and change what a handler returned.
#[diagnostic::on_unimplemented(
    message = "this is not middleware",
    note = "middleware is `async fn(call: Call, next: Next) -> Returned`, and calls `next.run(call).await`"
)]
pub trait Middleware: Send + Sync + 'static {
    /// Handles a call.
    fn handle(&self, call: Call, next: Next) -> Running;
}

impl<F, Fut> Middleware for F
where
    F: Fn(Call, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Returned> + Send + 'static,
{
    fn handle(&self, call: Call, next: Next) -> Running {
        Box::pin(self(call, next))
    }
}

// === impl Next ===

impl Next {
    pub(super) fn new(layers: Arc<[Arc<dyn Middleware>]>, handler: Run) -> Self {
        Self { layers, index: 0, handler }
    }

    /// Goes on with the call.
    pub fn run(mut self, call: Call) -> Running {
        match self.layers.get(self.index).cloned() {
            Some(middleware) => {
                self.index += 1;
                middleware.handle(call, self)
            }
            None => (self.handler)(call.payload, call.context),
        }
    }
}
