//! What all measurements take.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use windlass_core::flow::QueueSettings;

use super::Error;
use crate::run::Program;

/// How the broker keeps what it has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Durability {
    /// In a file, synchronised every two minutes: a process's death loses nothing, a power failure may.
    File,
    /// In a file, synchronised before it is acknowledged.
    Always,
    /// In the files of most of three servers, each as with `file`: the death of one loses nothing.
    R3,
}

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Switch {
    On,
    Off,
}

/// Whose broker it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Whose {
    /// Started for the measurement.
    #[default]
    Own,
    /// That of `--nats-url`.
    Given,
}

/// What all measurements take.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Settings {
    /// Bytes of a payload
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    pub(crate) payload: usize,
    /// Slots of the worker, for each queue
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) concurrency: usize,
    /// Queues that the jobs are spread over
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) queues: usize,
    /// How the broker keeps what it has acknowledged [default: file; of a given broker, its own]
    #[arg(long, value_enum)]
    pub(crate) durability: Option<Durability>,
    /// Whether a monitor reads the events meanwhile
    #[arg(long, value_enum, default_value_t = Switch::Off)]
    pub(crate) monitor: Switch,
    /// How long ends are kept
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    #[serde(with = "humantime_serde")]
    pub(crate) outcome_ttl: Duration,
    /// Jobs are of so many keys, in turn [default: of none]
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keys: u64,
    /// Jobs are for so many tenants, in turn [default: for none]
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) tenants: u64,
    /// Puts the queues under flow control: settings as JSON, as '{"key_concurrency": 1}'
    #[arg(long, value_name = "JSON", value_parser = flow)]
    pub(crate) flow: Option<QueueSettings>,
    /// Whose broker it is.
    #[arg(skip)]
    pub(crate) broker: Whose,
}

/// A record of an end must outlive the next delivery of the work that it ends.
const LEAST_OUTCOME_TTL: Duration = Duration::from_mins(1);

// === impl Settings ===

impl Settings {
    /// Checks them, and says what is left to be said.
    pub(super) fn complete(mut self, broker: Whose) -> Result<Self, Error> {
        let within = |option, found: usize, least: usize, most: usize| {
            if (least..=most).contains(&found) {
                return Ok(());
            }
            Err(Error::Usage { option, reason: format!("is {found}: expected {least} to {most}") })
        };
        within("payload", self.payload, 0, 512 * 1024)?;
        within("concurrency", self.concurrency, 1, 10_000)?;
        within("queues", self.queues, 1, 1000)?;
        if self.outcome_ttl < LEAST_OUTCOME_TTL {
            let reason = format!("is {:?}: expected at least {LEAST_OUTCOME_TTL:?}", self.outcome_ttl);
            return Err(Error::Usage { option: "outcome-ttl", reason });
        }
        self.broker = broker;
        match (broker, self.durability) {
            (Whose::Own, None) => self.durability = Some(Durability::File),
            (Whose::Given, Some(Durability::File | Durability::Always)) => {
                let reason = "is set by the server's own configuration where --nats-url names one: expected r3 \
                              (three copies of each stream), or nothing";
                return Err(Error::Usage { option: "durability", reason: reason.to_owned() });
            }
            _ => {}
        }
        Ok(self)
    }

    /// Queues keep ends for so long only.
    pub(super) fn forget_after(&mut self, ttl: Duration) -> Result<(), Error> {
        let flow = self.flow.get_or_insert_default();
        flow.outcome_ttl = Some(ttl);
        let wrong = match flow.check() {
            Err(error) => error.reason,
            Ok(()) if ttl >= self.outcome_ttl => {
                format!("is {ttl:?}: expected less than --outcome-ttl, {:?}", self.outcome_ttl)
            }
            Ok(()) if flow.is_controlled() => "has no effect under --flow: expected one of them".to_owned(),
            Ok(()) => return Ok(()),
        };
        Err(Error::Usage { option: "forget-after", reason: wrong })
    }

    /// Whether ends may be gone before they are read.
    pub(super) fn forgets(&self) -> bool {
        self.flow.as_ref().is_some_and(|flow| flow.outcome_ttl.is_some())
    }

    /// The services of a whole fleet.
    pub(super) fn programs(&self) -> Vec<Program> {
        let monitor = (self.monitor == Switch::On).then_some(Program::Monitor);
        [Program::Dispatcher, Program::BenchWorker].into_iter().chain(monitor).collect()
    }

    /// Whether the CPU of the broker is among what is told.
    pub(super) fn counted(&self) -> &'static str {
        match self.broker {
            Whose::Own => "",
            Whose::Given => " (without the broker, which is not ours)",
        }
    }
}

/// As `{"concurrency": 10}`.
fn flow(text: &str) -> Result<QueueSettings, String> {
    let settings: QueueSettings = serde_json::from_str(text).map_err(|error| error.to_string())?;
    settings.check().map_err(|error| error.to_string())?;
    Ok(settings)
}

/// As `90s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime_serde::re::humantime::parse_duration(text)
        .map_err(|error| format!("{error}: expected a duration such as 90s or 10m"))
}
