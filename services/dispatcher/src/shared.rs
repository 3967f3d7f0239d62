//! What everything in a dispatcher uses.

use windlass_broker::Broker;
use windlass_broker::events::EventWriter;
use windlass_broker::jobs::{ChildMarks, EdgeMarks, Jobs};
use windlass_broker::provision::Layout;
use windlass_core::{Limits, QueueName};

use crate::absence::Watch;
use crate::dependencies::{Listening, Patience};
use crate::flow::{Bursts, Settings};
use crate::intake::Backlog;
use crate::parents::Parents;
use crate::queues::Queues;
use crate::unique::Lines;

/// What everything here uses.
pub(crate) struct Shared {
    pub(crate) broker: Broker,
    pub(crate) layout: Layout,
    pub(crate) events: EventWriter,
    pub(crate) child_marks: ChildMarks,
    pub(crate) edge_marks: EdgeMarks,
    pub(crate) parents: Parents,
    pub(crate) listening: Listening,
    pub(crate) patience: Patience,
    pub(crate) limits: Limits,
    pub(crate) queues: Queues,
    pub(crate) settings: Settings,
    pub(crate) bursts: Bursts,
    pub(crate) absence: Watch,
    /// Payloads that may be copied at a time.
    pub(crate) copies: tokio::sync::Semaphore,
    pub(crate) lines: Lines,
    /// Tasks that are admitted at one time.
    pub(crate) in_flight: usize,
    /// Of the tasks that wait.
    pub(crate) backlog: Backlog,
}

// === impl Shared ===

impl Shared {
    /// The stream of this queue's jobs.
    pub(crate) fn jobs(&self, queue: &QueueName) -> Jobs {
        Jobs::new(&self.broker, self.layout.pool_of(queue))
    }
}
