//! The service: the shipped kinds on the SDK's worker.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass::worker::Serving;
use windlass::{Handlers, QueueName};
use windlass_service::health::Health;
use windlass_service::{Context, Service};
use windlass_service::{Layout, Part};

use crate::codec;
use crate::kinds;
use crate::kinds::command_run::Commands;
use crate::kinds::http_request::Requester;
use crate::options::Options;

/// The worker, as a program of the fleet.
#[derive(Debug, Clone, Copy)]
pub struct Worker;

/// The condition that every queue is served.
const CONDITION: &str = "queues";
/// Of a drain, for handing back what was aborted: the records of it, and leaving.
const HAND_BACK: Duration = Duration::from_secs(3);

/// How the time of a drain is divided.
#[derive(Debug, PartialEq, Eq)]
struct Drain {
    /// Attempts may end by themselves.
    finish: Duration,
    /// Then they are told to stop, and may go on for this long.
    cancel_grace: Duration,
}

impl Service for Worker {
    const NAME: &'static str = "worker";
    const ABOUT: &'static str = "Runs the jobs of its queues, of the kinds that are shipped";
    const HTTP_PORT: u16 = 8303;
    /// It has rights to its pool alone, and says there what it runs as well.
    const TELLS: Option<&'static [&'static str]> = None;

    type Options = Options;

    fn parts(options: &Options, _: &Layout) -> Vec<Part> {
        let mut parts =
            vec![Part::Jobs(options.pool.clone()), Part::Events, Part::Dead, Part::Workers, Part::Control];
        parts.extend([Part::Payloads(options.pool.clone()), Part::Results(options.pool.clone())]);
        // Those that the layout names; the dispatcher makes the others on their first use.
        parts.extend(options.queues.iter().cloned().map(Part::Queue));
        parts
    }

    async fn run(options: Options, context: Context) -> anyhow::Result<()> {
        let drain = Drain::within(context.drain_timeout, options.cancel_grace);
        let mut commands = options.command.clone();
        // A command must be gone when its attempt is aborted.
        commands.kill_grace = commands.kill_grace.min(drain.cancel_grace / 2);
        let handlers = kinds::handlers(Commands::new(commands), Requester::new(options.http.clone()))
            .context("the shipped kinds")?;
        serve(options, context, handlers).await
    }
}

/// Runs the jobs of its queues by these handlers, until it is told to stop.
pub async fn serve<S: Send + Sync + 'static>(
    options: Options,
    context: Context,
    handlers: Handlers<S>,
) -> anyhow::Result<()> {
    let drain = Drain::within(context.drain_timeout, options.cancel_grace);
    let worker_options = windlass::worker::Options {
        id: context.instance.clone(),
        pool: options.pool.clone(),
        queues: options.queues.clone(),
        slots: options.slots,
        retry: options.retry_policy().context("the options of the worker")?,
        attempt_timeout: options.attempt_timeout,
        cancel_grace: drain.cancel_grace,
        drain_timeout: drain.finish,
        horizon: context.layout.horizon,
        unknown_kind_patience: options.unknown_kind_patience,
        handler_threads: options.handler_threads,
        isolation_wait: options.isolation_wait,
        codec: codec::of(&context.codec)?,
        max_payload_bytes: options.max_payload_bytes,
        max_result_bytes: options.max_result_bytes,
    };
    let worker =
        windlass::Worker::new(&windlass::Client::new(context.broker.clone()), handlers, worker_options)
            .context("the options of the worker")?;
    let queues = names(&options.queues);
    tracing::info!(queues, pool = %options.pool, slots = options.slots, "serving queues");
    context.health.not_ready(CONDITION, "not looked at yet");
    context.ready();
    let states = worker.queues();
    tokio::select! {
        ended = Box::pin(worker.run(context.stop.clone(), CancellationToken::new())) => {
            ended.context("the worker failed")
        }
        ended = report(states, &context.health) => ended,
    }
}

/// Keeps the condition that every queue is served, as far as it can be.
async fn report(
    mut states: watch::Receiver<BTreeMap<QueueName, Serving>>,
    health: &Health,
) -> anyhow::Result<()> {
    loop {
        let unserved: Vec<_> = states
            .borrow_and_update()
            .iter()
            .filter(|(_, serving)| !serving.is_settled())
            .map(|(queue, serving)| format!("{queue}: {serving}"))
            .collect();
        if unserved.is_empty() {
            health.ready(CONDITION);
        } else {
            health.not_ready(CONDITION, unserved.join("; "));
        }
        if states.changed().await.is_err() {
            // The worker is ending.
            std::future::pending::<()>().await;
        }
    }
}

fn names(queues: &[QueueName]) -> String {
    queues.iter().map(QueueName::as_str).collect::<Vec<_>>().join(", ")
}

// === impl Drain ===

impl Drain {
    /// So that all of it fits into the whole.
    fn within(whole: Duration, cancel_grace: Duration) -> Self {
        let cancel_grace = cancel_grace.min(whole / 3);
        Self { finish: whole.saturating_sub(cancel_grace + HAND_BACK.min(whole / 3)), cancel_grace }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_leaves_time_to_hand_back() {
        let seconds = Duration::from_secs;
        let check = |whole, grace, finish, cancel_grace| {
            let found = Drain::within(seconds(whole), seconds(grace));
            assert_eq!(found, Drain { finish: seconds(finish), cancel_grace: seconds(cancel_grace) });
        };
        check(30, 5, 22, 5);
        check(3, 5, 1, 1);
        check(0, 5, 0, 0);
    }
}
