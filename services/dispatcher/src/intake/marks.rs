//! What was taken ahead of its delivery, when that comes, or is to be taken again.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use windlass_broker::ahead::Mark;
use windlass_broker::connect::Error;
use windlass_broker::delivery::Delivered;
use windlass_broker::jobs::{self, Jobs};
use windlass_core::forgetting::Place;
use windlass_core::{PoolName, QueueName};

use crate::shared::Shared;

/// What is known of a task from before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// It was not dealt with; or so short a time ago that its job tells.
    Nothing,
    /// It was dealt with.
    Taken,
    /// It may have been: its job was made, and has ended and is forgotten; or whoever began with it died before that.
    Perhaps,
}

/// Whether tasks of a queue may be taken ahead of their delivery: not past each other in a strict order; and not where
/// ends are forgotten once nobody holds a task, which who takes one ahead does not.
pub(crate) fn may_go_ahead(shared: &Shared, queue: &QueueName) -> bool {
    let settings = shared.settings.of(queue);
    settings.fifo().is_none() && settings.outcome_ttl.is_none_or(|ttl| ttl >= shared.layout.horizon)
}

/// What was done with a task before. Asked for only where the end of its job may be forgotten by now.
pub(crate) async fn before(
    shared: &Shared,
    queue: &QueueName,
    delivered: &Delivered,
) -> Result<Before, Error> {
    let waited = shared.broker.now().duration_since(delivered.published_at);
    if Duration::try_from(waited).unwrap_or_default() < shared.layout.horizon {
        return Ok(Before::Nothing);
    }
    Ok(match shared.jobs(queue).marked(queue, delivered.sequence).await? {
        None => Before::Nothing,
        Some(Mark::Begun) => Before::Perhaps,
        Some(Mark::Taken) => Before::Taken,
    })
}

/// The marks of all pools, and since when those of before are not needed.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    pools: HashMap<PoolName, (Place, Option<Instant>)>,
}

// === impl Marks ===

impl Marks {
    /// Removes those whose tasks have been dealt with for a horizon: so long one may still be held by a process that
    /// stood still. To be called again and again.
    pub(crate) async fn tidy(&mut self, shared: &Shared) -> Result<(), jobs::Error> {
        for pool in shared.layout.all_pools() {
            let jobs = Jobs::new(&shared.broker, pool.clone());
            match self.pools.get_mut(&pool) {
                None => {
                    self.pools.insert(pool, (jobs.place().await?.0, None));
                }
                Some((there, over_at @ None)) => {
                    *over_at = jobs.has_dealt_with(*there).await?.then(Instant::now);
                }
                Some((there, Some(over_at))) if over_at.elapsed() >= shared.layout.horizon => {
                    let forgotten = jobs.forget_marks(*there).await?;
                    tracing::debug!(%pool, forgotten, "marks of tasks were removed");
                    self.pools.remove(&pool);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}
