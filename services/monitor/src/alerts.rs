//! Alerts: rules over what is known, and who is told.
//!
//! Each round asks the database, finds what is out of bounds (`rules`), decides over time what that means
//! (`windlass_core::alert`), records what has changed, and only then tells it (`deliver`). A monitor that is started
//! again goes on with the alerts that stand in the database; what it was about to tell when it stopped is not told.

mod deliver;
mod rules;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_broker::Broker;
use windlass_core::alert::{Alerts, Change};
use windlass_schedules::misfires::Recent;

pub use rules::{Bound, Options};

use self::deliver::Deliveries;
use self::rules::{Backlogs, Seen};
use crate::progress::Progress;
use crate::store::{self, FiredAlert, QueueCounts, Store};

/// What is looked back at for what happened.
pub(crate) const WINDOW: Duration = Duration::from_mins(5);
/// So many go on with a restart.
const MOST_RESUMED: u32 = 10_000;

/// What is evaluated, and from what.
pub(crate) struct Evaluation {
    pub(crate) broker: Broker,
    pub(crate) store: Store,
    pub(crate) progress: watch::Receiver<Progress>,
    pub(crate) options: Options,
}

// === impl Evaluation ===

impl Evaluation {
    /// Runs until stopped.
    pub(crate) async fn run(self, stop: &CancellationToken) {
        let (deliveries, delivering) = Deliveries::start(self.options.webhook.clone(), stop);
        let evaluating = async {
            let mut alerts = None;
            let mut backlogs = Backlogs::default();
            let mut misfires = Recent::default();
            while !stop.is_cancelled() {
                let round = self.round(&mut alerts, &mut backlogs, &mut misfires, &deliveries);
                if let Some(Err(error)) = stop.run_until_cancelled(round).await {
                    metrics::counter!("windlass_monitor_alert_errors_total").increment(1);
                    let error = format!("{:#}", anyhow::Error::new(error));
                    tracing::warn!(error, "alerts could not be evaluated, trying again");
                }
                stop.run_until_cancelled(tokio::time::sleep(self.options.evaluate_every)).await;
            }
        };
        tokio::join!(evaluating, delivering);
    }

    async fn round(
        &self,
        alerts: &mut Option<Alerts>,
        backlogs: &mut Backlogs,
        misfires: &mut Recent,
        deliveries: &Deliveries,
    ) -> Result<(), store::Error> {
        let now = Timestamp::now();
        let alerts = if let Some(alerts) = alerts {
            alerts
        } else {
            let fired = self.store.alerts(false, MOST_RESUMED).await?;
            alerts.insert(Alerts::resume(fired.into_iter().map(store::resumed)))
        };
        let since = now.checked_sub(SignedDuration::try_from(WINDOW).unwrap_or_default()).unwrap_or(now);
        // What is known already holds on while the broker is away.
        match Recent::read(&self.broker).await {
            Ok(recent) => *misfires = recent,
            Err(error) => tracing::debug!(%error, "it is not known what schedules missed"),
        }
        misfires.forget(self.broker.now());
        let seen = Seen {
            misfires: misfires.clone(),
            queues: self.store.queues(now).await?,
            happened: self.store.happened(since).await?,
            lost: self.store.count_lost().await?,
            gap: self.store.gaps(1).await?.pop().filter(|gap| gap.found_at > since),
            progress: self.progress.borrow().clone(),
        };
        measure(&seen.queues);
        backlogs.note(&seen.queues, now);
        let changes = alerts.step(self.options.breaches(&seen, backlogs, now), now);
        let silences = if changes.is_empty() { Vec::new() } else { self.store.silences(now).await? };
        for change in changes {
            let fired = match &change {
                Change::Fired(alert) => FiredAlert::of(alert, None),
                Change::Resolved(alert) => FiredAlert::of(alert, Some(now)),
            };
            let Some(mut fired) = fired else { continue };
            self.store.record_alert(&fired).await?;
            fired.silenced =
                silences.iter().any(|row| row.silence().covers(&fired.rule, &fired.subject, now));
            deliveries.tell(fired);
        }
        #[allow(clippy::cast_precision_loss, reason = "a gauge is for people")]
        metrics::gauge!("windlass_monitor_alerts").set(alerts.fired().count() as f64);
        Ok(())
    }
}

/// What other programs make rules of.
#[allow(clippy::cast_precision_loss, reason = "a gauge is for people")]
fn measure(queues: &[QueueCounts]) {
    for queue in queues {
        for (state, count) in &queue.counts {
            metrics::gauge!("windlass_queue_jobs", "queue" => queue.name.clone(), "state" => state.clone())
                .set(*count as f64);
        }
        metrics::gauge!("windlass_queue_oldest_age_seconds", "queue" => queue.name.clone())
            .set(queue.oldest_queued_age_seconds.unwrap_or_default());
    }
}
