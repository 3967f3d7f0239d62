//! Keeps what is known of the dispatchers' absences up to date, and gives this one's sign of life.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use windlass_broker::Broker;
use windlass_broker::absence::{Signs, give_sign, keep};
use windlass_core::admission::Absence;

/// Before a look that failed is tried again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// After this long, what was delivered before an absence has been delivered again.
const OVER_AFTER: Duration = Duration::from_secs(7 * 86_400);
/// How often: three may be missed.
const EVERY: Duration = Duration::from_secs(20);

/// What is known of absences.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    latest: Mutex<Option<Absence>>,
}

// === impl Watch ===

impl Watch {
    /// Looks when a dispatcher was seen last; not before that is known may tasks be admitted.
    pub(crate) async fn start(broker: &Broker, stop: &CancellationToken) -> Self {
        let watch = Self::default();
        while !stop.is_cancelled() && !watch.see(broker).await {
            stop.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await;
        }
        watch
    }

    /// Says now and then that a dispatcher lives.
    pub(crate) async fn run(&self, broker: &Broker, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            self.see(broker).await;
            stop.run_until_cancelled(tokio::time::sleep(EVERY)).await;
        }
    }

    /// Reads the last sign of life, keeps an absence before it for all replicas, and only then gives a sign; false if
    /// not all of that was possible.
    async fn see(&self, broker: &Broker) -> bool {
        match self.try_see(broker).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the dispatchers' signs of life cannot be read or given"
                );
                false
            }
        }
    }

    async fn try_see(&self, broker: &Broker) -> anyhow::Result<()> {
        let signs = Signs::read(broker).await?;
        // Of the broker that stores the signs, and read after them.
        let now = broker.read_time().await?;
        let latest = match (signs.absence, signs.present(now)) {
            // A shorter one hides less; what a longer one hid may still be unread.
            (Some(known), Some(found)) if known.length() > found.length() && !is_over(&known, now) => {
                Some(known)
            }
            (_, Some(found)) => {
                tracing::info!(last_seen = %found.last_seen, "no dispatcher was seen for a while");
                keep(broker, found).await?;
                Some(found)
            }
            (known, None) => known,
        };
        *self.lock() = latest;
        Ok(give_sign(broker).await?)
    }

    /// The latest absence, if there was one.
    pub(crate) fn latest(&self) -> Option<Absence> {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Absence>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_over(absence: &Absence, now: Timestamp) -> bool {
    now.duration_since(absence.back).unsigned_abs() > OVER_AFTER
}
