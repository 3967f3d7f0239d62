//! Tasks are admitted in the order in which they came, and behind a burst by turns.
//!
//! While many wait in TASKS, one dispatcher is the lookout (`intake/lookout.rs`): it reads on to the end, finds the tasks
//! of other queues than the burst's, and where turns are shared out in a queue, of other tenants and priorities; and
//! admits some of those ahead of their delivery. When they are delivered in the end, their jobs exist; for what has
//! waited longer than ends are remembered there are marks (`windlass_broker::ahead`). What a second delivery would mean
//! something for (unique tasks, and those that are collected), queues in strict order, and queues that forget their ends
//! early are left to their delivery.

mod lookout;
mod marks;
mod tasks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use windlass_broker::delivery::Delivered;
use windlass_broker::leader::Lease;

pub(crate) use self::marks::{Before, Marks, before, may_go_ahead};
use crate::shared::Shared;

/// Tasks that wait before it is looked for others behind them: admitted in a tenth of a second.
const LONG: u64 = 1000;
/// It is looked until no more than this wait: whoever comes then is admitted at once.
const SHORT: u64 = 100;
const LEASE_KEY: &str = "leader.intake";
const LEASE_TTL: Duration = Duration::from_secs(5);
/// Before the lease of another is asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// Whether much waits, as deliveries tell.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    is_long: AtomicBool,
    grew: Notify,
}

// === impl Backlog ===

impl Backlog {
    /// A task was delivered.
    pub(crate) fn heard(&self, delivered: &Delivered) {
        if delivered.pending > LONG && !self.is_long.swap(true, Ordering::Relaxed) {
            self.grew.notify_one();
        }
    }

    async fn long(&self) {
        while !self.is_long.load(Ordering::Relaxed) {
            self.grew.notified().await;
        }
    }

    fn is_over(&self) {
        self.is_long.store(false, Ordering::Relaxed);
    }
}

/// Whether some may wait behind a task who are admitted ahead of it.
pub(crate) fn is_overtaken(delivered: &Delivered) -> bool {
    delivered.pending > SHORT
}

/// Looks out whenever much waits and no other dispatcher does, until told to stop.
pub(crate) async fn run(shared: &Arc<Shared>, instance: &str, stop: &CancellationToken) {
    let control = shared.broker.bucket(shared.broker.names().control_bucket());
    let lease = Lease::new(control, LEASE_KEY, instance, LEASE_TTL);
    while stop.run_until_cancelled(shared.backlog.long()).await.is_some() {
        match lease.acquire().await {
            Ok(Some(mut term)) => {
                tracing::info!("many tasks wait: those of other lanes are admitted ahead of a burst's");
                tokio::select! {
                    lost = term.keep(|_| ()) => {
                        tracing::warn!(error = %anyhow::Error::new(lost), "another looks out for tasks from now on");
                    }
                    () = lookout::look_out(shared) => {}
                    () = stop.cancelled() => {}
                }
                term.release().await;
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "the lease of the lookout cannot be reached"),
        }
        shared.backlog.is_over();
        stop.run_until_cancelled(sleep(AGAIN)).await;
    }
}
