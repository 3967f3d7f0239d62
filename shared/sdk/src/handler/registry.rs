//! The handlers of a worker, by kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use windlass_core::{Kind, RetryPolicy};

use super::batch::{BatchHandler, BatchOptions, Gathering};
use super::middleware::{Call, Middleware, Next};
use super::{Handler, Job, Running, read};
use crate::worker::context::Context;

/// Without the types of its job and its parameters.
pub(crate) type Run = Arc<dyn Fn(Bytes, Context) -> Running + Send + Sync>;

/// A handler without its types.
#[derive(Clone)]
pub(crate) struct Erased {
    pub(crate) run: Run,
    /// Of its kind.
    pub(crate) retry: Option<RetryPolicy>,
}

pub(crate) type ErasedHandlers = BTreeMap<Kind, Erased>;

/// The handlers of a worker, by kind.
pub struct Handlers<S = ()> {
    state: Arc<S>,
    by_kind: ErasedHandlers,
    /// The first is outermost.
    layers: Vec<Arc<dyn Middleware>>,
}

/// A handler cannot be added.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The type's `KIND` is none.
    #[error("`Job::KIND` of a handler's payload is no kind")]
    InvalidKind(#[source] windlass_core::InvalidName),
    /// There is one for this kind.
    #[error("there is a handler for the kind {0} already")]
    Duplicate(Kind),
    /// A batch must have room for a job.
    #[error("`max_size` of a batch handler is 0: expected at least 1")]
    EmptyBatch,
}

// === impl Handlers ===

impl Handlers<()> {
    /// None yet, and no state.
    pub fn new() -> Self {
        Self::with_state(())
    }
}

impl Default for Handlers<()> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Send + Sync + 'static> Handlers<S> {
    /// None yet, with a state that they share.
    pub fn with_state(state: S) -> Self {
        Self { state: Arc::new(state), by_kind: BTreeMap::new(), layers: Vec::new() }
    }

    /// Adds a handler for its job's kind.
    pub fn register<H, M>(self, handler: H) -> Result<Self, Error>
    where
        H: Handler<S, M>,
    {
        let state = Arc::clone(&self.state);
        self.add::<H::Job>(Arc::new(move |payload: Bytes, context| -> Running {
            let (handler, state) = (handler.clone(), Arc::clone(&state));
            Box::pin(async move { handler.call(read(&payload)?, context, state).await })
        }))
    }

    /// Adds a handler that takes several jobs of its kind at once, each with an outcome of its own.
    pub fn register_batch<H, M>(self, handler: H, options: BatchOptions) -> Result<Self, Error>
    where
        H: BatchHandler<S, M>,
        M: 'static,
    {
        if options.max_size == 0 {
            return Err(Error::EmptyBatch);
        }
        let gathering = Gathering::new(handler, Arc::clone(&self.state), options);
        self.add::<H::Job>(Arc::new(move |payload: Bytes, context| -> Running {
            let gathering = Arc::clone(&gathering);
            Box::pin(async move { gathering.run(read(&payload)?, context).await })
        }))
    }

    /// Puts middleware around every handler, those that are added later too. The first that is added is outermost.
    #[must_use]
    pub fn layer(mut self, middleware: impl Middleware) -> Self {
        self.layers.push(Arc::new(middleware));
        self
    }

    fn add<J: Job>(mut self, run: Run) -> Result<Self, Error> {
        let kind: Kind = J::KIND.parse().map_err(Error::InvalidKind)?;
        if self.by_kind.contains_key(&kind) {
            return Err(Error::Duplicate(kind));
        }
        self.by_kind.insert(kind, Erased { run, retry: J::retry() });
        Ok(self)
    }

    /// What can be handled.
    pub fn kinds(&self) -> Vec<Kind> {
        self.by_kind.keys().cloned().collect()
    }

    /// Without the state's type, and with the middleware around each.
    pub(crate) fn erase(self) -> ErasedHandlers {
        if self.layers.is_empty() {
            return self.by_kind;
        }
        let layers: Arc<[Arc<dyn Middleware>]> = self.layers.into();
        let wrap = |erased: Erased| {
            let layers = Arc::clone(&layers);
            let run: Run = Arc::new(move |payload, context| {
                Next::new(Arc::clone(&layers), Arc::clone(&erased.run)).run(Call { payload, context })
            });
            Erased { run, retry: erased.retry }
        };
        self.by_kind.into_iter().map(|(kind, erased)| (kind, wrap(erased))).collect()
    }
}
