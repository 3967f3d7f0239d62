//! How long no dispatcher was there: what decides whether a redelivered task may still make a job (see
//! `windlass_core::admission`).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use windlass_broker::Broker;
use windlass_broker::kv::{self, Bucket};
use windlass_core::admission::Absence;

/// Where any dispatcher says that it lives.
const SEEN: &str = "dispatchers.seen";
/// Where the first that is back says for how long none was there, for all that come after it.
const ABSENCE: &str = "dispatchers.absence";
/// Before a look that failed is tried again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// After this long, what was delivered before an absence has been delivered again.
const OVER_AFTER: Duration = Duration::from_secs(7 * 86_400);
/// How often.
const EVERY: Duration = Duration::from_secs(20);
/// How old what was said may be: three times missed.
pub(crate) const SLACK: Duration = Duration::from_secs(60);

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
        let bucket = broker.bucket(broker.names().control_bucket());
        while !stop.is_cancelled() && !watch.see(&bucket).await {
            stop.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await;
        }
        watch
    }

    /// Says now and then that a dispatcher lives.
    pub(crate) async fn run(&self, broker: &Broker, stop: &CancellationToken) {
        let bucket = broker.bucket(broker.names().control_bucket());
        while !stop.is_cancelled() {
            self.see(&bucket).await;
            stop.run_until_cancelled(tokio::time::sleep(EVERY)).await;
        }
    }

    /// Reads the last sign of life, keeps an absence before it for all replicas, and only then gives a sign; false if
    /// not all of that was possible.
    async fn see(&self, bucket: &Bucket) -> bool {
        match self.try_see(bucket).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "the dispatchers' signs of life cannot be read or given");
                false
            }
        }
    }

    async fn try_see(&self, bucket: &Bucket) -> Result<(), kv::Error> {
        let back = Timestamp::now();
        let known = bucket.get(ABSENCE).await?.and_then(|e| parse(&e.value));
        let last_seen =
            bucket.get(SEEN).await?.and_then(|e| std::str::from_utf8(&e.value).ok()?.parse().ok());
        let found = last_seen.map(|last_seen| Absence { last_seen, back }).filter(|a| length(a) > SLACK);
        let latest = match (known, found) {
            // A shorter one hides less; what a longer one hid may still be unread.
            (Some(known), Some(found)) if length(&known) > length(&found) && !is_over(&known, back) => {
                Some(known)
            }
            (_, Some(found)) => {
                tracing::info!(last_seen = %found.last_seen, "no dispatcher was seen for a while");
                let text = format!("{} {}", found.last_seen, found.back);
                bucket.put(ABSENCE, Bytes::from(text), None).await?;
                Some(found)
            }
            (known, None) => known,
        };
        *self.lock() = latest;
        bucket.put(SEEN, Bytes::from(back.to_string()), None).await?;
        Ok(())
    }

    /// The latest absence, if there was one.
    pub(crate) fn latest(&self) -> Option<Absence> {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Absence>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn length(absence: &Absence) -> Duration {
    absence.back.duration_since(absence.last_seen).unsigned_abs()
}

fn is_over(absence: &Absence, now: Timestamp) -> bool {
    now.duration_since(absence.back).unsigned_abs() > OVER_AFTER
}

fn parse(value: &[u8]) -> Option<Absence> {
    let (last_seen, back) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    Some(Absence { last_seen: last_seen.parse().ok()?, back: back.parse().ok()? })
}
