//! Handlers: async functions that take a job, and what else they ask for.
//!
//! A handler's first parameter is the job's payload, a type that implements [`Job`]; each further one is taken out of
//! the attempt by [`Extract`]. A parameter that cannot be extracted, or a state that the worker was not given, is a
//! compile error.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use windlass_core::{Kind, RetryPolicy};

use crate::failure::Failure;
use crate::worker::context::Context;

/// A payload that names its kind.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a job",
    note = "implement `windlass::Job` for it, with its kind: `impl Job for {Self} {{ const KIND: &'static str = \"…\"; }}`",
    note = "a handler's first parameter is the job; what it extracts comes after"
)]
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// As `mail.send`: words of letters, digits, `_` and `-`, with dots between them.
    const KIND: &'static str;

    /// When its failures are tried again, where a task brings no policy of its own; the worker's default, if none.
    fn retry() -> Option<RetryPolicy> {
        None
    }
}

/// What a handler may have as a further parameter.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be extracted from an attempt of a worker with state `{S}`",
    note = "extractors are `Context`, `State<T>` where `T` is, or is part of, the worker's state, and what implements `Extract`"
)]
pub trait Extract<S>: Sized + Send {
    /// Takes it out. An error fails the attempt.
    fn extract(context: &Context, state: &S) -> Result<Self, Failure>;
}

/// A part of the worker's state.
#[derive(Debug, Clone)]
pub struct State<T>(pub T);

/// A state of which `Self` is part.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not part of the worker's state `{S}`",
    note = "implement `FromRef<{S}>` for it, or give the worker another state"
)]
pub trait FromRef<S> {
    /// Takes it out.
    fn from_ref(state: &S) -> Self;
}

impl<T: Clone> FromRef<T> for T {
    fn from_ref(state: &T) -> Self {
        state.clone()
    }
}

impl<S, T: FromRef<S> + Send> Extract<S> for State<T> {
    fn extract(_: &Context, state: &S) -> Result<Self, Failure> {
        Ok(Self(T::from_ref(state)))
    }
}

impl<S> Extract<S> for Context {
    fn extract(context: &Context, _: &S) -> Result<Self, Failure> {
        Ok(context.clone())
    }
}

/// What a handler returned: JSON, or why not.
pub(crate) type Returned = Result<Bytes, Failure>;

/// An async function that works on `J`. Implemented for functions; `M` only tells their forms apart.
#[diagnostic::on_unimplemented(
    message = "this is not a handler for a worker with state `{S}`",
    note = "a handler is `async fn(job, …) -> Result<impl Serialize, Failure>`: first a `Job`, then up to four extractors"
)]
pub trait Handler<S, M>: Clone + Send + Sync + 'static {
    /// Its first parameter.
    type Job: Job;

    /// Runs it.
    fn call(
        self,
        job: Self::Job,
        context: Context,
        state: Arc<S>,
    ) -> impl Future<Output = Result<Bytes, Failure>> + Send;
}

macro_rules! handler {
    ($($extractor:ident),*) => {
        #[allow(non_snake_case, unused_variables)]
        impl<S, F, J, R, Fut, $($extractor,)*> Handler<S, (J, R, Fut, $($extractor,)*)> for F
        where
            S: Send + Sync + 'static,
            F: Fn(J, $($extractor),*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Result<R, Failure>> + Send,
            J: Job,
            R: Serialize + Send,
            $($extractor: Extract<S>,)*
        {
            type Job = J;

            async fn call(self, job: J, context: Context, state: Arc<S>) -> Returned {
                $(let $extractor = $extractor::extract(&context, &state)?;)*
                let value = self(job, $($extractor),*).await?;
                Ok(serde_json::to_vec(&value).map_err(|e| Failure::new(format!("the result is no JSON: {e}")).terminal())?.into())
            }
        }
    };
}

handler!();
handler!(A);
handler!(A, B);
handler!(A, B, C);
handler!(A, B, C, D);

type Running = Pin<Box<dyn Future<Output = Returned> + Send>>;

/// A handler without its types.
#[derive(Clone)]
pub(crate) struct Erased {
    pub(crate) run: Arc<dyn Fn(Bytes, Context) -> Running + Send + Sync>,
    /// Of its kind.
    pub(crate) retry: Option<RetryPolicy>,
}

/// The handlers of a worker, by kind.
pub struct Handlers<S = ()> {
    state: Arc<S>,
    by_kind: BTreeMap<Kind, Erased>,
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
        Self { state: Arc::new(state), by_kind: BTreeMap::new() }
    }

    /// Adds a handler for its job's kind.
    pub fn register<H, M>(mut self, handler: H) -> Result<Self, Error>
    where
        H: Handler<S, M>,
    {
        let kind: Kind = H::Job::KIND.parse().map_err(Error::InvalidKind)?;
        let state = Arc::clone(&self.state);
        let run = Arc::new(move |payload: Bytes, context| -> Running {
            let (handler, state) = (handler.clone(), Arc::clone(&state));
            Box::pin(async move {
                // An empty body is what a unit-like payload looks like to a plain client.
                let text: &[u8] = if payload.is_empty() { b"null" } else { &payload };
                let job: H::Job = serde_json::from_slice(text)
                    .map_err(|e| Failure::new(format!("payload: {e}")).code("invalid_payload").terminal())?;
                handler.call(job, context, state).await
            })
        });
        let erased = Erased { run, retry: H::Job::retry() };
        if self.by_kind.insert(kind.clone(), erased).is_some() {
            return Err(Error::Duplicate(kind));
        }
        Ok(self)
    }

    /// What can be handled.
    pub fn kinds(&self) -> Vec<Kind> {
        self.by_kind.keys().cloned().collect()
    }

    /// Without the state's type.
    pub(crate) fn erase(self) -> BTreeMap<Kind, Erased> {
        self.by_kind
    }
}

pub(crate) type ErasedHandlers = BTreeMap<Kind, Erased>;
