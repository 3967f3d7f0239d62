//! Running a handler: with its lease kept, its time bounded, and its end told apart.

use std::time::Duration;

use opentelemetry::trace::FutureExt as _;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::Instrument as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use windlass_broker::trace::Hop;

use super::context::{Context, Reason};
use super::held::Held;
use super::lease;
use super::shared::Shared;
use crate::failure::{Failure, shorten};
use crate::handler::Returned;

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The handler returned, or panicked.
    Returned(Returned),
    /// It was stopped.
    Stopped(Reason),
}

/// How long an aborted handler may take to be gone before it is reported as stuck.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// Runs the handler of this job's kind. The second value is the handler itself, if it goes on in spite of being
/// aborted: its slot is not free before it ends.
pub(super) async fn execute(
    shared: &Shared,
    held: &Held,
    context: &Context,
    hop: &Hop,
    handler: impl Future<Output = Returned> + Send + 'static,
) -> (Ended, Option<JoinHandle<Returned>>) {
    let span = tracing::info_span!(
        "attempt",
        job_id = %held.address.job_id,
        kind = %held.job.task.kind,
        queue = %held.address.queue,
        attempt = context.attempt(),
        trace_id = hop.traceparent().trace_id_hex(),
    );
    // Fails only where no exporter is configured.
    let _ = span.set_parent(hop.context().clone());
    // Two ways to the same trace: a handler's `tracing` spans, and what it submits through the client.
    let handler = handler.instrument(span).with_context(hop.context().clone());
    let mut handler = tokio::spawn(handler);
    let mut lease = std::pin::pin!(lease::keep(held, &shared.jobs));
    let mut lease_lost = false;
    let mut timeout = std::pin::pin!(sleep(context.timeout()));
    let mut abort_at: Option<Instant> = None;
    let mut aborted = false;
    loop {
        let abort = async {
            match abort_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            returned = &mut handler => return (ended(context, returned), None),
            () = abort => {
                if aborted {
                    let stuck = context.reason().cloned().unwrap_or(Reason::TimedOut);
                    return (Ended::Stopped(stuck), Some(handler));
                }
                handler.abort();
                aborted = true;
                abort_at = Some(Instant::now() + ABORT_GRACE);
            }
            () = &mut lease, if !lease_lost => {
                lease_lost = true;
                context.cancel(Reason::LeaseLost);
            }
            () = &mut timeout, if context.reason().is_none() => context.cancel(Reason::TimedOut),
            () = shared.hand_back.cancelled(), if context.reason().is_none() => context.cancel(Reason::Draining),
            () = context.cancelled(), if abort_at.is_none() => {
                abort_at = Some(Instant::now() + shared.options.cancel_grace);
            }
        }
    }
}

fn ended(context: &Context, returned: Result<Returned, tokio::task::JoinError>) -> Ended {
    match (context.reason(), returned) {
        // What it found out before it was stopped counts, unless the job is somebody else's or was ended.
        (None | Some(Reason::TimedOut | Reason::Draining), Ok(Ok(value))) => Ended::Returned(Ok(value)),
        (None, Ok(Err(failure))) => Ended::Returned(Err(failure)),
        (Some(reason), _) => Ended::Stopped(reason.clone()),
        (None, Err(error)) => Ended::Returned(Err(panicked(error))),
    }
}

fn panicked(error: tokio::task::JoinError) -> Failure {
    let message = match error.try_into_panic() {
        Ok(panic) => panic
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "the panic has no message".to_owned()),
        Err(error) => error.to_string(),
    };
    Failure::new(shorten(message)).code("panic")
}
