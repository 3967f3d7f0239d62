//! What every attempt of a worker uses.

use std::sync::atomic::AtomicU32;

use tokio_util::sync::CancellationToken;
use windlass_broker::Broker;
use windlass_broker::events::EventWriter;
use windlass_broker::jobs::Jobs;

use super::isolation::Isolation;
use super::meters::Meters;
use super::options::Options;
use super::running::Running;
use super::serving::Board;
use super::threads::Threads;
use crate::client::Client;
use crate::handler::ErasedHandlers;

/// What every attempt uses.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) broker: Broker,
    pub(crate) client: Client,
    pub(crate) jobs: Jobs,
    pub(crate) events: EventWriter,
    pub(crate) handlers: ErasedHandlers,
    pub(crate) running: Running,
    pub(crate) isolation: Isolation,
    pub(super) meters: Meters,
    /// How it stands with each queue.
    pub(super) board: Board,
    /// Where handlers run.
    pub(crate) threads: Threads,
    /// Attempts whose handlers ignore that they were cancelled.
    pub(crate) stuck: AtomicU32,
    /// Set when the grace of a drain is over: attempts hand their jobs back.
    pub(crate) hand_back: CancellationToken,
}
