//! The network between some services and the broker: slow, silent, cut, and cut within a message.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;
use windlass_testkit::{Proxy, Weather};

use super::Scene;
use crate::faults::stage::LEASE;

/// Who is behind a proxy; the others have the way to the broker for themselves.
const BEHIND: [&str; 3] = ["worker-1", "worker-2", "dispatcher-1"];

pub(super) async fn disturbed(scene: &mut Scene<'_>) -> Result<()> {
    let port = scene.stage.one()?.port();
    let mut proxies = Vec::new();
    for label in BEHIND {
        let proxy = Proxy::start(port).await?;
        scene.stage.set_env(label, vec![("WINDLASS__NATS__URL".to_owned(), proxy.url().into())]);
        scene.stage.replace(label).await?;
        proxies.push((label, proxy));
    }
    for _ in 0..scene.times(7, 3) {
        let Some((label, proxy)) = scene.seed.pick(&proxies) else { break };
        let lease = u64::try_from(LEASE.as_millis())?;
        let (what, weather, length) = match scene.seed.below(4) {
            0 => ("slow", Weather::Slow(scene.seed.millis(20, 700)), scene.seed.millis(1000, 4000)),
            1 => ("silent", Weather::Silent, scene.seed.millis(lease / 2, lease * 2)),
            2 => ("cut", Weather::Cut, scene.seed.millis(50, lease * 2)),
            _ => ("truncated", Weather::Truncated(1 + scene.seed.below(300)), Duration::from_millis(500)),
        };
        let whom = scene.stage.whom(label)?;
        let fault = scene.stage.faults.begin(&format!("network {what}"), whom);
        proxy.set(weather);
        sleep(length).await;
        proxy.set(Weather::Fair);
        // What was held comes now.
        scene.stage.faults.end(fault);
        scene.wait(500, 2000).await;
    }
    // While the proxies are there still.
    for label in BEHIND {
        scene.stage.set_env(label, Vec::new());
        scene.stage.replace(label).await?;
    }
    Ok(())
}
