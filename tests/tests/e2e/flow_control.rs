//! Flow control: limits, order, turns and pauses, as handlers see them.

mod batches;
mod changes;
mod dependencies;
mod limits;
mod lookout;
mod order;
mod owners;
mod rates;
mod turns;
mod unique;
mod why;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use windlass::handler::extract::{AttemptNumber, State};
use windlass::worker::Options;
use windlass::{Failure, Handlers, Job};
use windlass_broker::flow::Flow;
use windlass_broker::queues::QueueStore;
use windlass_core::flow::{Pause, QueueSettings};
use windlass_core::{JobId, JobState, PoolName, QueueName};
use windlass_testkit::{Fleet, Servers};

use crate::execution::{Hosted, host_with};

/// Work that says under which name it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Work {
    name: String,
    /// Whether it waits until the test lets it go.
    gated: bool,
}

impl Job for Work {
    const KIND: &'static str = "test.work";
}

/// What handlers saw, by the name of their work.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    seen: Arc<Mutex<Seen>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Seen {
    running: BTreeMap<String, usize>,
    /// The most that ran at one time, of a name and of all.
    most: BTreeMap<String, usize>,
    most_of_all: usize,
    /// Who began, in order.
    begun: Vec<String>,
    open: bool,
}

// === impl Log ===

impl Log {
    fn with<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let changed = change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
        changed
    }

    /// Waits until this holds of what was seen.
    async fn until(&self, what: &str, holds: impl Fn(&mut Seen) -> bool) -> Result<()> {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if holds(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner)) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(windlass_testkit::PATIENCE, waiting)
            .await
            .map_err(|_| anyhow::anyhow!("never {what}: {:?}", self.seen))
    }

    fn begin(&self, name: &str) {
        self.with(|seen| {
            let running = seen.running.entry(name.to_owned()).or_default();
            *running += 1;
            let running = *running;
            let most = seen.most.entry(name.to_owned()).or_default();
            *most = running.max(*most);
            seen.most_of_all = seen.most_of_all.max(seen.running.values().sum());
            seen.begun.push(name.to_owned());
        });
    }

    fn end(&self, name: &str) {
        self.with(|seen| *seen.running.entry(name.to_owned()).or_default() -= 1);
    }

    /// Lets go all work that waits, and all that will.
    fn open(&self) {
        self.with(|seen| seen.open = true);
    }
}

async fn run(
    work: Work,
    State(log): State<Log>,
    AttemptNumber(number): AttemptNumber,
) -> Result<(), Failure> {
    log.begin(&work.name);
    if work.name == "throttle" && number == 1 {
        log.end(&work.name);
        return Err(Failure::throttled(Duration::from_secs(1)));
    }
    if work.name == "fails once" && number == 1 {
        log.end(&work.name);
        return Err(Failure::new("on purpose").retry_after(Duration::from_millis(300)));
    }
    if work.name == "fails long" && number == 1 {
        log.end(&work.name);
        return Err(Failure::new("on purpose").retry_after(Duration::from_hours(1)));
    }
    if work.name == "dies" {
        log.end(&work.name);
        return Err(Failure::new("on purpose").terminal());
    }
    if work.gated {
        let _ = log.until("open", |seen| seen.open).await;
    } else {
        // As long as it takes others to start, were they let through.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    log.end(&work.name);
    Ok(())
}

/// Changes the settings of the default queue.
pub(crate) async fn set<B: Servers>(fleet: &Fleet<B>, change: impl Fn(&mut QueueSettings)) -> Result<()> {
    let change = |settings: &mut QueueSettings| {
        change(settings);
        Ok(())
    };
    QueueStore::new(&fleet.operator).change(&QueueName::default(), "test", Timestamp::now(), change).await?;
    Ok(())
}

/// A fleet whose default queue has these settings, and a worker in this process.
pub(crate) async fn fleet(settings: impl Fn(&mut QueueSettings)) -> Result<(Fleet, Hosted, Log)> {
    let mut fleet = Fleet::start().await?;
    set(&fleet, settings).await?;
    fleet.service("dispatcher").await?;
    let log = Log::default();
    let worker = host(&fleet, &log).await?;
    Ok((fleet, worker, log))
}

/// A fleet with a dispatcher, where nothing is set, and no worker.
pub(crate) async fn without_worker() -> Result<Fleet> {
    let mut fleet = Fleet::start().await?;
    fleet.service("dispatcher").await?;
    Ok(fleet)
}

/// Waits until all that waits goes by the settings that hold.
pub(crate) async fn applied(fleet: &Fleet) -> Result<()> {
    let (queue, deadline) = (QueueName::default(), tokio::time::Instant::now() + windlass_testkit::PATIENCE);
    let stored = QueueStore::new(&fleet.operator).get(&queue).await?;
    let revision = stored.map_or(0, |stored| stored.revision);
    let flow = Flow::new(&fleet.operator, PoolName::default(), queue);
    loop {
        let applied = flow.applied().await?;
        if applied.as_ref().is_some_and(|applied| applied.done && applied.revision >= revision) {
            return Ok(());
        }
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "{revision} is not in force: {applied:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn host(fleet: &Fleet, log: &Log) -> Result<Hosted> {
    host_one(fleet, log, Options { slots: 64, ..Options::default() }).await
}

async fn host_one(fleet: &Fleet, log: &Log, options: Options) -> Result<Hosted> {
    host_with(fleet, Handlers::with_state(log.clone()).register(run)?, options).await
}

fn work(name: &str) -> Work {
    Work { name: name.to_owned(), gated: false }
}

/// A pause from now on.
pub(crate) fn pause(hand_back: bool) -> Pause {
    Pause { reason: "a test".to_owned(), by: "test".to_owned(), at: Timestamp::now(), until: None, hand_back }
}

/// Waits until all of these have succeeded.
pub(crate) async fn all_succeed(fleet: &Fleet, ids: &[JobId]) -> Result<()> {
    let ended = try_join_all(ids.iter().map(|id| fleet.ended(*id))).await?;
    assert!(ended.iter().all(|end| end.state == JobState::Succeeded), "{ended:?}");
    Ok(())
}
