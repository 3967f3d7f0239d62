//! Forgets the ends of queues that are to keep them for a while only (`outcome_ttl`), under the reconciler's lease.
//!
//! When they may go `windlass_core::forgetting` says. What goes is removed by one request a queue, twice a second: the
//! records stand with their full time until then, so that nothing depends on its being done in time, or at all.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_broker::jobs::{self, Jobs};
use windlass_core::forgetting::{Forgetting, Settled};
use windlass_core::{PoolName, QueueName};

use crate::shared::Shared;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(500);
/// After a look that failed.
const AGAIN: Duration = Duration::from_secs(5);

/// Keeps it up for as long as this dispatcher leads.
pub(crate) async fn keep_up(shared: &Shared) {
    let mut settings = shared.settings.watch();
    let mut queues = HashMap::<QueueName, Forgetting>::new();
    let begun = Instant::now();
    loop {
        let wanted = wanted(shared);
        queues.retain(|queue, forgetting| wanted.get(queue) == Some(&forgetting.keep()));
        for (queue, keep) in wanted {
            queues.entry(queue).or_insert_with(|| Forgetting::new(keep));
        }
        if queues.is_empty() {
            // It is told when somebody sets one.
            if settings.changed().await.is_err() {
                return;
            }
            continue;
        }
        let mut pause = EVERY;
        for pool in shared.layout.all_pools() {
            if let Err(error) = look(shared, &pool, &mut queues, begun).await {
                tracing::warn!(%pool, %error, "ends could not be forgotten; they are kept meanwhile");
                pause = AGAIN;
            }
        }
        sleep(pause).await;
    }
}

/// The queues whose ends are kept for less than the horizon, with how long.
fn wanted(shared: &Shared) -> HashMap<QueueName, Duration> {
    let settings = shared.settings.watch();
    let settings = settings.borrow();
    let keep = |queue: &QueueName, ttl: Duration| (ttl < shared.layout.horizon).then(|| (queue.clone(), ttl));
    // A controlled queue's jobs wait in more places than its consumers tell of.
    let short = settings.iter().filter(|(_, one)| !one.settings.is_controlled());
    short.filter_map(|(queue, one)| keep(queue, one.settings.outcome_ttl?)).collect()
}

async fn look(
    shared: &Shared,
    pool: &PoolName,
    queues: &mut HashMap<QueueName, Forgetting>,
    begun: Instant,
) -> Result<(), jobs::Error> {
    let mut of_pool: Vec<_> =
        queues.iter_mut().filter(|(queue, _)| shared.layout.pool_of(queue) == *pool).collect();
    if of_pool.is_empty() {
        return Ok(());
    }
    let jobs = Jobs::new(&shared.broker, pool.clone());
    let (place, empty) = jobs.place().await?;
    for (queue, forgetting) in &mut of_pool {
        forgetting.mark(begun.elapsed(), place);
        let settled = Settled { work: jobs.settled(queue).await?, ..empty };
        if let Some(up_to) = forgetting.up_to(settled) {
            let forgotten = jobs.forget_ends(queue, up_to).await?;
            if forgotten > 0 {
                metrics::counter!("windlass_ends_forgotten_total", "queue" => queue.to_string())
                    .increment(forgotten);
            }
        }
    }
    Ok(())
}
