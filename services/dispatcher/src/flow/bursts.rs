//! Bursts of the queues that this dispatcher owns, which give way to others: to whoever overtakes them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use windlass_core::QueueName;
use windlass_core::flow::GiveWay;

/// For no longer a task is held back.
const LONGEST: Duration = Duration::from_millis(500);

/// By queue; of a queue that another dispatcher owns nothing is known.
#[derive(Debug, Default)]
pub(crate) struct Bursts {
    owned: Mutex<HashMap<QueueName, Arc<Burst>>>,
}

/// What is due in one queue, where much is.
#[derive(Debug)]
pub(super) struct Burst {
    gives_way: Mutex<GiveWay>,
}

// === impl Bursts ===

impl Bursts {
    /// That of a queue, as long as it is kept.
    pub(super) fn of(&self, queue: &QueueName) -> Arc<Burst> {
        let burst = Arc::new(Burst { gives_way: Mutex::new(GiveWay::new(Instant::now())) });
        let mut owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        owned.retain(|_, burst| Arc::strong_count(burst) > 1);
        owned.insert(queue.clone(), Arc::clone(&burst));
        burst
    }

    /// Somebody overtakes the burst of this queue, if there is one.
    pub(crate) fn overtaken(&self, queue: &QueueName) {
        if let Some(burst) = self.known(queue) {
            burst.overtaken();
        }
    }

    /// Until one of the burst may be added: not for long, however often somebody overtakes it.
    pub(crate) async fn give_way(&self, queue: &QueueName) {
        let waiting = async {
            while let Some(left) = self.known(queue).and_then(|burst| burst.held_for()) {
                sleep(left).await;
            }
        };
        let _ = timeout(LONGEST, waiting).await;
    }

    fn known(&self, queue: &QueueName) -> Option<Arc<Burst>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner).get(queue).cloned()
    }
}

// === impl Burst ===

impl Burst {
    /// Somebody overtakes it.
    pub(super) fn overtaken(&self) {
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
        bursts.overtaken(&queue);
        assert!(bursts.give_way(&queue).now_or_never().is_some(), "another dispatcher owns the queue");
        let burst = bursts.of(&queue);
        bursts.overtaken(&queue);
        assert!(bursts.give_way(&queue).now_or_never().is_none());
        assert!(bursts.give_way(&other).now_or_never().is_some());
        burst.is_alone();
        // It ends by itself.
        bursts.give_way(&queue).await;
        assert!(burst.held_for().is_none());
        Ok(())
    }

    #[test]
    fn queues_that_are_not_owned_any_more_are_forgotten() -> anyhow::Result<()> {
        let bursts = Bursts::default();
        for number in 0..100 {
            drop(bursts.of(&format!("q{number}").parse()?));
        }
        let owned = bursts.owned.lock().unwrap_or_else(PoisonError::into_inner).len();
        assert!(owned <= 2, "{owned} are kept");
        Ok(())
    }
}
