//! The condition that this program understands what the fleet writes.

use std::time::Duration;

use windlass_broker::Broker;

use crate::health::Health;

/// Its name.
const CONDITION: &str = "version";
/// Without another value that is not known, it is met again.
const QUIET: Duration = Duration::from_secs(60);

/// Keeps the condition, for as long as it is polled.
pub(crate) async fn watch(broker: Broker, health: Health) {
    let mut met = broker.last_not_understood();
    health.ready(CONDITION);
    while met.changed().await.is_ok() {
        loop {
            let cause = met.borrow_and_update().as_ref().map(|met| {
                format!(
                    "a newer program wrote into {} what this version does not know ({}): upgrade this program",
                    met.stream, met.cause
                )
            });
            if let Some(cause) = cause {
                health.not_ready(CONDITION, cause);
            }
            match tokio::time::timeout(QUIET, met.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => break,
            }
        }
        health.ready(CONDITION);
    }
}
