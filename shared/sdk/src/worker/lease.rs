//! Keeping a lease while a handler runs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use windlass_broker::jobs::Jobs;

use super::held::Held;

/// Extends the lease every third of its time, for as long as it is polled. Returns when it is lost. The time runs from
/// the last confirmation, not from this call: a job may have waited, or been claimed, for most of it before.
///
/// The broker extends a lease for whoever asks, also for a holder that another has replaced; so after a lease's time
/// without confirmation nothing is sent before the stream's leader shows that the token is still last. And never again
/// without that: a confirmation does not take back a delivery that was made meanwhile and is not claimed yet.
pub(super) async fn keep(held: &Held, jobs: &Jobs) {
    let mut in_doubt = false;
    let mut tried_at = None;
    loop {
        sleep_until(due_at(held.confirmed_at(), tried_at, held.ack_wait)).await;
        tried_at = Some(Instant::now());
        in_doubt |= !held.is_leased();
        if in_doubt {
            let token = held.token();
            match Box::pin(jobs.read(&held.address.queue, held.address.job_id)).await {
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

/// When the next heartbeat is due, after one that may have failed.
fn due_at(confirmed_at: Instant, tried_at: Option<Instant>, ack_wait: Duration) -> Instant {
    tried_at.map_or(confirmed_at, |tried_at| tried_at.max(confirmed_at)) + ack_wait / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by the fault suite: a job that waited to run alone, and then ran, had no heartbeat for twice a third of its
    /// lease, and was given away.
    #[test]
    fn a_heartbeat_is_due_by_the_last_word_of_the_broker() {
        let ack_wait = Duration::from_secs(3);
        let arrived = Instant::now();
        let after = |seconds| arrived + Duration::from_secs(seconds);
        // Whenever it is begun: it may be overdue then.
        assert_eq!(due_at(arrived, None, ack_wait), after(1));
        assert_eq!(
            due_at(arrived, Some(after(5)), ack_wait),
            after(6),
            "one that failed is not repeated at once"
        );
        assert_eq!(due_at(after(7), Some(after(5)), ack_wait), after(8), "a claim confirms as well");
    }
}
