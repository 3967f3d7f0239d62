//! Bursts give way to others, to whoever overtakes them: where they are decided on, and where they are admitted, which
//! may be another dispatcher. That hears of it by the marks of what goes ahead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::time::sleep;
use windlass_broker::ahead::HeardAhead;
use windlass_core::flow::GiveWay;
use windlass_core::{PoolName, QueueName};

use crate::shared::Shared;

/// Before it is listened again, where that failed.
const AGAIN: Duration = Duration::from_secs(5);

/// By queue: of each in which somebody overtook once, or that this dispatcher owns.
#[derive(Debug, Default)]
pub(crate) struct Bursts {
    all: Mutex<HashMap<QueueName, Arc<Burst>>>,
}

/// What is due in one queue, where much is.
#[derive(Debug)]
pub(crate) struct Burst {
    gives_way: Mutex<GiveWay>,
}

/// Hears whom others let overtake, for as long as this is polled.
pub(crate) async fn listen(shared: &Shared) {
    let pools = shared.layout.all_pools();
    join_all(pools.iter().map(|pool| listen_to(shared, pool))).await;
}

async fn listen_to(shared: &Shared, pool: &PoolName) {
    loop {
        match HeardAhead::listen(&shared.broker, pool).await {
            Ok(mut heard) => {
                while let Some(queue) = heard.next().await {
                    shared.bursts.of(&queue).overtaken();
                }
            }
            Err(error) => tracing::debug!(%pool, %error, "nothing is heard of who overtakes a burst"),
        }
        sleep(AGAIN).await;
    }
}

// === impl Bursts ===

impl Bursts {
    /// That of a queue.
    pub(crate) fn of(&self, queue: &QueueName) -> Arc<Burst> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(burst) = all.get(queue) {
            return Arc::clone(burst);
        }
        let burst = Arc::new(Burst { gives_way: Mutex::new(GiveWay::new(Instant::now())) });
        all.insert(queue.clone(), Arc::clone(&burst));
        burst
    }

    /// Until one of the burst may be added.
    pub(crate) async fn give_way(&self, queue: &QueueName) {
        while let Some(left) = self.known(queue).and_then(|burst| burst.held_for()) {
            sleep(left).await;
        }
    }

    fn known(&self, queue: &QueueName) -> Option<Arc<Burst>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).get(queue).cloned()
    }
}

// === impl Burst ===

impl Burst {
    /// Somebody overtakes it.
    pub(crate) fn overtaken(&self) {
        self.gives_way().for_another(Instant::now());
    }

    /// Nobody is about to overtake it any more.
    pub(super) fn is_alone(&self) {
        self.gives_way().for_nobody(Instant::now());
    }

    /// How long it is held back from now on; none if it may go on.
    pub(super) fn held_for(&self) -> Option<Duration> {
        let now = Instant::now();
        self.gives_way().until(now).map(|until| until - now)
    }

    fn gives_way(&self) -> std::sync::MutexGuard<'_, GiveWay> {
        self.gives_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn nothing_is_added_to_a_burst_while_somebody_overtakes_it() -> anyhow::Result<()> {
        let (queue, other): (QueueName, QueueName) = ("mail".parse()?, "other".parse()?);
        let bursts = Bursts::default();
        assert!(bursts.give_way(&queue).now_or_never().is_some());
        let burst = bursts.of(&queue);
        burst.overtaken();
        assert!(bursts.give_way(&queue).now_or_never().is_none());
        assert!(bursts.give_way(&other).now_or_never().is_some());
        burst.is_alone();
        assert!(bursts.give_way(&queue).now_or_never().is_some());
        bursts.of(&queue).overtaken();
        // It ends by itself.
        bursts.give_way(&queue).await;
        assert!(burst.held_for().is_none());
        Ok(())
    }
}
