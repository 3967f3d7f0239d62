//! What a leader does: it follows the schedules, and fires each when it is due.
//!
//! Nothing is polled: the loop sleeps until the earliest instant, a change of a schedule, or the end of a fire. All it
//! holds can be lost at any moment, as it is rebuilt from the two buckets; dropping it leaves what it was publishing
//! in doubt, which the next leader (or the next round of this one) resolves, see [`crate::fire`].

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{FuturesUnordered, Stream, StreamExt as _};
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_broker::kv::{self, Change};
use windlass_core::ScheduleId;
use windlass_core::schedule::CatchUp;
use windlass_schedules::store;

use crate::fire::{self, Begun, Failure, Published, World};
use crate::measure;
use crate::plan::{Outcome, Place, Plan, Work};

/// Why the loop ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It was told to stop, and every fire has come to its end.
    Stopped,
    /// Changes are not reported any more.
    Unwatched(Option<kv::Error>),
}

/// The sleep follows the steady clock; a wall clock that is set shows after this at the latest.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);
/// Between two reports of failing fires; all are counted.
const REPORT_EVERY: Duration = Duration::from_secs(10);

struct Leading<'a, W> {
    world: &'a W,
    plan: Plan,
    /// The cursors as they were at the beginning, until their schedules are seen; none if they are not known.
    cursors: Option<HashMap<String, (Bytes, u64)>>,
    reported: Option<Instant>,
}

/// Fires what `changes` (the current schedules, then every change) makes due, `max_fires` schedules at one time.
///
/// `cursors` are those of the beginning, if they are known: else each is read when its schedule is first looked at. One
/// that is not what it says any more is found out, as every write of a cursor is conditional. They stay as they are stored
/// until then, which takes a third of the memory.
pub(crate) async fn lead<W: World>(
    world: &W,
    mut changes: impl Stream<Item = Result<Change, kv::Error>> + Unpin,
    catch_up: &CatchUp,
    cursors: Option<HashMap<String, (Bytes, u64)>>,
    max_fires: usize,
    stop: &CancellationToken,
) -> Ended {
    let mut leading = Leading { world, plan: Plan::default(), cursors, reported: None };
    let (mut fires, mut ends) = (FuturesUnordered::new(), FuturesUnordered::new());
    // Whose tasks are stored: their cursors follow once nothing urgent is on its way, or there is room for nothing more.
    let mut published = Vec::new();
    loop {
        let stopping = stop.is_cancelled();
        if stopping && fires.is_empty() && published.is_empty() && ends.is_empty() {
            return Ended::Stopped;
        }
        let mut room = max_fires.saturating_sub(fires.len() + published.len() + ends.len());
        while !stopping && room > 0 {
            let Some(work) = leading.plan.take_due(later(world.now(), fire::AHEAD)) else { break };
            room -= 1;
            fires.push(async move {
                let result = fire::begin(world, &work.schedule, work.place.clone(), work.at, catch_up).await;
                (work, result)
            });
        }
        if fires.is_empty() || room == 0 {
            ends.extend(published.drain(..).map(|(work, published): (Work, Box<Published>)| async move {
                let result = fire::end(world, work.id(), *published).await;
                (work, result)
            }));
        }
        let sleep = tokio::time::sleep(leading.until_next_wake());
        tokio::select! {
            () = stop.cancelled(), if !stopping => {}
            change = changes.next(), if !stopping => match change {
                Some(Ok(change)) => leading.apply(change),
                Some(Err(error)) => return Ended::Unwatched(Some(error)),
                // Both may come at once, and then it was stopped.
                None if stop.is_cancelled() => {}
                None => return Ended::Unwatched(None),
            },
            Some((work, result)) = fires.next() => match result {
                Ok(Begun::Published(done)) => published.push((work, done)),
                Ok(Begun::Ended(outcome)) => leading.plan.finish(&work, outcome, world.now().max(work.at)),
                Err(failure) => leading.failed(&work, &failure),
            },
            Some((work, result)) = ends.next() => match result {
                Ok(outcome) => leading.plan.finish(&work, outcome, world.now().max(work.at)),
                Err(failure) => leading.failed(&work, &failure),
            },
            () = sleep, if room > 0 && !stopping => {}
        }
    }
}

// === impl Leading ===

impl<W: World> Leading<'_, W> {
    fn until_next_wake(&self) -> Duration {
        let Some(wake) = self.plan.next_wake() else { return LONGEST_SLEEP };
        // Negative: it has come.
        let left = Duration::try_from(wake.duration_since(self.world.now())).unwrap_or_default();
        left.saturating_sub(fire::AHEAD).min(LONGEST_SLEEP)
    }

    fn apply(&mut self, change: Change) {
        match change.value {
            Some(value) => self.put(&change.key, value),
            None => {
                if let Ok(id) = change.key.parse() {
                    tracing::info!(schedule = %id, "a schedule was removed");
                    self.plan.remove(&id);
                    self.world.forget(&id);
                }
            }
        }
        measure::schedules(self.plan.len());
    }

    fn put(&mut self, key: &str, value: Bytes) {
        match store::decode(key, value) {
            Ok(schedule) => {
                tracing::debug!(schedule = %schedule.id, "a schedule was made or changed");
                let place = match &mut self.cursors {
                    None => Place::Unknown,
                    Some(cursors) => match cursors.remove(key) {
                        None => Place::None,
                        // One that is malformed is read again, and told then.
                        Some((value, revision)) => store::decode_cursor(value)
                            .map_or(Place::Unknown, |cursor| Place::At(Box::new(cursor), revision)),
                    },
                };
                self.plan.upsert(schedule, place, self.world.now());
            }
            Err(error) => {
                measure::malformed();
                tracing::error!(key, %error, "a malformed schedule is skipped");
                // What stood there before is not what it says now.
                if let Ok(id) = key.parse() {
                    self.plan.remove(&id);
                }
            }
        }
    }

    /// A step is tried again after a while, from the stored cursor.
    fn failed(&mut self, work: &Work, failure: &Failure) {
        self.report(work.id(), failure);
        let (delay, now) = (retry_delay(self.plan.failures(work)), self.world.now());
        // What is due is begun so long ahead, and this is not to be.
        let again = Outcome::Retry(later(now, delay + fire::AHEAD));
        self.plan.finish(work, again, now);
    }

    fn report(&mut self, id: &ScheduleId, failure: &Failure) {
        measure::failed();
        if self.reported.is_some_and(|at| at.elapsed() < REPORT_EVERY) {
            return;
        }
        self.reported = Some(Instant::now());
        let error: &dyn std::error::Error = failure;
        let cause = error.source().map(ToString::to_string);
        tracing::warn!(schedule = %id, error = %failure, cause, "a schedule could not fire; it is tried again");
    }
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    now.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// From 200 ms, twice as long with each failure, at most 10 s.
fn retry_delay(failures: u32) -> Duration {
    Duration::from_millis(200 << failures.min(6)).min(Duration::from_secs(10))
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc;
    use prost::Message as _;
    use windlass_proto::v1;

    use super::*;
    use crate::fire::tests::{Fake, at, schedule};

    type Sender = mpsc::UnboundedSender<Result<Change, kv::Error>>;

    fn put(changes: &Sender, id: &str, period_seconds: u64, created_at: i64) {
        let value = v1::Schedule::from(&schedule(id, period_seconds, created_at)).encode_to_vec();
        send(changes, id, Some(value.into()));
    }

    fn send(changes: &Sender, key: &str, value: Option<Bytes>) {
        changes.unbounded_send(Ok(Change { key: key.to_owned(), value, revision: 1 })).unwrap();
    }

    async fn until(world: &Fake, holds: impl Fn(&Fake) -> bool) {
        let holds = async {
            while !holds(world) {
                world.changed.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), holds).await.expect("in time");
    }

    /// Runs a leader beside a script, which ends by stopping it.
    async fn run<F: Future<Output = ()>>(
        world: &Fake,
        max_fires: usize,
        script: impl FnOnce(Sender, CancellationToken) -> F,
    ) -> Ended {
        let (changes, receiver) = mpsc::unbounded();
        let stop = CancellationToken::new();
        let catch_up = CatchUp::default();
        let leader = lead(world, receiver, &catch_up, None, max_fires, &stop);
        let (ended, ()) = tokio::join!(leader, script(changes, stop.clone()));
        ended
    }

    #[tokio::test]
    async fn follows_changes_at_once() {
        let world = Fake::at(100);
        let ended = run(&world, 2, |changes, stop| {
            let world = &world;
            async move {
                // Due at 90, made at 80.
                put(&changes, "a", 90, 80);
                until(world, |w| w.cursor("a").is_some_and(|c| c.in_doubt.is_none())).await;
                // The next would be 180; from now on it is 100.
                put(&changes, "b", 50, 99);
                put(&changes, "c", 1_000_000, 99);
                until(world, |w| w.cursor("b").is_some_and(|c| c.in_doubt.is_none())).await;
                stop.cancel();
            }
        })
        .await;
        assert!(matches!(ended, Ended::Stopped), "{ended:?}");
        assert_eq!(world.instants(), [at(90), at(100)]);
    }

    #[tokio::test]
    async fn malformed_and_removed_schedules_do_not_fire() {
        let world = Fake::at(100);
        run(&world, 1, |changes, stop| {
            let world = &world;
            async move {
                send(&changes, "bad", Some(Bytes::from_static(b"\xff")));
                send(&changes, "not an id", None);
                put(&changes, "overwritten", 150, 99);
                send(&changes, "overwritten", Some(Bytes::from_static(b"\xff")));
                put(&changes, "removed", 160, 99);
                send(&changes, "removed", None);
                put(&changes, "good", 100, 99);
                // Then all that came before it was seen as well.
                let fired = |w: &Fake, id| w.cursor(id).is_some_and(|c| c.in_doubt.is_none());
                until(world, |w| fired(w, "good")).await;
                world.set_now(210);
                // Also wakes the leader, whose sleep knows nothing of this clock.
                put(&changes, "last", 205, 200);
                until(world, |w| fired(w, "last") && w.cursor("good").unwrap().last_instant == at(200)).await;
                stop.cancel();
            }
        })
        .await;
        let mut instants = world.instants();
        instants.sort();
        assert_eq!(instants, [at(100), at(200), at(205)]);
    }

    #[tokio::test]
    async fn a_failure_is_tried_again_from_the_stored_cursor() {
        let world = Fake::at(100);
        // Load, save, publish, which takes effect without an answer.
        world.inner.lock().unwrap().fault = Some((3, true));
        run(&world, 1, |changes, stop| {
            let world = &world;
            async move {
                put(&changes, "a", 90, 80);
                until(world, |w| w.instants().len() == 1).await;
                // The delay of the first retry.
                world.set_now(101);
                until(world, |w| w.cursor("a").is_some_and(|c| c.in_doubt.is_none())).await;
                stop.cancel();
            }
        })
        .await;
        let published = world.inner.lock().unwrap().published.clone();
        assert_eq!(world.instants(), [at(90), at(90)]);
        assert_eq!(published[0].0, published[1].0);
        assert_eq!(world.cursor("a").unwrap().misfires, 0);
    }

    #[tokio::test]
    async fn the_end_of_the_changes_is_reported() {
        let world = Fake::at(0);
        let ended = run(&world, 1, |changes, _| async move { drop(changes) }).await;
        assert!(matches!(ended, Ended::Unwatched(None)), "{ended:?}");
    }

    #[test]
    fn retries_grow_and_stay_bounded() {
        assert_eq!(retry_delay(0), Duration::from_millis(200));
        assert_eq!(retry_delay(1), Duration::from_millis(400));
        assert_eq!(retry_delay(u32::MAX), Duration::from_secs(10));
    }
}
