//! Keeps the broker's time, and says where this machine's clock differs from it.

use windlass_broker::Broker;
use windlass_broker::clock::is_wrong;

use crate::health::Health;

/// Its name. A wrong clock of this machine is no cause to be unready: what decides goes by the broker's.
const CONDITION: &str = "clock";

/// For as long as it is polled.
pub(crate) async fn watch(broker: Broker, health: Health) {
    tokio::join!(broker.keep_time(), report(&broker, &health));
}

async fn report(broker: &Broker, health: &Health) {
    let mut skews = broker.skew();
    loop {
        let skew = *skews.borrow_and_update();
        let remark = skew.filter(|skew| is_wrong(*skew)).map(|skew| {
            let side = if skew.is_negative() { "behind" } else { "ahead of" };
            format!(
                "this machine's clock is {:.0} s {side} the broker's: synchronize them",
                skew.as_secs_f64().abs()
            )
        });
        health.ready_but(CONDITION, remark);
        if skews.changed().await.is_err() {
            return;
        }
    }
}
