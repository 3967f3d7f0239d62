//! Running a handler: with its lease kept, its checkpoints saved, its time bounded, and its end told apart.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use opentelemetry::trace::FutureExt as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::Instrument as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use windlass_broker::jobs::Verdict;
use windlass_broker::trace::Hop;
use windlass_proto::v1;

use super::claim::renew;
use super::context::{Context, NotSaved, Reason, Renewal, Save};
use super::held::Held;
use super::lease;
use super::running::Registration;
use super::shared::Shared;
use super::threads::{NotReturned, Running};
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

/// A handler that goes on although its attempt is over: its slot is not free before it ends.
pub(super) struct Stuck {
    handler: Option<Running>,
    context: Context,
}

/// An attempt that is about to run.
pub(super) struct Attempt<'a> {
    pub(super) shared: &'a Shared,
    pub(super) held: &'a Held,
    pub(super) context: &'a Context,
    /// What the handler asks to have saved.
    pub(super) saves: mpsc::Receiver<Save>,
    pub(super) registration: Registration<'a>,
}

/// How long an aborted handler may take to be gone before it is reported as stuck.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// What `Future` a save is while it is on its way.
type Saving<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// Runs the handler of this job's kind.
pub(super) async fn execute(
    attempt: Attempt<'_>,
    hop: &Hop,
    handler: impl Future<Output = Returned> + Send + 'static,
) -> (Ended, Option<Stuck>) {
    let Attempt { shared, held, context, mut saves, mut registration } = attempt;
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
    let mut handler = shared.threads.spawn(handler);
    let mut lease = std::pin::pin!(lease::keep(held, &shared.jobs));
    let mut lease_lost = false;
    let mut timeout = std::pin::pin!(sleep(context.timeout()));
    let mut abort_at: Option<Instant> = None;
    let mut aborted = false;
    let mut saving: Option<(Saving<'_>, Save)> = None;
    let (ended, stuck) = loop {
        let abort = async {
            match abort_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            returned = &mut handler => break (ended(context, returned), None),
            () = abort => {
                if aborted {
                    let stuck = context.reason().cloned().unwrap_or(Reason::TimedOut);
                    break (Ended::Stopped(stuck), Some(handler));
                }
                handler.abort();
                aborted = true;
                abort_at = Some(Instant::now() + ABORT_GRACE);
            }
            verdict = next(&mut saving) => {
                if let Some((_, save)) = saving.take() {
                    conclude(held, context, &mut registration, verdict, save);
                }
            }
            Some(save) = saves.recv(), if saving.is_none() => {
                let (reason, checkpoint) = match &save.why {
                    Renewal::Checkpoint(checkpoint) => (v1::ClaimReason::Checkpoint, checkpoint.clone()),
                    Renewal::Redelivered(count) => {
                        held.delivery_count.store(*count, Ordering::Relaxed);
                        (v1::ClaimReason::Redelivered, held.checkpoint().clone())
                    }
                };
                saving = Some((Box::pin(renew(shared, held, reason, checkpoint)), save));
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
    };
    // Our token is known again only when a save that is on its way has come through.
    if saving.is_some() {
        let verdict = next(&mut saving).await;
        if let Some((_, save)) = saving.take() {
            conclude(held, context, &mut registration, verdict, save);
        }
    }
    // Threads and batches go on when the future that waits for them is dropped.
    let is_stuck = stuck.is_some() || (aborted && context.is_busy());
    (ended, is_stuck.then(|| Stuck { handler: stuck, context: context.clone() }))
}

/// The outcome of a save that is on its way; never, if none is.
async fn next(saving: &mut Option<(Saving<'_>, Save)>) -> Verdict {
    match saving {
        Some((future, _)) => future.await,
        None => std::future::pending().await,
    }
}

/// Tells the handler what became of its checkpoint.
fn conclude(
    held: &Held,
    context: &Context,
    registration: &mut Registration<'_>,
    verdict: Verdict,
    save: Save,
) {
    let saved = match verdict {
        Verdict::Won(token) => {
            if let Some(token) = token {
                registration.add(token);
            }
            let queue = held.address.queue.to_string();
            match save.why {
                Renewal::Checkpoint(_) => metrics::counter!("windlass_checkpoints_total", "queue" => queue),
                Renewal::Redelivered(_) => {
                    metrics::counter!("windlass_leases_regained_total", "queue" => queue)
                }
            }
            .increment(1);
            Ok(())
        }
        Verdict::Lost => {
            context.cancel(Reason::LeaseLost);
            Err(NotSaved::NotHeld)
        }
        Verdict::Undecided => Err(NotSaved::Unknown),
    };
    // Nobody listens if the handler has given up waiting.
    let _ = save.saved.send(saved);
}

fn ended(context: &Context, returned: Result<Returned, NotReturned>) -> Ended {
    match (context.reason(), returned) {
        // What it found out before it was stopped counts, unless the job is somebody else's or was ended.
        (None | Some(Reason::TimedOut | Reason::Draining | Reason::Recalled(_)), Ok(Ok(value))) => {
            Ended::Returned(Ok(value))
        }
        (None, Ok(Err(failure))) => Ended::Returned(Err(failure)),
        (Some(reason), _) => Ended::Stopped(reason.clone()),
        (None, Err(NotReturned::Panicked(panic))) => Ended::Returned(Err(panicked(panic.as_ref()))),
        // Nobody aborts one without a reason: its threads have ended.
        (None, Err(NotReturned::Aborted)) => Ended::Stopped(Reason::Draining),
    }
}

/// The failure of a handler that panicked.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Failure {
    Failure::new(shorten(panic_message(panic))).code("panic")
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "the panic has no message".to_owned())
}

// === impl Stuck ===

impl Stuck {
    /// Waits until it has ended after all.
    pub(super) async fn ended(self) {
        if let Some(handler) = self.handler {
            let _ = handler.await;
        }
        self.context.idle().await;
    }
}
