//! Keeping a lease while a handler runs.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_broker::delivery::Handle;
use windlass_broker::jobs::{Address, Jobs};

/// Extends the lease every third of its time, for as long as it is polled. Returns when it is lost.
///
/// The broker extends a lease for whoever asks, also for a holder that another has replaced; so after a lease's time
/// without confirmation nothing is sent before the stream's leader shows that the token is still last.
pub(super) async fn keep(handle: &Handle, jobs: &Jobs, address: &Address, token: u64, ack_wait: Duration) {
    let mut confirmed_at = Instant::now();
    loop {
        sleep(ack_wait / 3).await;
        if confirmed_at.elapsed() >= ack_wait {
            match jobs.read(&address.queue, address.job_id).await {
                Ok(seen) if !seen.view.done && seen.view.last.is_some_and(|l| l.sequence == token) => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, "a lease cannot be confirmed; saying nothing");
                    continue;
                }
            }
        }
        match handle.extend(ack_wait / 6).await {
            Ok(()) => confirmed_at = Instant::now(),
            Err(error) => tracing::warn!(%error, "a heartbeat was not confirmed"),
        }
    }
}
