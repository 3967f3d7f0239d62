//! Handlers: functions that take a job, and what else they ask for.
//!
//! A handler's first parameter is the job's payload, a type that implements [`Job`]; each further one is taken out of
//! the attempt by [`Extract`] (see [`extract`] for what there is). A parameter that cannot be extracted, or a state
//! that the worker was not given, is a compile error.
//!
//! | form | registered with | runs |
//! |---|---|---|
//! | `async fn(job, …) -> Result<R, Failure>` | [`Handlers::register`] | as a task |
//! | `fn(job, …) -> Result<R, Failure>` | [`Handlers::register`] of [`blocking()`] | on a thread of its own |
//! | `async fn(Vec<BatchItem<job>>, …) -> Result<Vec<Result<R, Failure>>, Failure>` | [`Handlers::register_batch`] | for several jobs at once |

pub mod batch;
pub mod blocking;
pub mod extract;
pub mod middleware;
mod registry;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use windlass_core::RetryPolicy;

pub use self::batch::{BatchHandler, BatchItem, BatchOptions};
pub use self::blocking::blocking;
pub use self::extract::{Extract, FromRef, State};
pub use self::middleware::{Call, Middleware, Next};
pub(crate) use self::registry::{Erased, ErasedHandlers};
pub use self::registry::{Error, Handlers};
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

/// What a handler returned: JSON, or what else is to follow.
pub type Returned = Result<Bytes, Failure>;

/// A function that works on a job. Implemented for functions; `M` only tells their forms apart.
#[diagnostic::on_unimplemented(
    message = "this is not a handler for a worker with state `{S}`",
    note = "a handler is `async fn(job, …) -> Result<impl Serialize, Failure>`: first a `Job`, then up to eight extractors",
    note = "what can be extracted is listed in `windlass::handler::extract`; for `State<T>`, `T` is the worker's state or has `impl FromRef<{S}> for T`",
    note = "its future must be `Send`: no `Rc`, `RefCell` borrow or lock of `std` may live across an `.await`",
    note = "wrap a function that is not `async` in `windlass::blocking(…)`; what takes a `Vec<BatchItem<_>>` goes to `register_batch`"
)]
pub trait Handler<S, M>: Clone + Send + Sync + 'static {
    /// Its first parameter.
    type Job: Job;

    /// Runs it.
    fn call(self, job: Self::Job, context: Context, state: Arc<S>) -> impl Future<Output = Returned> + Send;
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
                json(self(job, $($extractor),*).await)
            }
        }
    };
}

/// Calls a macro for each number of extractors.
macro_rules! for_each_arity {
    ($each:ident) => {
        $each!();
        $each!(A);
        $each!(A, B);
        $each!(A, B, C);
        $each!(A, B, C, D);
        $each!(A, B, C, D, E);
        $each!(A, B, C, D, E, G);
        $each!(A, B, C, D, E, G, H);
        $each!(A, B, C, D, E, G, H, I);
    };
}
use for_each_arity;

for_each_arity!(handler);

/// A value as the job's result.
fn json<R: Serialize>(returned: Result<R, Failure>) -> Returned {
    let value = returned?;
    let text = serde_json::to_vec(&value);
    Ok(text.map_err(|e| Failure::new(format!("the result is no JSON: {e}")).terminal())?.into())
}

/// A payload as a job; an empty one is what a unit-like payload looks like to a plain client.
fn read<J: Job>(payload: &[u8]) -> Result<J, Failure> {
    let text: &[u8] = if payload.is_empty() { b"null" } else { payload };
    serde_json::from_slice(text)
        .map_err(|e| Failure::new(format!("payload: {e}")).code("invalid_payload").terminal())
}

/// A handler under way.
pub(crate) type Running = Pin<Box<dyn Future<Output = Returned> + Send>>;
