//! The configuration of a service: what all services share, and the service's own section.
//!
//! Layers, each above the one before: defaults, a TOML file (`--config` or `WINDLASS_CONFIG`), the environment
//! (`WINDLASS__NATS__URL`), flags (`--set nats.url=…`). A key that nothing knows is an error. One file may hold the
//! sections of all services: each reads its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use windlass_broker::Names;
use windlass_broker::provision::{Layout, Mode};

use crate::codec::CodecSettings;
use crate::layers::{Assignment, Layers, read};
use crate::nats::Nats;
use crate::problem::{Problem, Problems, Validate};

/// Where values come from besides defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// From the environment, above the file.
    pub environment: Vec<Assignment>,
    /// From flags, above the environment.
    pub flags: Vec<Assignment>,
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config<O> {
    /// What all services share.
    pub common: Common,
    /// The service's own section.
    pub options: O,
}

/// What all services share.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Common {
    /// The first token of every subject, and part of the streams' names; so several fleets share a broker.
    pub namespace: Namespace,
    /// What to do about streams, consumers and buckets at the start.
    pub provision: Provision,
    /// How to reach the broker.
    pub nats: Nats,
    /// Pools, queues and the settings of their streams: the same for every service of a fleet.
    pub layout: Layout,
    /// The HTTP endpoint.
    pub http: Http,
    /// How payloads and results are compressed and sealed: of workers only.
    pub codec: CodecSettings,
    /// Logs.
    pub log: Log,
    /// What happens on a signal to stop.
    pub drain: Drain,
}

/// A namespace, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Namespace(Names);

/// What to do about streams, consumers and buckets at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum Provision {
    /// Create what is missing and change what differs, but make nothing weaker. Where nothing differs, the right to
    /// look is enough.
    #[default]
    Apply,
    /// Change nothing; be ready only when everything is as configured.
    Verify,
    /// Neither change nor look.
    Off,
}

/// The HTTP endpoint.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address and port; port 0 takes any free one. Default: 127.0.0.1 and the service's port.
    #[serde(deserialize_with = "read_listen")]
    pub listen: Option<SocketAddr>,
    /// A file that gets the bound address as text once it listens, for supervisors.
    pub address_file: Option<PathBuf>,
}

/// Logs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How each line looks.
    pub format: LogFormat,
    /// Which lines, as `info,windlass_broker=debug`. Default: `RUST_LOG`, else `info` without the client's own lines.
    pub filter: Option<String>,
}

/// How each line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty on a terminal, else JSON.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// What happens on a signal to stop.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    /// How long work in flight may take to end; then the service stops anyway, with exit code 3.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

/// The services whose sections may stand in one file.
const SERVICES: [&str; 4] = ["scheduler", "dispatcher", "worker", "monitor"];

/// The services that see what is inside of payloads and results. No other reads the section `[codec]`.
const KEY_HOLDERS: [&str; 1] = ["worker"];

// === impl Config ===

impl<O: Serialize + DeserializeOwned + Default + Validate> Config<O> {
    /// Reads all layers for the service of this name, whose HTTP port is `port` unless configured; names everything
    /// that is wrong.
    pub fn load(service: &str, port: u16, sources: Sources) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let Sources { file, environment, flags } = sources;
        let mut layers = Layers::merge(file.as_deref(), [environment, flags]).map_err(|problem| {
            problems.push(problem);
            std::mem::take(&mut problems)
        })?;
        for other in SERVICES.into_iter().filter(|name| *name != service) {
            layers.take(other);
        }
        if !KEY_HOLDERS.contains(&service) {
            layers.take("codec");
        }
        let own = layers.take(service);
        let common = read::<Common>(&layers.rest(), &mut problems);
        let mut options = None;
        problems.within(service, |problems| options = read::<O>(&own, problems));
        // What was read is checked further even where its neighbour could not be: all problems at once.
        if let Some(common) = &common {
            common.validate(&mut problems);
        }
        if let Some(options) = &options {
            problems.within(service, |problems| options.validate(problems));
        }
        if let (Some(common), Some(options)) = (&common, &options) {
            problems.within(service, |problems| options.validate_in(&common.layout, problems));
            let listens = common.http.listen.unwrap_or_else(|| loopback(port));
            problems.within(service, |problems| options.validate_listening(listens, problems));
        }
        problems.locate(|key| layers.origin(key));
        match (common, options) {
            (Some(mut common), Some(options)) if problems.is_empty() => {
                common.http.listen.get_or_insert(loopback(port));
                Ok(Self { common, options })
            }
            _ => Err(problems),
        }
    }

    /// The effective configuration as one value: secrets are shown as `***`.
    pub fn to_value(&self, service: &str) -> Result<toml::Table, toml::ser::Error> {
        let mut table = toml::Table::try_from(&self.common)?;
        table.insert(service.to_owned(), toml::Value::try_from(&self.options)?);
        Ok(table)
    }
}

// === impl Common ===

impl Common {
    /// The names that follow from the namespace.
    pub fn names(&self) -> Names {
        self.namespace.0.clone()
    }
}

impl Validate for Common {
    fn validate(&self, problems: &mut Problems) {
        problems.within("nats", |problems| self.nats.validate(problems));
        problems.within("codec", |problems| self.codec.validate(problems));
        problems.within("layout", |problems| {
            if let Err(error) = self.layout.validate() {
                problems.add(error.field, error.reason);
            }
        });
        problems.within("log", |problems| {
            if let Some(Err(error)) = self.log.filter.as_deref().map(crate::telemetry::parse_filter) {
                problems.add("filter", format!("{error}: expected directives such as `info,windlass=debug`"));
            }
        });
        problems.within("drain", |problems| {
            check_duration(problems, "timeout", self.drain.timeout, Duration::ZERO, Duration::from_hours(24));
        });
    }
}

/// Complains of a duration outside the bounds.
pub fn check_duration(problems: &mut Problems, key: &str, value: Duration, least: Duration, most: Duration) {
    if value < least || value > most {
        let text = |duration| humantime_serde::re::humantime::format_duration(duration).to_string();
        problems
            .add(key, format!("{} is out of range: expected {} to {}", text(value), text(least), text(most)));
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn read_listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let parse = |text: String| {
        let error = || format!("found `{text}`, expected ADDRESS:PORT such as 127.0.0.1:8080 or [::1]:0");
        text.parse().map_err(|_| D::Error::custom(error()))
    };
    Option::<String>::deserialize(deserializer)?.map(parse).transpose()
}

// === impl Namespace ===

impl TryFrom<String> for Namespace {
    type Error = windlass_broker::names::InvalidNamespace;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Names::new(&text).map(Self)
    }
}

impl From<Namespace> for String {
    fn from(namespace: Namespace) -> Self {
        namespace.0.namespace().to_owned()
    }
}

// === impl Provision ===

impl TryFrom<String> for Provision {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "apply" => Ok(Self::Apply),
            "verify" => Ok(Self::Verify),
            "off" => Ok(Self::Off),
            _ => Err(format!("found `{text}`, expected `apply`, `verify` or `off`")),
        }
    }
}

impl From<Provision> for Mode {
    fn from(provision: Provision) -> Self {
        match provision {
            Provision::Apply => Self::Apply,
            Provision::Verify => Self::Verify,
            Provision::Off => Self::Off,
        }
    }
}

// === impl LogFormat ===

impl TryFrom<String> for LogFormat {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            "json" => Ok(Self::Json),
            "pretty" => Ok(Self::Pretty),
            _ => Err(format!("found `{text}`, expected `auto`, `json` or `pretty`")),
        }
    }
}

// === impl Drain ===

impl Default for Drain {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30) }
    }
}

// === impl Sources ===

impl Sources {
    /// Takes the file and the assignments of an environment.
    pub fn from_environment(
        variables: impl IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> Result<Self, Problems> {
        let mut sources = Self::default();
        let mut problems = Problems::default();
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            if name == "WINDLASS_CONFIG" && !value.is_empty() {
                sources.file = Some(value.into());
                continue;
            }
            let text = value.to_string_lossy();
            match Assignment::from_variable(name, &text) {
                None => {}
                Some(Ok(_)) if value.to_str().is_none() => problems.push(Problem {
                    key: String::new(),
                    message: "the value is not text: expected UTF-8".to_owned(),
                    origin: Some(name.to_owned()),
                }),
                Some(Ok(assignment)) => sources.environment.push(assignment),
                Some(Err(problem)) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(sources) } else { Err(problems) }
    }
}

#[cfg(test)]
mod tests;
