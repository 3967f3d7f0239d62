//! Reading on, and admitting by turns, for as long as much waits.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio::try_join;
use tokio_util::task::TaskTracker;
use windlass_broker::ahead::TaskBacklog;
use windlass_core::lookahead::{At, Lookahead};

use super::SHORT;
use super::tasks::Tasks;
use crate::admit;
use crate::shared::Shared;

/// Where there is nothing to do, before the next look.
const PAUSE: Duration = Duration::from_millis(10);
/// After a look that failed.
const AGAIN: Duration = Duration::from_secs(1);
/// Tasks that are fetched at one time.
const FETCHES: usize = 32;
/// Of what the consumer has come on, so much goes ahead at most: each costs about as much again when it is delivered.
const SHARE: u64 = 4;
/// And so many in any case.
const FREE: u64 = 256;

/// Admits tasks ahead of their delivery, until few wait, or this is dropped: what has begun goes on then.
pub(super) async fn look_out(shared: &Arc<Shared>) {
    let backlog = TaskBacklog::new(&shared.broker);
    let together = shared.in_flight / 2 + 1;
    let (room, under_way) = (Arc::new(Semaphore::new(together)), TaskTracker::new());
    let (mut tasks, mut ahead) = (Tasks::new(shared, &backlog), Lookahead::default());
    let (mut began_at, mut taken) = (None, 0);
    let mut at = At::default();
    loop {
        ahead.passed(at.reached);
        // Beside each other: whoever is to overtake waits for both. That the consumer goes on meanwhile does not matter,
        // as what it will have soon is left to it.
        let looked = try_join!(backlog.progress(), tasks.look(at, &mut ahead));
        let (progress, more) = match looked {
            Ok((progress, _)) if progress.pending <= SHORT => break,
            Ok(looked) => looked,
            Err(error) => {
                tracing::warn!(%error, "what waits behind a burst could not be looked at; it waits for its delivery");
                sleep(AGAIN).await;
                continue;
            }
        };
        let reached = progress.reached;
        at = where_it_is(shared, reached);
        let allowed = FREE + (reached - *began_at.get_or_insert(reached)) / SHARE;
        let (mut turns, mut queues) = (Vec::new(), HashSet::new());
        let most = room.available_permits().min(FETCHES);
        while turns.len() < most
            && taken < allowed
            && let Some(((queue, _), sequence)) = ahead.next(at)
        {
            queues.insert(queue);
            turns.push(sequence);
            taken += 1;
        }
        // Where there are many of others as well, a burst need not wait for them.
        if turns.len() < most && taken < allowed {
            for queue in &queues {
                shared.bursts.overtaken(queue);
            }
        }
        tracing::debug!(reached, pending = progress.pending, taken, turns = turns.len(), more, "looked out");
        let fetched = turns.iter().map(|sequence| backlog.take(&shared.layout, *sequence));
        for task in join_all(fetched).await {
            match task {
                Ok(Some(task)) => {
                    let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
                    let shared = Arc::clone(shared);
                    under_way.spawn(async move {
                        Box::pin(admit::admit_ahead(&shared, task)).await;
                        drop(permit);
                    });
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "a task waits for its delivery"),
            }
        }
        if turns.is_empty() && !more {
            sleep(PAUSE).await;
        }
    }
    under_way.close();
    under_way.wait().await;
}

/// Where the consumer is. Not by what is unacknowledged: in a burst that is thousands, which are dealt with, and whoever
/// stands right behind them would be left to wait.
fn where_it_is(shared: &Shared, reached: u64) -> At {
    let together = shared.in_flight as u64;
    At { reached, near: reached + together / 4, soon: reached + 2 * together }
}
