//! Handlers that block their thread: computations, and libraries that are not async.

use std::sync::Arc;

use serde::Serialize;

use super::{Extract, Handler, Job, Returned, for_each_arity, json};
use crate::failure::Failure;
use crate::worker::context::Context;

/// A handler that is no async function: it runs on a thread of its own, where it may block.
///
/// Nothing can stop such a function from outside: it asks its `Cancellation` now and then. One that does not is
/// reported as stuck after the worker's grace, and its slot is not used again before it ends.
///
/// ```
/// use windlass::handler::extract::Cancellation;
/// use windlass::{Failure, Handlers, Job, blocking};
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Sum { numbers: Vec<u64> }
/// # impl Job for Sum { const KIND: &'static str = "sum"; }
///
/// fn add(job: Sum, cancellation: Cancellation) -> Result<u64, Failure> {
///     let mut sum = 0;
///     for number in job.numbers {
///         cancellation.check()?;
///         sum += number;
///     }
///     Ok(sum)
/// }
///
/// let handlers = Handlers::new().register(blocking(add))?;
/// # Ok::<_, windlass::handler::Error>(())
/// ```
pub fn blocking<F>(function: F) -> Blocking<F> {
    Blocking(function)
}

/// See [`blocking`].
#[derive(Debug, Clone)]
pub struct Blocking<F>(F);

/// Tells the form from that of async functions.
#[derive(Debug)]
pub struct Form<T>(std::marker::PhantomData<T>);

macro_rules! blocking_handler {
    ($($extractor:ident),*) => {
        // What is not a handler is rarely meant to be this form of one: it would be listed nine times.
        #[diagnostic::do_not_recommend]
        #[allow(non_snake_case, unused_variables)]
        impl<S, F, J, R, $($extractor,)*> Handler<S, Form<(J, R, $($extractor,)*)>> for Blocking<F>
        where
            S: Send + Sync + 'static,
            F: Fn(J, $($extractor),*) -> Result<R, Failure> + Clone + Send + Sync + 'static,
            J: Job,
            R: Serialize + Send + 'static,
            $($extractor: Extract<S> + 'static,)*
        {
            type Job = J;

            async fn call(self, job: J, context: Context, state: Arc<S>) -> Returned {
                $(let $extractor = $extractor::extract(&context, &state)?;)*
                let span = tracing::Span::current();
                let trace = opentelemetry::Context::current();
                // The thread goes on when this future is dropped: until then the attempt is not over.
                let busy = context.busy();
                let running = tokio::task::spawn_blocking(move || {
                    let _busy = busy;
                    let _trace = trace.attach();
                    let _span = span.entered();
                    json((self.0)(job, $($extractor),*))
                });
                match running.await {
                    Ok(returned) => returned,
                    Err(error) => match error.try_into_panic() {
                        // Told like any other panic.
                        Ok(panic) => std::panic::resume_unwind(panic),
                        Err(error) => Err(Failure::new(error)),
                    },
                }
            }
        }
    };
}

for_each_arity!(blocking_handler);
