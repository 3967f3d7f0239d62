//! The service: waits to lead, leads while the lease lasts, and waits again.

use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::time::Instant;
use windlass_broker::kv;
use windlass_broker::leader::{Lease, Lost, Term};
use windlass_broker::provision::{Layout, Part};
use windlass_core::schedule::CatchUp;
use windlass_schedules::ScheduleStore;
use windlass_service::{Context, Service};

use crate::leading::{Ended, lead};
use crate::measure;
use crate::options::Options;
use crate::world::LeaderWorld;

/// The scheduler, as a program of the fleet.
#[derive(Debug, Clone, Copy)]
pub struct Scheduler;

/// The key of the lease in the control bucket.
const LEASE_KEY: &str = "leader.scheduler";
/// The condition that the lease and the schedules can be reached.
const CONDITION: &str = "schedules";
/// A standby looks so often whether it can lead; with the lease's length it bounds a take-over.
const STANDBY_PERIOD: Duration = Duration::from_millis(500);
/// Beyond the fires in flight, for giving the lease back.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// A scheduler and what it shares from term to term.
struct Running {
    context: Context,
    lease: Lease,
    lease_ttl: Duration,
    catch_up: CatchUp,
    max_fires: usize,
}

/// Why a term ended.
enum TermEnd {
    Stopped,
    Lost(Lost),
    /// The schedules cannot be read; another scheduler may have more luck.
    Unreadable(kv::Error),
    /// The broker does not say what time it is.
    Timeless(windlass_broker::connect::Error),
}

impl Service for Scheduler {
    const NAME: &'static str = "scheduler";
    const ABOUT: &'static str = "Publishes the tasks of schedules when they are due";
    const HTTP_PORT: u16 = 8301;
    const TELLS: Option<&'static [&'static str]> = Some(&[
        "windlass_scheduler_leader",
        "windlass_scheduler_fires_total",
        "windlass_scheduler_misfires_total",
    ]);

    type Options = Options;

    fn parts(_: &Options, _: &Layout) -> Vec<Part> {
        vec![Part::Tasks, Part::Schedules, Part::Cursors, Part::Control]
    }

    async fn run(options: Options, context: Context) -> anyhow::Result<()> {
        let catch_up = options.catch_up(context.layout.horizon).context("the options of the scheduler")?;
        measure::describe();
        let control = context.broker.bucket(context.broker.names().control_bucket());
        let running = Running {
            lease: Lease::new(control, LEASE_KEY, context.instance.clone(), options.lease_ttl),
            lease_ttl: options.lease_ttl,
            catch_up,
            max_fires: options.max_concurrent_fires,
            context,
        };
        running.run().await;
        Ok(())
    }
}

// === impl Running ===

impl Running {
    async fn run(self) {
        let stop = &self.context.stop;
        while !stop.is_cancelled() {
            let Some(acquired) = stop.run_until_cancelled(self.lease.acquire()).await else { break };
            match acquired {
                Ok(Some(term)) => {
                    // An answer that was long in coming leaves too little of the lease.
                    if term.valid_until() < Instant::now() + self.lease_ttl / 2 {
                        self.release(term).await;
                        continue;
                    }
                    self.lead(term).await;
                    // Others first, if it ended for a cause of our own.
                    stop.run_until_cancelled(tokio::time::sleep(STANDBY_PERIOD * 2)).await;
                }
                Ok(None) => {
                    // A standby is ready: it has the leader's broker, and waits.
                    self.well();
                    stop.run_until_cancelled(tokio::time::sleep(STANDBY_PERIOD)).await;
                }
                Err(error) => {
                    self.unwell("the lease cannot be reached", &error);
                    stop.run_until_cancelled(tokio::time::sleep(STANDBY_PERIOD)).await;
                }
            }
        }
    }

    async fn lead(&self, mut term: Term) {
        tracing::info!(epoch = term.epoch, "leading");
        measure::leader(true);
        let (leads_until, watched) = watch::channel(term.valid_until());
        let world = LeaderWorld::new(self.context.broker.clone(), self.context.layout.clone(), watched);
        // Whatever ends first ends the other at once: a lost lease drops the fires in flight.
        let end = tokio::select! {
            lost = term.keep(|until| { leads_until.send_replace(until); }) => TermEnd::Lost(lost),
            end = Box::pin(self.fire(&world)) => end,
            never = world.misfires.tell(&self.context.broker) => match never {},
        };
        measure::leader(false);
        match end {
            TermEnd::Lost(lost) => tracing::warn!(error = %anyhow::Error::new(lost), "not leading any more"),
            TermEnd::Stopped => tracing::info!("not leading any more: stopping"),
            TermEnd::Unreadable(error) => self.unwell("the schedules cannot be read", &error),
            TermEnd::Timeless(error) => self.unwell("the broker's time cannot be read", &error),
        }
        self.release(term).await;
    }

    /// Gives the role back if it is still ours; if this does not come through, the lease's end does it.
    async fn release(&self, term: Term) {
        if tokio::time::timeout(RELEASE_TIMEOUT, term.release()).await.is_err() {
            tracing::debug!("the lease was not given back in time");
        }
    }

    async fn fire(&self, world: &LeaderWorld) -> TermEnd {
        let broker = &self.context.broker;
        let schedules = broker.bucket(broker.names().schedules_bucket());
        let stop = &self.context.stop;
        loop {
            // Before the broker's clock is known, the instants would be those of this machine's.
            match stop.run_until_cancelled(broker.read_time()).await {
                None => return TermEnd::Stopped,
                Some(Err(error)) => return TermEnd::Timeless(error),
                Some(Ok(_)) => {}
            }
            let changes = match stop.run_until_cancelled(schedules.watch()).await {
                None => return TermEnd::Stopped,
                Some(Err(error)) => return TermEnd::Unreadable(error),
                Some(Ok(changes)) => changes,
            };
            // In one pass; if that fails, one by one.
            let reading = ScheduleStore::new(broker);
            let cursors = match stop.run_until_cancelled(reading.cursors()).await {
                None => return TermEnd::Stopped,
                Some(cursors) => cursors.ok(),
            };
            self.well();
            match lead(world, changes, &self.catch_up, cursors, self.max_fires, stop).await {
                Ended::Stopped => return TermEnd::Stopped,
                Ended::Unwatched(error) => {
                    // From the start: what changed meanwhile is read again.
                    let error = error.map(anyhow::Error::new);
                    tracing::warn!(
                        ?error,
                        "changes of schedules are not reported any more, reading all again"
                    );
                }
            }
            stop.run_until_cancelled(tokio::time::sleep(STANDBY_PERIOD)).await;
        }
    }

    fn well(&self) {
        self.context.health.ready(CONDITION);
        self.context.ready();
    }

    fn unwell(&self, what: &str, error: &(dyn std::error::Error + 'static)) {
        let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        self.context.health.not_ready(CONDITION, format!("{what}: {error}{cause}"));
    }
}
