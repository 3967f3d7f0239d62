//! The processes of `windlass dev`: which there are, in which order they start and stop.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum as _;
use futures::future::{join_all, try_join_all};
use windlass_broker::local::Credentials;

use super::Error;
use super::data::DataDir;
use super::process::{Process, Unit};
use super::screen::Screen;
use crate::run::Program;

/// All that runs. Dropping it closes their standard inputs, which ends them.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    brokers: Vec<Process>,
    services: Vec<Process>,
}

/// Who the services are to the broker.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    /// Each is its own user of our own broker.
    Each(Credentials),
    /// All are who we are: they get our own settings.
    Ours(Vec<(&'static str, OsString)>),
}

/// One server of a broker.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    /// Of the server, beside those of every one.
    pub(crate) arguments: Vec<String>,
}

/// What all services get.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) data: &'a DataDir,
    pub(crate) screen: &'a Screen,
    pub(crate) nats_url: &'a str,
    pub(crate) identity: &'a Identity,
    /// Of the monitor.
    pub(crate) http_port: u16,
    /// Which services, and how many of each.
    pub(crate) programs: &'a [(Program, u8)],
    /// Where the services' own programs are, if they run as those; else this one runs them.
    pub(crate) own_programs: Option<&'a Path>,
    /// Beside what each inherits.
    pub(crate) environment: &'a [(OsString, OsString)],
}

/// Of a service of ours; a job that runs longer is handed back.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Beyond that, to close the connection and send the last spans.
const DRAIN_SLACK: Duration = Duration::from_secs(10);
/// The broker's own supervisor kills it before.
const BROKER_STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// What starts so is ours to say: another user, or another address, would not fit the rest.
const OURS: [&str; 3] = ["WINDLASS__NATS__", "WINDLASS__HTTP__", "WINDLASS__PROVISION"];
/// Where a Jaeger on this machine shows a trace, unless configured.
const JAEGER_TRACE_URL: &str = "http://localhost:16686/trace/{trace_id}";

// === impl Fleet ===

impl Fleet {
    /// Starts the broker, with a user for each service unless a configuration is given; returns its address.
    pub(crate) async fn start_broker(
        &mut self,
        data: &DataDir,
        screen: &Screen,
        program: PathBuf,
        port: u16,
        config: Option<PathBuf>,
    ) -> Result<String, Error> {
        let node = Node { name: "broker".to_owned(), folder: data.broker(), arguments: Vec::new() };
        screen.busy("starting the broker");
        let process = Process::start(node.unit(data, program, port, config)?, screen)?;
        self.brokers.push(process);
        match self.brokers.last_mut() {
            Some(broker) => broker.ready().await,
            None => Ok(String::new()),
        }
    }

    /// Starts servers that are one broker; returns their addresses, with commas between them.
    pub(crate) async fn start_cluster(
        &mut self,
        data: &DataDir,
        screen: &Screen,
        program: &Path,
        config: &Path,
        nodes: Vec<Node>,
    ) -> Result<String, Error> {
        screen.busy("starting the brokers");
        for node in nodes {
            let unit = node.unit(data, program.to_owned(), 0, Some(config.to_owned()))?;
            self.brokers.push(Process::start(unit, screen)?);
        }
        Ok(try_join_all(self.brokers.iter_mut().map(Process::ready)).await?.join(","))
    }

    /// Starts all services of a plan at once and waits until all are ready; returns their addresses.
    pub(crate) async fn start_services(&mut self, plan: &Plan<'_>) -> Result<Vec<String>, Error> {
        plan.screen.busy("starting the services");
        let before = self.services.len();
        for unit in plan.units()? {
            self.services.push(Process::start(unit, plan.screen)?);
        }
        try_join_all(self.services[before..].iter_mut().map(Process::ready)).await
    }

    /// SIGKILL to the first service of this name, which does not come again.
    pub(crate) fn kill(&mut self, name: &str) {
        if let Some(at) = self.services.iter().position(|service| service.name() == name) {
            self.services.remove(at).kill9();
        }
    }

    /// The services' names and processes.
    pub(crate) fn processes(&self) -> Vec<(String, u32)> {
        self.services.iter().filter_map(|service| Some((service.name().to_owned(), service.pid()?))).collect()
    }

    /// Drains the services. Returns whether all ended in time and by themselves.
    pub(crate) async fn stop_services(&mut self) -> bool {
        stop(&mut self.services).await
    }

    /// Drains the services, then stops the broker. Returns whether all ended in time and by themselves.
    pub(crate) async fn stop(&mut self) -> bool {
        let services = self.stop_services().await;
        stop(&mut self.brokers).await && services
    }

    /// What kills the services when told; [`Fleet::stop`] then returns soon.
    pub(crate) fn killer(&self) -> impl Fn() + use<> {
        let kills: Vec<_> = self.services.iter().map(Process::killer).collect();
        move || kills.iter().for_each(|kill| kill())
    }
}

async fn stop(processes: &mut Vec<Process>) -> bool {
    for process in processes.iter() {
        process.ask_to_stop();
    }
    let all_well = join_all(processes.iter_mut().map(Process::stopped)).await.into_iter().all(|well| well);
    processes.clear();
    all_well
}

// === impl Node ===

impl Node {
    fn unit(
        self,
        data: &DataDir,
        program: PathBuf,
        port: u16,
        config: Option<PathBuf>,
    ) -> Result<Unit, Error> {
        let address_file = data.new_address_file(&self.name)?;
        let arguments: [(&str, OsString); 4] = [
            ("--program", program.into()),
            ("--data-dir", self.folder.into()),
            ("--passwords", data.passwords().into()),
            ("--address-file", address_file.clone().into()),
        ];
        let config = config.map(|config| ("--config", config.into()));
        let more = self.arguments.into_iter().map(|argument| ("--argument", argument.into()));
        let arguments = arguments.into_iter().chain(config).chain(more);
        let arguments = arguments.flat_map(|(flag, value)| [flag.into(), value]);
        Ok(Unit {
            program: None,
            arguments: ["run".into(), "broker".into()].into_iter().chain(arguments).collect(),
            at_first: vec!["--port".into(), port.to_string().into()],
            again: |url| vec!["--port".into(), url.rsplit(':').next().unwrap_or_default().into()],
            without: Vec::new(),
            environment: Vec::new(),
            address_file,
            log: data.new_log(&self.name)?,
            has_readyz: false,
            stop_timeout: BROKER_STOP_TIMEOUT,
            // Its death would leave the server behind.
            may_be_killed: false,
            name: self.name,
        })
    }
}

// === impl Plan ===

impl Plan<'_> {
    fn units(&self) -> Result<Vec<Unit>, Error> {
        let mut units = Vec::new();
        for &(program, count) in self.programs {
            for number in 1..=count {
                units.push(self.unit(program, if count == 1 { None } else { Some(number) })?);
            }
        }
        Ok(units)
    }

    fn unit(&self, program: Program, number: Option<u8>) -> Result<Unit, Error> {
        let service = word(program);
        let words = match self.own_programs {
            Some(_) => Vec::new(),
            None => vec!["run".into(), service.clone().into()],
        };
        let name = number.map_or_else(|| service.clone(), |number| format!("{service}-{number}"));
        let address_file = self.data.new_address_file(&name)?;
        let is_monitor = program == Program::Monitor;
        let port = if is_monitor { self.http_port } else { 0 };
        let drain_seconds = DRAIN_TIMEOUT.as_secs();
        let mut environment: Vec<(OsString, OsString)> = vec![
            // Made once, by us; a service has no right to.
            ("WINDLASS__PROVISION".into(), "verify".into()),
            ("WINDLASS__HTTP__ADDRESS_FILE".into(), address_file.clone().into()),
            ("WINDLASS__DRAIN__TIMEOUT".into(), format!("{drain_seconds}s").into()),
        ];
        environment.extend(self.credentials(&service)?);
        if is_monitor {
            environment
                .push(("WINDLASS__MONITOR__DATABASE".into(), self.data.path().join("monitor.db").into()));
            environment.extend(trace_url());
        }
        environment.extend(self.environment.iter().cloned());
        let given = std::env::vars_os().map(|(name, _)| name);
        let is_ours =
            |name: &OsString| name.to_str().is_some_and(|name| OURS.iter().any(|o| name.starts_with(o)));
        let keep_nats = matches!(self.identity, Identity::Ours(_));
        let without = given.filter(is_ours).filter(|name| {
            !(keep_nats && name.to_str().is_some_and(|name| name.starts_with("WINDLASS__NATS__")))
        });
        Ok(Unit {
            program: self.own_programs.map(|folder| own_program(folder, program)),
            arguments: words.into_iter().chain(["--exit-with-stdin".into()]).collect(),
            at_first: listen(&format!("127.0.0.1:{port}")),
            again: if is_monitor { listen } else { |_| listen("127.0.0.1:0") },
            without: without.collect(),
            environment,
            address_file,
            log: self.data.new_log(&name)?,
            has_readyz: true,
            stop_timeout: DRAIN_TIMEOUT + DRAIN_SLACK,
            may_be_killed: true,
            name,
        })
    }

    fn credentials(&self, user: &str) -> Result<Vec<(OsString, OsString)>, Error> {
        let credentials = match self.identity {
            Identity::Ours(ours) => {
                return Ok(ours.iter().map(|(name, value)| ((*name).into(), value.clone())).collect());
            }
            Identity::Each(credentials) => credentials,
        };
        let mut environment: Vec<(OsString, OsString)> = vec![
            ("WINDLASS__NATS__URL".into(), self.nats_url.into()),
            ("WINDLASS__NATS__USER".into(), user.into()),
            ("WINDLASS__NATS__INBOX_PREFIX".into(), Credentials::inbox_prefix(user).into()),
        ];
        if let Some(password) = credentials.password(user) {
            let file = self.data.write_password(user, password.reveal())?;
            environment.push(("WINDLASS__NATS__PASSWORD_FILE".into(), file.into()));
        }
        if let Some(prefix) = Credentials::api_prefix(user) {
            environment.push(("WINDLASS__NATS__API_PREFIX".into(), prefix.into()));
        }
        Ok(environment)
    }
}

/// As in `windlass run`.
fn word(program: Program) -> String {
    program.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// The file of a service's own program, among the others.
pub(crate) fn own_program(folder: &Path, program: Program) -> PathBuf {
    folder.join(format!("windlass-{}", word(program)))
}

fn listen(address: &str) -> Vec<OsString> {
    vec!["--http-listen".into(), address.into()]
}

/// Traces go somewhere, and nobody said where they can be seen: a Jaeger with its own port is what most have.
fn trace_url() -> Option<(OsString, OsString)> {
    const NAME: &str = "WINDLASS__MONITOR__TRACE_URL";
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let exports = is_set("OTEL_EXPORTER_OTLP_ENDPOINT") || is_set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    (exports && !is_set(NAME)).then(|| (NAME.into(), JAEGER_TRACE_URL.into()))
}
