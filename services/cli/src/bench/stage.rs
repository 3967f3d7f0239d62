//! A broker and the services of a measurement, each a process of its own.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use windlass::Client;
use windlass_broker::jobs::Jobs;
use windlass_broker::provision::{Layout, Retention, desired};
use windlass_broker::queues::QueueStore;
use windlass_broker::{Broker, Names, Options};
use windlass_core::flow::QueueSettings;
use windlass_core::{PoolName, QueueName};

use super::Error;
use super::error::start_error;
use super::ground::Ground;
use super::records::{PATIENCE, unread};
use super::running::Running;
use super::scene::Scene;
use super::settings::{Durability, Settings};
use super::usage::{Share, Usage};
use super::work;
use crate::dev::data::DataDir;
use crate::dev::fleet::Plan;
use crate::run::Program;

/// A fleet to be measured.
#[derive(Debug)]
pub(super) struct Stage {
    running: Running,
    data: DataDir,
    ground: Ground,
    /// Who submits and counts.
    pub(super) client: Client,
    pub(super) jobs: Jobs,
    pub(super) broker: Broker,
    layout: Layout,
    /// What the services read.
    config: PathBuf,
    /// Where the services' own programs are, if they run as those.
    pub(super) own_programs: Option<PathBuf>,
    slots: usize,
    before: Vec<(u32, Usage)>,
}

/// What a worker is called among the processes.
pub(super) const WORKER: &str = "bench-worker";
/// And a dispatcher.
pub(super) const DISPATCHER: &str = "dispatcher";
const DECIDED_POLL: Duration = Duration::from_millis(200);
/// Undecided, while jobs run.
const SOME_UNDECIDED: u64 = 100;
/// What follows the namespace of the streams of a floor, beside those of the fleet.
const FLOOR: &str = "-floor";
const MIB: i64 = 1 << 20;

// === impl Stage ===

impl Stage {
    /// Starts all of it, and waits until it is ready.
    pub(super) async fn start(scene: &Scene, settings: &Settings) -> Result<Self, Error> {
        let mut stage = Self::open(scene, settings, layout(settings)).await?;
        stage.services(scene, &settings.programs(), &[]).await?;
        Ok(stage)
    }

    /// A broker with the streams of this layout, and no services yet.
    pub(super) async fn open(scene: &Scene, settings: &Settings, layout: Layout) -> Result<Self, Error> {
        let mut running = Running::open(&scene.leftovers)?;
        let data = DataDir::open(running.folder())?;
        let ground = Ground::find(scene, settings, &data, &mut running).await?;
        scene.screen.busy("making streams");
        let names = ground.options.names.clone();
        let broker = ground.provision(scene, names.clone(), &desired(&names, &layout)).await?;
        let config = running.folder().join("services.toml");
        let mut table = ground.config.clone();
        let value = toml::Value::try_from(&layout).map_err(|error| start_error(error.into()))?;
        table.insert("layout".to_owned(), value);
        std::fs::write(&config, table.to_string()).map_err(|error| start_error(error.into()))?;
        scene.screen.idle();
        let stage = Self {
            running,
            data,
            ground,
            client: Client::new(broker.clone()),
            jobs: Jobs::new(&broker, PoolName::default()),
            broker,
            layout,
            config,
            own_programs: None,
            slots: settings.concurrency,
            before: Vec::new(),
        };
        if let Some(flow) = &settings.flow {
            for queue in &stage.layout.queues {
                stage.set(queue, flow).await?;
            }
        }
        Ok(stage)
    }

    /// Puts a queue under these settings.
    pub(super) async fn set(&self, queue: &QueueName, flow: &QueueSettings) -> Result<(), Error> {
        let set = |settings: &mut QueueSettings| {
            settings.clone_from(flow);
            Ok(())
        };
        let changed = QueueStore::new(&self.broker).change(queue, "bench", Timestamp::now(), set).await;
        changed.map(drop).map_err(|error| start_error(error.into()))
    }

    /// Starts these services, one of each and beside those that run, with this in their environments, and waits until
    /// they are ready.
    pub(super) async fn services(
        &mut self,
        scene: &Scene,
        programs: &[Program],
        more: &[(&str, &str)],
    ) -> Result<(), Error> {
        let queues = self.layout.queues.iter().map(QueueName::as_str).collect::<Vec<_>>().join(",");
        let mut environment: Vec<(OsString, OsString)> = vec![
            ("WINDLASS_CONFIG".into(), self.config.clone().into()),
            ("WINDLASS__NAMESPACE".into(), self.broker.names().namespace().into()),
            ("WINDLASS__WORKER__QUEUES".into(), queues.into()),
            ("WINDLASS__WORKER__SLOTS".into(), self.slots.to_string().into()),
        ];
        environment.extend(more.iter().map(|(name, value)| (name.into(), value.into())));
        let programs: Vec<_> = programs.iter().map(|program| (*program, 1)).collect();
        let plan = Plan {
            data: &self.data,
            screen: &scene.screen,
            nats_url: &self.ground.options.url,
            identity: &self.ground.identity,
            http_port: 0,
            programs: &programs,
            own_programs: self.own_programs.as_deref(),
            environment: &environment,
        };
        self.running.fleet.start_services(&plan).await?;
        scene.screen.idle();
        Ok(())
    }

    /// Of the monitor.
    pub(super) fn database(&self) -> PathBuf {
        self.data.path().join("monitor.db")
    }

    /// Drains the services; the broker stays.
    pub(super) async fn stop_services(&mut self) {
        self.running.fleet.stop_services().await;
    }

    /// SIGKILL to the one of these processes that was started first.
    pub(super) fn kill(&mut self, name: &str) {
        self.running.fleet.kill(name);
    }

    /// Jobs that are ready, in all queues: waiting for a worker, or with one.
    pub(super) async fn ready(&self) -> Result<u64, Error> {
        let mut ready = 0;
        for queue in &self.layout.queues {
            ready += self.jobs.ready(queue).await.map_err(Error::Records)?.unwrap_or_default();
        }
        Ok(ready)
    }

    /// Waits until each task is a job, of which the owner of its queue has decided whether it goes to the workers or waits.
    pub(super) async fn decided(&self, scene: &Scene, jobs: u64) -> Result<(), Error> {
        scene.screen.busy("waiting until it is decided on all");
        let (mut least, mut since) = (u64::MAX, Instant::now());
        loop {
            let left = self.taken_in_later().await?;
            // A slot that was given back is told of in the same way: there are some at any time.
            if left <= SOME_UNDECIDED {
                return Ok(());
            }
            scene.screen.progress(jobs.saturating_sub(left), jobs);
            if left < least {
                (least, since) = (left, Instant::now());
            } else if since.elapsed() >= PATIENCE {
                let found = jobs.saturating_sub(left);
                return Err(Error::Stalled { what: "were decided on", found, jobs, waited: PATIENCE });
            }
            sleep(DECIDED_POLL).await;
        }
    }

    /// Whether tasks wait to be admitted, or jobs to be decided on.
    pub(super) async fn is_taking_in(&self) -> Result<bool, Error> {
        Ok(self.taken_in_later().await? > SOME_UNDECIDED)
    }

    async fn taken_in_later(&self) -> Result<u64, Error> {
        Ok(self.jobs.messages().await.map_err(unread)?.0 + self.undecided().await?)
    }

    /// Jobs that the owners of their queues have yet to decide on.
    async fn undecided(&self) -> Result<u64, Error> {
        let mut undecided = 0;
        for queue in &self.layout.queues {
            undecided += self.jobs.undecided(queue).await.map_err(Error::Records)?.unwrap_or_default();
        }
        Ok(undecided)
    }

    /// From here on it is counted what processes use.
    pub(super) fn begin(&mut self) -> Result<(), Error> {
        let usage = |(_, pid)| Ok((pid, Usage::of(pid)?));
        self.before = self.processes().into_iter().map(usage).collect::<Result<_, Error>>()?;
        Ok(())
    }

    /// What each has used since, or since its start if that came later.
    pub(super) fn used(&self) -> Result<Vec<Share>, Error> {
        let share = |(name, pid): (String, u32)| {
            let before = self.before.iter().find(|(other, _)| *other == pid).map(|(_, before)| *before);
            Ok(Usage::of(pid)?.since(before.unwrap_or_default(), &name))
        };
        self.processes().into_iter().map(share).collect()
    }

    fn processes(&self) -> Vec<(String, u32)> {
        let mut processes = self.running.fleet.processes();
        processes.extend(self.ground.pids.iter().cloned());
        processes.push(("client".to_owned(), std::process::id()));
        processes
    }

    /// Streams of their own for a floor, on the same broker, as ours are.
    pub(super) async fn floor(&self, scene: &Scene) -> Result<Options, Error> {
        let namespace = format!("{}{FLOOR}", self.broker.names().namespace());
        let names = Names::new(&namespace)
            .map_err(|error| Error::Usage { option: "namespace", reason: error.to_string() })?;
        let broker = self.ground.provision(scene, names.clone(), &desired(&names, &self.layout)).await?;
        broker.drain().await;
        Ok(Options { names, ..self.ground.options.clone() })
    }

    /// Ends all of it.
    pub(super) async fn stop(self, scene: &Scene) -> Result<(), Error> {
        self.broker.drain().await;
        self.running.stop().await;
        scene.remove_streams().await
    }
}

/// Small: a measurement must not fill a disk.
pub(super) fn layout(settings: &Settings) -> Layout {
    let retention =
        |max_bytes| Retention { max_age: Duration::from_hours(1).max(settings.outcome_ttl), max_bytes };
    Layout {
        replicas: if settings.durability == Some(Durability::R3) { 3 } else { 1 },
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
