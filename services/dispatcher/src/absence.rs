//! How long no dispatcher was there: what decides whether a redelivered task may still make a job (see
//! `windlass_core::admission`).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use windlass_broker::Broker;
use windlass_broker::kv::Bucket;
use windlass_core::admission::Absence;

/// Where any dispatcher says that it lives.
const KEY: &str = "dispatchers.seen";
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
    /// Looks when a dispatcher was seen last.
    pub(crate) async fn start(broker: &Broker) -> Self {
        let watch = Self::default();
        let bucket = broker.bucket(broker.names().control_bucket());
        watch.see(&bucket).await;
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

    /// Reads the last sign of life, keeps an absence before it in mind, and gives one.
    async fn see(&self, bucket: &Bucket) {
        let back = Timestamp::now();
        match bucket.get(KEY).await {
            Ok(Some(entry)) => {
                let seen = std::str::from_utf8(&entry.value).ok().and_then(|t| t.parse::<Timestamp>().ok());
                if let Some(last_seen) = seen
                    && back.duration_since(last_seen).unsigned_abs() > SLACK
                {
                    tracing::info!(%last_seen, "no dispatcher was seen for a while");
                    *self.lock() = Some(Absence { last_seen, back });
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "the dispatchers' last sign of life cannot be read");
                return;
            }
        }
        if let Err(error) = bucket.put(KEY, Bytes::from(back.to_string()), None).await {
            tracing::warn!(%error, "the dispatcher could not give a sign of life");
        }
    }

    /// The latest absence, if there was one.
    pub(crate) fn latest(&self) -> Option<Absence> {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Absence>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
