//! Streams, consumers and buckets: what they must be, and making or checking them.
//!
//! [`desired`] says it all as data, without I/O. [`apply`] creates what is missing and changes what differs; it never
//! makes anything weaker unless told to, and touches only the settings that are named here. [`verify`] reports every
//! difference. Both are idempotent, and rivals that apply the same layout converge, because each looks again after it
//! has written.

mod api;
mod apply;
mod desired;
mod difference;
mod layout;
mod remove;

pub use api::Error;
pub use apply::{apply, ensure_flow, ensure_queue, verify};
pub use desired::{ConsumerSpec, Desired, Settings, StreamSpec, desired};
pub use difference::Difference;
pub use layout::{InvalidLayout, Layout, Retention};
pub use remove::{existing, remove};

use serde::{Deserialize, Serialize};
use windlass_core::{PoolName, QueueName};

/// The oldest server that has what the protocol needs: schedules, conditions and a durable `sync_interval: always`.
pub const MIN_SERVER_VERSION: (u64, u64, u64) = (2, 15, 1);

/// What a program does about streams when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Makes them what they must be.
    Apply,
    /// Looks, and reports what differs.
    #[default]
    Verify,
    /// Nothing.
    Off,
}

/// A part of the layout: a service asks only for those that it uses, and its rights reach no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The stream of tasks and the dispatchers' consumer.
    Tasks,
    /// A pool's stream of jobs.
    Jobs(PoolName),
    /// The dispatchers' consumer of what ends the waits of a pool's jobs.
    Expiry(PoolName),
    /// The workers' consumer of a queue.
    Queue(QueueName),
    /// The stream of history.
    Events,
    /// The monitors' consumer of the history.
    EventReader,
    /// The stream of commands and the dispatchers' consumer.
    Commands,
    /// The stream of dead letters.
    Dead,
    /// The bucket of a pool's large payloads.
    Payloads(PoolName),
    /// The bucket of a pool's large results.
    Results(PoolName),
    /// The bucket of queues' settings.
    Settings,
    /// The bucket of schedules.
    Schedules,
    /// The bucket of schedules' cursors.
    Cursors,
    /// The bucket of live workers.
    Workers,
    /// The bucket of leases, cancellations and addresses.
    Control,
}
