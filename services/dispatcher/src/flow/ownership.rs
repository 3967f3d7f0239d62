//! Which dispatcher owns which queues: a lease for each of a few shards, over all dispatchers.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_broker::leader::Lease;
use windlass_core::QueueName;

use super::owner::own;
use crate::shared::Shared;

/// Queues are spread over so many leases, so that their number does not grow with the queues'.
const SHARDS: u64 = 8;
/// A dispatcher that dies is replaced after this, and one look more.
const LEASE_TTL: Duration = Duration::from_secs(3);
/// Between two looks for a lease that is free; longer for who has some already, so that they are shared.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Owns queues whenever no other dispatcher does, until told to stop.
pub(crate) async fn run(shared: &Arc<Shared>, instance: &str, stop: &CancellationToken) {
    let held = AtomicU64::new(0);
    let shards = (0..SHARDS).map(|shard| share(shared, instance, stop, shard, &held));
    futures::future::join_all(shards).await;
}

async fn share(shared: &Arc<Shared>, instance: &str, stop: &CancellationToken, shard: u64, held: &AtomicU64) {
    let control = shared.broker.bucket(shared.broker.names().control_bucket());
    let lease = Lease::new(control, format!("leader.flow-{shard}"), instance, LEASE_TTL);
    while !stop.is_cancelled() {
        match lease.acquire().await {
            Ok(Some(mut term)) => {
                held.fetch_add(1, Ordering::Relaxed);
                let lost = stop.child_token();
                let keeping = async {
                    tokio::select! {
                        error = term.keep(|_| ()) => {
                            tracing::warn!(shard, error = %anyhow::Error::new(error), "another owns these queues from now on");
                        }
                        () = lost.cancelled() => {}
                    }
                    lost.cancel();
                };
                // Both end with the token: nothing of ours is written once the lease is given up.
                tokio::join!(keeping, owners(shared, instance, shard, lost.clone()));
                held.fetch_sub(1, Ordering::Relaxed);
                term.release().await;
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(shard, %error, "a lease of queues cannot be reached"),
        }
        let patience = LOOK_EVERY
            + Duration::from_millis(100) * u32::try_from(held.load(Ordering::Relaxed)).unwrap_or(0);
        stop.run_until_cancelled(sleep(patience)).await;
    }
}

/// An owner for each queue of the shard that was ever set: one that is not controlled any more may still have somebody
/// in line.
async fn owners(shared: &Arc<Shared>, instance: &str, shard: u64, stop: CancellationToken) {
    let mut known = shared.settings.watch();
    let tasks = TaskTracker::new();
    let mut owned = HashSet::new();
    while !stop.is_cancelled() {
        let all = Arc::clone(&known.borrow_and_update());
        for queue in all.keys().filter(|queue| shard_of(queue) == shard) {
            if owned.insert(queue.clone()) {
                let owner = own(Arc::clone(shared), queue.clone(), instance.to_owned(), stop.clone());
                tasks.spawn(owner);
            }
        }
        if !matches!(stop.run_until_cancelled(known.changed()).await, Some(Ok(()))) {
            break;
        }
    }
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

/// The same in every version, else two would own one queue in turn.
fn shard_of(queue: &QueueName) -> u64 {
    queue.as_str().bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
        % SHARDS
}
