//! A fleet of one test.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use windlass::worker::Options;
use windlass::{Client, Handlers};
use windlass_broker::Broker;
use windlass_broker::jobs::Jobs;
use windlass_core::{Event, JobId, Transition};

use crate::clock::Clock;
use crate::error::Error;
use crate::host::{Host, Inside};
use crate::listen::Ear;

/// A fleet of one test: a nats-server, a dispatcher and a worker, on threads of their own.
///
/// It ends with the value: dropping it stops the services, kills the server and removes its folder, for which it holds
/// up the thread for two or three seconds at most. An attempt that still runs is lost, as its fleet is. Where the process
/// ends without dropping it, by a signal or as a `static`, a process of a few lines of shell kills the server and removes
/// the folder. The runtime's clock must not be paused, as the waits go by it.
pub struct Fleet {
    client: Client,
    broker: Broker,
    jobs: Jobs,
    ear: Ear,
    clock: Mutex<Clock>,
    /// How many ends have been returned.
    drained: AtomicUsize,
    url: String,
    folder: PathBuf,
    server_pid: Option<u32>,
    /// Last, so that it ends last.
    _host: Host,
}

/// For each wait.
const PATIENCE: Duration = Duration::from_secs(30);

// === impl Fleet ===

impl Fleet {
    /// Starts a fleet whose worker serves the queue `default` with these handlers. Where there is no nats-server on
    /// this machine, one is installed, once, as by `windlass dev`.
    pub async fn start<S: Send + Sync + 'static>(handlers: Handlers<S>) -> Result<Self, Error> {
        Self::start_with(handlers, Options::default()).await
    }

    /// The same, with a worker of other options: queues, slots, retries, keys.
    pub async fn start_with<S: Send + Sync + 'static>(
        handlers: Handlers<S>,
        options: Options,
    ) -> Result<Self, Error> {
        let ear = Ear::new(PATIENCE).with_kinds(handlers.kinds());
        let (pool, codec) = (options.pool.clone(), options.codec.clone());
        let (host, inside) = Box::pin(Host::start(handlers, options, ear.clone())).await?;
        let Inside { broker, url, folder, server_pid } = inside;
        Ok(Self {
            client: Client::new(broker.clone()).with_codec(codec),
            jobs: Jobs::new(&broker, pool),
            broker,
            ear,
            clock: Mutex::default(),
            drained: AtomicUsize::new(0),
            url,
            folder,
            server_pid,
            _host: host,
        })
    }

    /// With another bound on each wait than half a minute.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.ear = self.ear.with_patience(patience);
        self
    }

    /// Submits to this fleet, with the keys of its worker.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where its broker is, for other clients, as `nats://127.0.0.1:4222`; it asks for no user.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder of its broker.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The process of its broker.
    pub fn server_pid(&self) -> Option<u32> {
        self.server_pid
    }

    /// Waits for a transition of a job, also one that was long ago, and returns the first of it. (Ids are unique within
    /// a queue; of jobs with one id in several queues, any is meant.)
    pub async fn heard(&self, id: JobId, transition: Transition) -> Result<Event, Error> {
        let is_it = |event: &&Event| event.job_id == id && event.transition == transition;
        let what = format!("{transition} of job {id}");
        self.ear.until(&what, |known| known.events.iter().find(is_it).cloned()).await
    }

    /// The transitions of a job so far, each with its attempt, in the order of their arrival; its acceptance is the first.
    pub fn heard_of(&self, id: JobId) -> Vec<(Transition, u32)> {
        self.ear.look(|known| {
            let of_job = known.in_order().into_iter().filter(|(_, event)| event.job_id == id);
            of_job.map(|(_, event)| (event.transition, event.attempt)).collect()
        })
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.broker
    }

    pub(crate) fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    pub(crate) fn ear(&self) -> &Ear {
        &self.ear
    }

    pub(crate) fn clock(&self) -> MutexGuard<'_, Clock> {
        // It is whole between calls, whoever panicked.
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn drained(&self) -> &AtomicUsize {
        &self.drained
    }

    pub(crate) fn patience(&self) -> Duration {
        self.ear.patience()
    }
}
