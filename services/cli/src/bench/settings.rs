//! What all measurements take.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::Error;

/// How the broker keeps what it has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Durability {
    /// In a file, synchronised every two minutes: a process's death loses nothing, a power failure may.
    File,
    /// In a file, synchronised before it is acknowledged.
    Always,
}

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Switch {
    On,
    Off,
}

/// What all measurements take.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Settings {
    /// Bytes of a payload
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    pub(crate) payload: usize,
    /// Slots of the worker
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) concurrency: usize,
    /// Queues that the jobs are spread over
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) queues: usize,
    /// How the broker keeps what it has acknowledged; not with --nats-url
    #[arg(long, value_enum, default_value_t = Durability::File)]
    pub(crate) durability: Durability,
    /// Whether a monitor reads the events meanwhile
    #[arg(long, value_enum, default_value_t = Switch::Off)]
    pub(crate) monitor: Switch,
    /// How long ends are kept
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    #[serde(with = "humantime_serde")]
    pub(crate) outcome_ttl: Duration,
}

// === impl Settings ===

impl Settings {
    /// Checks them.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let within = |option, found: usize, least: usize, most: usize| {
            if (least..=most).contains(&found) {
                return Ok(());
            }
            Err(Error::Usage { option, reason: format!("is {found}: expected {least} to {most}") })
        };
        within("payload", self.payload, 0, 512 * 1024)?;
        within("concurrency", self.concurrency, 1, 10_000)?;
        within("queues", self.queues, 1, 1000)
    }
}

/// As `90s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime_serde::re::humantime::parse_duration(text)
        .map_err(|error| format!("{error}: expected a duration such as 90s or 10m"))
}
