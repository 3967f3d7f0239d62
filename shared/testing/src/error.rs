//! What can go wrong with a fleet of a test.

use std::time::Duration;

use windlass_broker::{connect, events, jobs, local, provision};
use windlass_core::JobId;

/// The fleet did not start, or what was waited for did not come.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its nats-server does not run.
    #[error("the broker of the fleet cannot be started")]
    Server(#[from] local::Error),
    /// Its folder or its thread cannot be made.
    #[error("the fleet cannot {action}")]
    Process {
        /// As `make its folder`.
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Its streams cannot be made.
    #[error("the streams of the fleet cannot be made")]
    Provision(#[from] provision::Error),
    /// Its worker does not take the options.
    #[error("the worker of the fleet cannot be put together")]
    Worker(#[from] windlass::worker::Error),
    /// A part of it has ended by itself.
    #[error("the fleet runs no more: {reason}")]
    Ended {
        /// Which part, and why.
        reason: String,
    },
    /// The broker did not answer.
    #[error("the broker of the fleet cannot be used")]
    Broker(#[from] connect::Error),
    /// Its events cannot be read.
    #[error("the events of the fleet cannot be read")]
    Events(#[from] events::Error),
    /// Its jobs cannot be read.
    #[error("the jobs of the fleet cannot be read")]
    Jobs(#[from] jobs::Error),
    /// The end of a job cannot be read.
    #[error("the end of a job cannot be read")]
    Client(#[from] windlass::client::Error),
    /// What was waited for did not come in time.
    #[error("not within {} s: {what}{}; heard until then:\n{heard}", waited.as_secs_f64(),
        no_handler.as_ref().map(|text| format!("; {text}")).unwrap_or_default())]
    TimedOut {
        /// What was waited for.
        what: String,
        /// For how long.
        waited: Duration,
        /// The transitions until then, a line for each job.
        heard: String,
        /// Which kinds of the jobs that have not ended have no handler here, and which have.
        no_handler: Option<String>,
    },
    /// The job ended longer ago than ends are remembered (the worker's option `horizon`).
    #[error("the end of job {id} is remembered no more")]
    Forgotten {
        /// Which.
        id: JobId,
    },
}
