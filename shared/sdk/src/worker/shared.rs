//! What every attempt of a worker uses.

use tokio_util::sync::CancellationToken;
use windlass_broker::events::EventWriter;
use windlass_broker::jobs::Jobs;

use super::options::Options;
use super::running::Running;
use crate::client::Client;
use crate::handler::ErasedHandlers;

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
