//! Workers: processes that run the jobs of some queues.

mod claim;
pub mod context;
mod execute;
mod fetch;
mod lease;
mod presence;
mod process;
mod running;
mod settle;
mod unsaid;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_broker::Broker;
use windlass_broker::events::EventWriter;
use windlass_broker::jobs::Jobs;
use windlass_core::{Kind, PoolName, QueueName, RetryPolicy};

use crate::client::Client;
use crate::handler::{ErasedHandlers, Handlers};
use running::Running;

/// How a worker runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name in histories; unique among those that live.
    pub id: String,
    /// The trust domain whose stream it reads.
    pub pool: PoolName,
    /// Whose jobs it runs; all workers of a queue serve the same kinds.
    pub queues: Vec<QueueName>,
    /// How many attempts at a time, for each queue.
    pub slots: usize,
    /// For tasks that bring none.
    pub retry: RetryPolicy,
    /// Time allowed for one attempt, for tasks that bring none.
    pub attempt_timeout: Duration,
    /// How long an attempt may go on after it was cancelled, before it is aborted.
    pub cancel_grace: Duration,
    /// How long attempts may go on when the worker is told to stop, before they are handed back.
    pub drain_timeout: Duration,
    /// How long a record of a job's end is kept, and refuses duplicates and stale holders.
    pub horizon: Duration,
    /// How long a job of a kind that no worker here handles is handed on before it is dead.
    pub unknown_kind_patience: Duration,
}

/// Runs handlers until it is told to stop.
pub struct Worker {
    shared: Arc<Shared>,
}

/// What every attempt uses.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) client: Client,
    pub(crate) jobs: Jobs,
    pub(crate) events: EventWriter,
    pub(crate) handlers: ErasedHandlers,
    pub(crate) running: Running,
    /// Set when the grace of a drain is over: attempts hand their jobs back.
    pub(crate) hand_back: CancellationToken,
}

/// A worker cannot run, or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option is not what it must be.
    #[error("{field}: {reason}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What it was, and what was expected.
        reason: String,
    },
    /// The connection is closed for good.
    #[error("the connection to the broker is closed")]
    Closed,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            id: format!("worker-{:08x}", rand::random::<u32>()),
            pool: PoolName::default(),
            queues: vec![QueueName::default()],
            slots: 16,
            retry: RetryPolicy::default(),
            attempt_timeout: Duration::from_secs(300),
            cancel_grace: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(30),
            horizon: Duration::from_secs(900),
            unknown_kind_patience: Duration::from_secs(600),
        }
    }
}

impl Options {
    /// Names what is out of range.
    pub fn check(&self) -> Result<(), Error> {
        let invalid = |field, reason: &str| Err(Error::Invalid { field, reason: reason.to_owned() });
        if self.queues.is_empty() {
            return invalid("queues", "is empty: expected at least one queue");
        }
        if !(1..=10_000).contains(&self.slots) {
            return invalid("slots", "expected 1 to 10000");
        }
        if self.attempt_timeout.is_zero() {
            return invalid("attempt_timeout", "expected more than 0");
        }
        if self.horizon < Duration::from_secs(1) {
            return invalid("horizon", "expected at least 1s");
        }
        let id_is_word = !self.id.is_empty()
            && self.id.len() <= 128
            && self.id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if !id_is_word {
            return invalid("id", "expected 1 to 128 letters, digits, `_` and `-`");
        }
        Ok(())
    }
}

// === impl Worker ===

impl Worker {
    /// Puts a worker together.
    pub fn new<S: Send + Sync + 'static>(
        broker: Broker,
        handlers: Handlers<S>,
        options: Options,
    ) -> Result<Self, Error> {
        options.check()?;
        let events = EventWriter::new(broker.clone(), "worker", options.pool.clone());
        let shared = Shared {
            jobs: Jobs::new(&broker, options.pool.clone()),
            client: Client::new(broker),
            events,
            handlers: handlers.erase(),
            running: Running::default(),
            hand_back: CancellationToken::new(),
            options,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What it can handle.
    pub fn kinds(&self) -> Vec<Kind> {
        self.shared.handlers.keys().cloned().collect()
    }

    /// Runs until told to stop, then drains: asks for no more, lets attempts finish within the grace, and hands the
    /// rest back, which uses none of their attempts. `ready` is cancelled once every queue is being served.
    pub async fn run(self, stop: CancellationToken, ready: CancellationToken) -> Result<(), Error> {
        let shared = self.shared;
        let attempts = TaskTracker::new();
        let mut fetchers = tokio::task::JoinSet::new();
        let serving = Arc::new(tokio::sync::Semaphore::new(0));
        for queue in &shared.options.queues {
            let fetch = fetch::Fetch {
                shared: Arc::clone(&shared),
                queue: queue.clone(),
                attempts: attempts.clone(),
                stop: stop.clone(),
                serving: Arc::clone(&serving),
                announced: std::sync::atomic::AtomicBool::new(false),
            };
            fetchers.spawn(fetch.run());
        }
        // Ends with this function: cancellations are heard while attempts drain, too.
        let mut listeners = tokio::task::JoinSet::new();
        for queue in &shared.options.queues {
            listeners.spawn(fetch::listen(Arc::clone(&shared), queue.clone()));
        }
        let announcing = stop.child_token();
        let presence = tokio::spawn(presence::announce(Arc::clone(&shared), announcing.clone()));
        // The grace counts from the word to stop, whatever the fetchers are about.
        let mut grace = tokio::task::JoinSet::new();
        grace.spawn(hand_back_after(Arc::clone(&shared), stop.clone()));
        let queues = u32::try_from(shared.options.queues.len()).unwrap_or(u32::MAX);
        let announced = async {
            if serving.acquire_many(queues).await.is_ok() {
                ready.cancel();
            }
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
        let _ = presence.await;
        outcome
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
