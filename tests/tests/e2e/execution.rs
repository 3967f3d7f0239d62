//! What is promised of a running job: handlers of this test's own, hosted by the public SDK.

mod checkpoints;
mod children;
mod clocks;
mod handlers;
mod isolation;
mod leases;
mod outage;
mod queues;
mod retries;
mod sizes;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use windlass::worker::{self, Options};
use windlass::{Client, Handlers, Job, Worker};
use windlass_broker::Broker;
use windlass_testkit::{Fleet, PATIENCE};

/// A worker in this process.
pub(crate) struct Hosted {
    stop: CancellationToken,
    running: tokio::task::JoinHandle<Result<(), worker::Error>>,
}

/// A payload that says what to do.
macro_rules! job {
    ($name:ident, $kind:literal) => {
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub(crate) struct $name {
            pub(crate) text: String,
        }

        impl Job for $name {
            const KIND: &'static str = $kind;
        }

        impl $name {
            pub(crate) fn new(text: &str) -> Self {
                Self { text: text.to_owned() }
            }
        }
    };
}
job!(Alpha, "test.alpha");
job!(Beta, "test.beta");

/// A broker and a dispatcher.
pub(crate) async fn fleet() -> Result<Fleet> {
    let mut fleet = Fleet::start().await?;
    fleet.service("dispatcher").await?;
    Ok(fleet)
}

/// Hosts these handlers, and waits until the worker serves the default queue, as far as it exists.
pub(crate) async fn host<S: Send + Sync + 'static>(fleet: &Fleet, handlers: Handlers<S>) -> Result<Hosted> {
    host_with(fleet, handlers, Options::default()).await
}

pub(crate) async fn host_with<S: Send + Sync + 'static>(
    fleet: &Fleet,
    handlers: Handlers<S>,
    options: Options,
) -> Result<Hosted> {
    let client =
        Client::new(Broker::connect(windlass_testkit::Servers::options(&fleet.broker, "worker")).await?);
    let worker = Worker::new(&client, handlers, options)?;
    let (stop, ready) = (CancellationToken::new(), CancellationToken::new());
    let running = tokio::spawn(worker.run(stop.clone(), ready.clone()));
    tokio::time::timeout(PATIENCE, ready.cancelled()).await?;
    Ok(Hosted { stop, running })
}

// === impl Hosted ===

impl Hosted {
    /// Drains it, and waits until it has ended.
    pub(crate) async fn drain(self) -> Result<()> {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.running).await???;
        Ok(())
    }
}
