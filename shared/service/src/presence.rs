//! Says to the fleet that this process lives, and how it does: `windlass_broker::presence`. Workers say it themselves, with
//! what they run.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::time::MissedTickBehavior;
use windlass_broker::Broker;
use windlass_broker::presence::{Announcer, EVERY, Meter, Presence, host};

use crate::health::Health;

/// To take it back.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// What is said of this process.
#[derive(Debug, Clone)]
pub(crate) struct Myself {
    pub(crate) service: &'static str,
    pub(crate) instance: String,
    pub(crate) started_at: Timestamp,
    /// The metrics that are told.
    pub(crate) told: &'static [&'static str],
    pub(crate) recorder: PrometheusHandle,
}

// === impl Myself ===

impl Myself {
    fn presence(&self, health: &Health, meter: &mut Meter, host: &str) -> Presence {
        let unmet = health.readiness().conditions.into_iter().filter(|condition| !condition.ready);
        let text = if self.told.is_empty() { String::new() } else { self.recorder.render() };
        Presence {
            instance: self.instance.clone(),
            service: self.service.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: host.to_owned(),
            started_at: Some(self.started_at),
            not_ready: unmet
                .map(|condition| format!("{}: {}", condition.name, condition.cause.unwrap_or_default()))
                .collect(),
            usage: meter.read(),
            metrics: sums(&text, self.told),
        }
    }
}

/// Says it again and again, until `left` says that the process ends; then it takes it back.
pub(crate) async fn announce(myself: Myself, broker: Broker, health: Health, left: impl Future<Output = ()>) {
    let (mut announcer, host) = (Announcer::new(&broker, myself.service, &myself.instance), host());
    let (mut meter, mut ticks) = (Meter::default(), tokio::time::interval(EVERY));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut refused = false;
    tokio::pin!(left);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = &mut left => break,
        }
        match announcer.say(myself.presence(&health, &mut meter, &host)).await {
            Ok(()) => refused = false,
            // Not each time: nothing depends on it but what people see.
            Err(_) if refused => {}
            Err(error) => {
                refused = true;
                let error = format!("{:#}", anyhow::Error::new(error));
                tracing::warn!(error, "this process could not be announced to the fleet");
            }
        }
    }
    if let Ok(Err(error)) = tokio::time::timeout(LEAVE_TIMEOUT, announcer.leave()).await {
        tracing::debug!(%error, "the announcement was not taken back; it expires");
    }
}

/// The metrics of these names in the text format of Prometheus, each summed over its labels; those that are not there are
/// left out.
fn sums(text: &str, names: &[&str]) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for line in text.lines() {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let Some(name) = names.iter().find(|known| **known == name) else { continue };
        let value = line.rsplit(' ').next().and_then(|text| text.parse::<f64>().ok());
        *sums.entry((*name).to_owned()).or_insert(0.0) += value.unwrap_or_default();
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_summed_over_their_labels() {
        let text = "# TYPE a_total counter\na_total{queue=\"x y\"} 3\na_total{queue=\"z\"} 4\n\na_total_more 9\nb 0.5\n";
        let found = sums(text, &["a_total", "b", "c"]);
        assert_eq!(found, BTreeMap::from([("a_total".to_owned(), 7.0), ("b".to_owned(), 0.5)]));
    }
}
