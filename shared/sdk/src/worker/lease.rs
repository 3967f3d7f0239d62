//! Keeping a lease while a handler runs.

use std::sync::atomic::Ordering;

use tokio::time::sleep;
use windlass_broker::jobs::Jobs;

use super::held::Held;

/// Extends the lease every third of its time, for as long as it is polled. Returns when it is lost.
///
/// The broker extends a lease for whoever asks, also for a holder that another has replaced; so after a lease's time
/// without confirmation nothing is sent before the stream's leader shows that the token is still last. And never again
/// without that: a confirmation does not take back a delivery that was made meanwhile and is not claimed yet.
pub(super) async fn keep(held: &Held, jobs: &Jobs) {
    let mut in_doubt = false;
    loop {
        sleep(held.ack_wait / 3).await;
        in_doubt |= !held.is_leased();
        if in_doubt {
            let token = held.token();
            match jobs.read(&held.address.queue, held.address.job_id).await {
                Ok(seen) if !seen.view.done && seen.view.last.is_some_and(|l| l.sequence == token) => {}
                // A claim of our own came in between, or is on its way: its own outcome tells.
                Ok(_) if held.claiming.load(Ordering::Acquire) || held.token() != token => continue,
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, "a lease cannot be confirmed; saying nothing");
                    continue;
                }
            }
        }
        match held.handle.extend(held.ack_wait / 6).await {
            Ok(()) => held.confirm(),
            Err(error) => tracing::warn!(%error, "a heartbeat was not confirmed"),
        }
    }
}
