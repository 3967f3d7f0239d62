//! A broker and the services of a measurement, each a process of its own.

use std::ffi::OsString;
use std::time::Duration;

use tempfile::TempDir;
use windlass::Client;
use windlass_broker::jobs::Jobs;
use windlass_broker::local::{self, Search};
use windlass_broker::provision::{self, Layout, apply, desired};
use windlass_broker::{Broker, Names, Options};
use windlass_core::PoolName;

use super::Error;
use super::settings::{Durability, Settings, Switch};
use super::usage::{Share, Usage};
use super::work;
use crate::dev::data::DataDir;
use crate::dev::fleet::{Fleet, Identity, Plan};
use crate::dev::screen::Screen;
use crate::global::Global;
use crate::run::Program;

/// A fleet to be measured. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Stage {
    fleet: Fleet,
    /// Who submits and counts.
    pub(super) client: Client,
    pub(super) jobs: Jobs,
    options: Options,
    layout: Layout,
    before: Vec<(String, u32, Usage)>,
    broker_pid: Option<u32>,
    _folder: TempDir,
}

/// Of a floor's streams, beside those of the fleet.
const FLOOR_NAMESPACE: &str = "windlass-floor";
const MIB: i64 = 1 << 20;

// === impl Stage ===

impl Stage {
    /// Starts all of it, and waits until it is ready.
    pub(super) async fn start(settings: &Settings, global: &Global, screen: &Screen) -> Result<Self, Error> {
        settings.check()?;
        if global.nats_url.is_some() {
            return Err(Error::Usage {
                option: "nats-url",
                reason: "is not taken by this measurement yet: it starts a broker of its own".to_owned(),
            });
        }
        let folder = tempfile::tempdir().map_err(|error| fleet_error(error.into()))?;
        let data = DataDir::open(folder.path())?;
        let mut fleet = Fleet::default();
        let sync = match settings.durability {
            Durability::File => "\"2m\"",
            Durability::Always => "always",
        };
        let config = format!("\njetstream {{\n  sync_interval: {sync}\n}}\n");
        let config =
            local::write_config(folder.path(), &config).map_err(|error| fleet_error(error.into()))?;
        let (search, progress) = (Search::from_env(), |what: &str| screen.busy(what));
        let program = local::find(&search, &progress).await.map_err(|error| Error::Fleet(error.into()))?;
        let url = fleet.start_broker(&data, screen, program, 0, Some(config)).await?;
        let pid = std::fs::read_to_string(data.broker().join("nats-server.pid"));
        let broker_pid = pid.ok().and_then(|text| text.trim().parse().ok());
        let layout = layout(settings);
        let options = Options { client_name: "windlass-bench".to_owned(), ..Options::new(&url) };
        let broker = Broker::connect(options.clone()).await.map_err(|e| Error::Broker("reached", e))?;
        provision(&broker, &layout).await?;
        let services = folder.path().join("windlass.toml");
        let text = toml::to_string(&serde_json::json!({ "layout": layout }))
            .map_err(|error| fleet_error(error.into()))?;
        std::fs::write(&services, text).map_err(|error| fleet_error(error.into()))?;
        let mut programs = vec![(Program::Dispatcher, 1), (Program::BenchWorker, 1)];
        if settings.monitor == Switch::On {
            programs.push((Program::Monitor, 1));
        }
        let queues = layout.queues.iter().map(windlass_core::QueueName::as_str).collect::<Vec<_>>().join(",");
        let environment: Vec<(OsString, OsString)> = vec![
            ("WINDLASS_CONFIG".into(), services.into()),
            ("WINDLASS__WORKER__QUEUES".into(), queues.into()),
            ("WINDLASS__WORKER__SLOTS".into(), settings.concurrency.to_string().into()),
        ];
        let plan = Plan {
            data: &data,
            screen,
            nats_url: &url,
            identity: &Identity::Ours(vec![("WINDLASS__NATS__URL", url.clone().into())]),
            http_port: 0,
            programs: &programs,
            environment: &environment,
        };
        fleet.start_services(&plan).await?;
        screen.idle();
        let jobs = Jobs::new(&broker, PoolName::default());
        Ok(Self {
            fleet,
            client: Client::new(broker),
            jobs,
            options,
            layout,
            before: Vec::new(),
            broker_pid,
            _folder: folder,
        })
    }

    /// From here on it is counted what processes use.
    pub(super) fn begin(&mut self) -> Result<(), Error> {
        self.before.clear();
        for (name, pid) in self.processes() {
            self.before.push((name, pid, Usage::of(pid)?));
        }
        Ok(())
    }

    /// What each has used since.
    pub(super) fn used(&self) -> Result<Vec<Share>, Error> {
        self.before.iter().map(|(name, pid, before)| Ok(Usage::of(*pid)?.since(*before, name))).collect()
    }

    fn processes(&self) -> Vec<(String, u32)> {
        let mut processes = self.fleet.processes();
        processes.extend(self.broker_pid.map(|pid| ("broker".to_owned(), pid)));
        processes.push(("client".to_owned(), std::process::id()));
        processes
    }

    /// Streams of their own for a floor, on the same broker, as ours are.
    pub(super) async fn floor(&self) -> Result<Options, Error> {
        let names = Names::new(FLOOR_NAMESPACE).map_err(|error| fleet_error(error.into()))?;
        let options = Options { names, ..self.options.clone() };
        let broker = Broker::connect(options.clone()).await.map_err(|e| Error::Broker("reached", e))?;
        provision(&broker, &self.layout).await?;
        broker.drain().await;
        Ok(options)
    }

    /// Ends all of it.
    pub(super) async fn stop(mut self) {
        if let Some(broker) = self.client.broker() {
            broker.drain().await;
        }
        self.fleet.stop().await;
    }
}

/// Small: a measurement must not fill a disk.
fn layout(settings: &Settings) -> Layout {
    let retention = |max_bytes| provision::Retention { max_age: Duration::from_hours(1), max_bytes };
    Layout {
        queues: work::queues(settings.queues),
        horizon: settings.outcome_ttl,
        max_ack_pending: i64::try_from(settings.concurrency).unwrap_or(i64::MAX).max(1000),
        tasks_max_bytes: 512 * MIB,
        events: retention(1024 * MIB),
        dead: retention(64 * MIB),
        payloads_max_bytes: 64 * MIB,
        results_max_bytes: 64 * MIB,
        ..Layout::default()
    }
}

async fn provision(broker: &Broker, layout: &Layout) -> Result<(), Error> {
    let wanted = desired(broker.names(), layout);
    apply(broker, &wanted, false).await.map_err(|error| Error::Fleet(error.into()))
}

fn fleet_error(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Fleet(crate::dev::Error::Start(error))
}
