//! Workers: processes that run the jobs of some queues.

mod claim;
pub mod context;
mod execute;
mod fetch;
mod held;
mod isolation;
mod lease;
mod meters;
mod not_understood;
mod options;
mod payload;
mod presence;
mod process;
mod results;
mod running;
mod serving;
mod settle;
mod shared;
mod stale;
mod starting;
pub(crate) mod telling;
mod threads;
mod unsaid;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_broker::events::EventWriter;
use windlass_broker::jobs::Jobs;
use windlass_core::{Kind, QueueName};

pub(crate) use self::execute::{panic_message, panicked};
use self::isolation::Isolation;
use self::meters::Meters;
pub use self::options::{Error, Options};
use self::running::Running;
use self::serving::Board;
pub use self::serving::Serving;
use self::shared::Shared;
use self::threads::Threads;
use crate::client::Client;
use crate::handler::Handlers;

/// Runs handlers until it is told to stop.
pub struct Worker {
    shared: Arc<Shared>,
}

// === impl Worker ===

impl Worker {
    /// Puts a worker together.
    pub fn new<S: Send + Sync + 'static>(
        client: &Client,
        handlers: Handlers<S>,
        options: Options,
    ) -> Result<Self, Error> {
        options.check()?;
        if handlers.kinds().is_empty() {
            let reason = "there are none: register at least one".to_owned();
            return Err(Error::Invalid { field: "handlers", reason });
        }
        let broker = client.broker().ok_or(Error::NoBroker)?.clone();
        let blocking = options.slots.saturating_mul(options.queues.len()).max(512);
        let threads = Threads::start(options.handler_threads, blocking).map_err(Error::Threads)?;
        let events = EventWriter::new(broker.clone(), "worker", options.pool.clone());
        let shared = Shared {
            jobs: Jobs::new(&broker, options.pool.clone()),
            client: client.clone().with_codec(options.codec.clone()),
            broker,
            events,
            handlers: handlers.erase(),
            running: Running::default(),
            isolation: Isolation::default(),
            meters: Meters::default(),
            board: Board::new(&options.queues),
            threads,
            stuck: std::sync::atomic::AtomicU32::new(0),
            hand_back: CancellationToken::new(),
            options,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What it can handle.
    pub fn kinds(&self) -> Vec<Kind> {
        self.shared.handlers.keys().cloned().collect()
    }

    /// How it stands with each of its queues, as it changes.
    pub fn queues(&self) -> watch::Receiver<BTreeMap<QueueName, Serving>> {
        self.shared.board.watch()
    }

    /// Runs until told to stop, then drains: asks for no more, lets attempts finish within the grace, and hands the
    /// rest back, which uses none of their attempts. `ready` is cancelled once every queue is being served, or was
    /// found not to exist yet.
    pub async fn run(self, stop: CancellationToken, ready: CancellationToken) -> Result<(), Error> {
        let shared = self.shared;
        let attempts = TaskTracker::new();
        let mut fetchers = tokio::task::JoinSet::new();
        for queue in &shared.options.queues {
            let fetch = fetch::Fetch {
                shared: Arc::clone(&shared),
                queue: queue.clone(),
                attempts: attempts.clone(),
                stop: stop.clone(),
            };
            fetchers.spawn(fetch.run());
        }
        // Ends with this function: cancellations are heard while attempts drain, too.
        let mut listeners = tokio::task::JoinSet::new();
        listeners.spawn(fetch::listen(Arc::clone(&shared)));
        let broker = shared.broker.clone();
        listeners.spawn(async move { broker.keep_time().await });
        let announcing = stop.child_token();
        let presence = tokio::spawn(presence::announce(Arc::clone(&shared), announcing.clone()));
        let telling = tokio::spawn(tell(Arc::clone(&shared), announcing.clone()));
        // The grace counts from the word to stop, whatever the fetchers are about.
        let mut grace = tokio::task::JoinSet::new();
        grace.spawn(hand_back_after(Arc::clone(&shared), stop.clone()));
        let announced = async {
            shared.board.settled().await;
            ready.cancel();
            std::future::pending::<()>().await;
        };
        let outcome = tokio::select! {
            () = announced => Ok(()),
            outcome = all(&mut fetchers) => outcome,
        };
        attempts.close();
        attempts.wait().await;
        // Also where a fetcher failed, and nobody said stop.
        announcing.cancel();
        let _ = tokio::join!(presence, telling);
        outcome
    }
}

/// Between two looks at what the running handlers have told.
const TELL_EVERY: std::time::Duration = std::time::Duration::from_millis(250);

/// Sends what running handlers tell, until told to stop. What an attempt tells last is sent at its end.
async fn tell(shared: Arc<Shared>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(TELL_EVERY)).await.is_some() {
        for context in shared.running.contexts() {
            let (progress, lines) = context.take_told();
            shared.events.tell(progress, lines);
        }
    }
}

/// Tells the attempts that still run to hand their jobs back, once the grace of a drain is over.
async fn hand_back_after(shared: Arc<Shared>, stop: CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(shared.options.drain_timeout).await;
    tracing::info!(running = shared.running.count(), "handing back what still runs");
    shared.hand_back.cancel();
}

/// Waits for all of them; the first that fails ends the others.
async fn all(fetchers: &mut tokio::task::JoinSet<Result<(), Error>>) -> Result<(), Error> {
    while let Some(ended) = fetchers.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error),
            Err(panic) => tracing::error!(%panic, "a fetcher panicked"),
        }
    }
    Ok(())
}
