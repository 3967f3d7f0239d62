//! Tells the fleet what was missed lately. Best effort: the cursors count all of it.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use windlass_broker::Broker;
use windlass_core::ScheduleId;
use windlass_schedules::misfires::Recent;

/// What this leader has recorded as missed, and the ones before it.
#[derive(Debug, Default)]
pub(crate) struct Misfires {
    recent: Mutex<Recent>,
    changed: Notify,
}

/// Between two writes: after a long downtime very many schedules miss instants at once.
const EVERY: Duration = Duration::from_secs(1);

// === impl Misfires ===

impl Misfires {
    pub(crate) fn add(&self, id: &ScheduleId, count: u64, now: Timestamp) {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).add(id, count, now);
        self.changed.notify_one();
    }

    /// Tells each change, soon. Runs until it is dropped.
    pub(crate) async fn tell(&self, broker: &Broker) -> Infallible {
        // What the leader before told is to be told on.
        let mut before = Recent::read(broker).await.ok();
        loop {
            self.changed.notified().await;
            let recent = {
                let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(before) = before.take() {
                    for missed in before.schedules {
                        recent.add(&missed.id, missed.instants.count, missed.instants.last_at);
                    }
                }
                recent.clone()
            };
            if let Err(error) = recent.tell(broker).await {
                tracing::debug!(%error, "it could not be told what was missed");
                self.changed.notify_one();
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}
