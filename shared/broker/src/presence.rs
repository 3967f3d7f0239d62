//! Who of the fleet lives: each service but the workers says so in the control bucket, and for how long it is believed.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use prost::Message as _;
use tokio::time::Instant;
use windlass_core::process;
use windlass_proto::{read_instant, v1};

use crate::connect::Broker;
use crate::kv::{Bucket, Error};
use crate::names::PRESENCE;

/// How often it is said.
pub const EVERY: Duration = Duration::from_secs(10);
/// How long it is believed: three missed times.
const TTL: Duration = Duration::from_secs(30);

/// A process of the fleet as it describes itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Presence {
    /// Among all of the fleet.
    pub instance: String,
    /// `dispatcher`, `scheduler` or `monitor`.
    pub service: String,
    /// Of its program.
    pub version: String,
    /// Where it runs.
    pub host: String,
    /// Since when.
    pub started_at: Option<Timestamp>,
    /// The conditions that are not met, with their causes; empty: it is ready.
    pub not_ready: Vec<String>,
    /// What it takes of its machine; none if that is not known.
    pub usage: Option<Usage>,
    /// Some of its metrics, summed over their labels, by their names.
    pub metrics: BTreeMap<String, f64>,
}

/// What a process takes of its machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Memory that is in use.
    pub resident_bytes: u64,
    /// CPU since it was started.
    pub cpu_seconds: f64,
    /// Cores, on average since the time before; none the first time.
    pub cpu_cores: Option<f64>,
}

/// Reads what this process takes, again and again.
#[derive(Debug, Default)]
pub struct Meter {
    before: Option<(Instant, f64)>,
}

/// Says that a process lives, under a key of its own.
#[derive(Debug)]
pub struct Announcer {
    bucket: Bucket,
    key: String,
    /// Of what was said last.
    revision: Option<u64>,
}

// === impl Meter ===

impl Meter {
    /// What this process takes now; none where the operating system does not tell it as Linux does.
    pub fn read(&mut self) -> Option<Usage> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let resident_bytes = process::number(&status, "VmRSS:")? * 1024;
        let cpu_seconds = process::cpu_time(&stat)?.as_secs_f64();
        let now = Instant::now();
        let cpu_cores = self.before.map(|(at, seconds)| {
            let between = now.duration_since(at).as_secs_f64().max(0.001);
            ((cpu_seconds - seconds) / between).max(0.0)
        });
        self.before = Some((now, cpu_seconds));
        Some(Usage { resident_bytes, cpu_seconds, cpu_cores })
    }
}

/// What the machine of this process calls itself; empty where the operating system does not tell it as Linux does.
pub fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

// === impl Announcer ===

impl Announcer {
    /// Of this process; nothing is said yet.
    pub fn new(broker: &Broker, service: &str, instance: &str) -> Self {
        let names = broker.names();
        let bucket = broker.bucket(names.control_bucket());
        Self { bucket, key: names.presence_key(service, instance), revision: None }
    }

    /// Says it; it is believed for half a minute.
    pub async fn say(&mut self, presence: Presence) -> Result<(), Error> {
        let value = v1::Presence::from(presence).encode_to_vec();
        self.revision = Some(self.bucket.put(&self.key, value.into(), Some(TTL)).await?);
        Ok(())
    }

    /// Takes it back: the process ends.
    pub async fn leave(&mut self) -> Result<(), Error> {
        match self.revision.take() {
            Some(revision) => self.bucket.delete_revision(&self.key, revision).await,
            None => Ok(()),
        }
    }
}

/// Every process that is believed to live but the workers, with the instant at which it last said so, by service and
/// instance.
pub async fn list(broker: &Broker) -> Result<Vec<(Presence, Timestamp)>, Error> {
    let entries = broker.bucket(broker.names().control_bucket()).under(PRESENCE).await?;
    let read = |entry: crate::kv::Entry| {
        // What cannot be read was written by nobody of the fleet.
        Some((Presence::from(v1::Presence::decode(entry.value).ok()?), entry.stored_at))
    };
    let mut all: Vec<_> = entries.into_iter().filter_map(read).collect();
    all.sort_by(|(a, _), (b, _)| (&a.service, &a.instance).cmp(&(&b.service, &b.instance)));
    Ok(all)
}

impl From<Presence> for v1::Presence {
    fn from(presence: Presence) -> Self {
        Self {
            instance: presence.instance,
            service: presence.service,
            version: presence.version,
            host: presence.host,
            started_at: presence.started_at.map(windlass_proto::instant),
            not_ready: presence.not_ready,
            usage: presence.usage.map(Into::into),
            metrics: presence.metrics.into_iter().collect(),
        }
    }
}

impl From<v1::Presence> for Presence {
    fn from(wire: v1::Presence) -> Self {
        Self {
            started_at: read_instant("started_at", wire.started_at).ok().flatten(),
            instance: wire.instance,
            service: wire.service,
            version: wire.version,
            host: wire.host,
            not_ready: wire.not_ready,
            usage: wire.usage.map(Into::into),
            metrics: wire.metrics.into_iter().collect(),
        }
    }
}

impl From<Usage> for v1::Usage {
    fn from(usage: Usage) -> Self {
        let Usage { resident_bytes, cpu_seconds, cpu_cores } = usage;
        Self { resident_bytes, cpu_seconds, cpu_cores }
    }
}

impl From<v1::Usage> for Usage {
    fn from(wire: v1::Usage) -> Self {
        let v1::Usage { resident_bytes, cpu_seconds, cpu_cores } = wire;
        Self { resident_bytes, cpu_seconds, cpu_cores }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_what_it_takes() {
        let mut meter = Meter::default();
        let (first, second) = (meter.read().unwrap(), meter.read().unwrap());
        assert!(first.resident_bytes > 0 && first.cpu_cores.is_none(), "{first:?}");
        assert!(second.cpu_seconds >= first.cpu_seconds && second.cpu_cores.is_some(), "{second:?}");
    }

    #[test]
    fn a_presence_reads_back() {
        let presence = Presence {
            instance: "scheduler-host-a-7-00000001".to_owned(),
            service: "scheduler".to_owned(),
            version: "0.1.0".to_owned(),
            host: "host-a".to_owned(),
            started_at: Timestamp::from_second(7).ok(),
            not_ready: vec!["broker: away".to_owned()],
            usage: Some(Usage { resident_bytes: 7, cpu_seconds: 0.5, cpu_cores: None }),
            metrics: BTreeMap::from([("windlass_scheduler_fires_total".to_owned(), 3.0)]),
        };
        assert_eq!(Presence::from(v1::Presence::from(presence.clone())), presence);
    }
}
