//! A queue with its settings, and how far they are in force.

use serde::{Deserialize, Serialize};
use windlass_core::flow::{Backlog, Change};
use windlass_core::{QueueName, flow::Applied};

use super::Error;
use crate::flow::Flow;
use crate::queues::QueueStore;

/// What is set for a queue, and what waits in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Which.
    pub queue: QueueName,
    /// Grows with each change; 0 if nothing was ever set.
    pub revision: u64,
    /// What is set, by whom, when, why, and what was before; null if nothing was ever set.
    pub set: Option<Change>,
    /// How far the queue's owner has come with it; null if no dispatcher has begun.
    pub applied: Option<Applied>,
    /// What waits, and why.
    pub backlog: Backlog,
}

/// Of this queue.
pub async fn state(flow: &Flow) -> Result<State, Error> {
    let stored = QueueStore::new(flow.broker()).get(flow.queue()).await?;
    let applied = flow.applied().await?;
    let backlog = super::backlog(flow).await?;
    let revision = stored.as_ref().map_or(0, |stored| stored.revision);
    let set = stored.map(|stored| stored.change);
    Ok(State { queue: flow.queue().clone(), revision, set, applied, backlog })
}
