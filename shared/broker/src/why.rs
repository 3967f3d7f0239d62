//! Why jobs wait, read from the broker: of one job, and summed for a queue.
//!
//! Nothing is changed by it, and nothing is decided by it: an answer is as old as its reads, and lists come from any
//! replica. What follows from what was read is decided in `windlass_core::flow`.

mod backlog;
mod facts;
mod job;
mod moment;
mod queue;

use windlass_core::QueueName;

pub use self::backlog::backlog;
pub use self::job::why;
pub use self::queue::{State, state};
use crate::{connect, jobs, kv, queues};

/// Why jobs wait could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker did not answer as asked.
    #[error("the broker did not say what waits")]
    Broker(#[from] connect::Error),
    /// A job could not be read.
    #[error("a job could not be read")]
    Jobs(#[from] jobs::Error),
    /// The settings of the queue could not be read.
    #[error("the settings of the queue could not be read")]
    Settings(#[from] queues::Error),
    /// The workers could not be listed.
    #[error("the workers could not be listed")]
    Workers(#[from] kv::Error),
    /// Nothing is known of the queue.
    #[error("no queue {0} is known: no job was ever admitted to it, and nothing is set for it")]
    NoQueue(QueueName),
}
