//! The fleet of one round, and what can be done to it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::sleep;
use windlass_broker::Broker;
use windlass_broker::Options;
use windlass_broker::provision::Layout;
use windlass_broker::queues::QueueStore;
use windlass_core::flow::QueueSettings;
use windlass_testkit::process::Signal;
use windlass_testkit::{Cluster, Fleet, Servers, SmallDisk, TestBroker, broker};

use super::{elections, history};

/// What the fleet runs on.
pub(super) enum Ground {
    One(Box<TestBroker>),
    Three(Cluster),
}

/// What a family needs.
#[derive(Debug, Clone)]
pub(super) struct Needs {
    /// Three nodes instead of one.
    pub(super) three_nodes: bool,
    /// The store of the broker on a disk that can be full.
    pub(super) small_disk: bool,
    /// Of the limited queue.
    pub(super) limits: Option<Limits>,
    /// For so long, at least, the ends of jobs are kept: the judge reads them.
    pub(super) horizon: Duration,
    /// The services to start, by label.
    pub(super) cast: Vec<&'static str>,
}

/// What limits a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// How many of its jobs run at one time.
    pub(super) of_queue: Option<u32>,
    /// How many of each key.
    pub(super) of_key: u32,
}

/// A fault as it was injected.
#[derive(Debug, Clone)]
pub(super) struct Injected {
    pub(super) what: String,
    pub(super) whom: Whom,
    pub(super) at: Timestamp,
    pub(super) until: Option<Timestamp>,
    /// False for what befell the fleet by itself.
    pub(super) by_us: bool,
}

/// Whom it met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whom {
    /// A process, by its label and id.
    Process(String, u32),
    Broker,
}

/// Every fault of a round; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults(Arc<Mutex<Vec<Injected>>>);

/// The fleet of one round.
pub(super) struct Stage {
    pub(super) fleet: Fleet<Ground>,
    /// Looks behind the product's back.
    pub(super) admin: broker::Client,
    pub(super) faults: Faults,
    /// Processes that ended otherwise than they must.
    pub(super) complaints: Vec<String>,
    /// Where programs of another version are.
    pub(super) old_programs: Option<PathBuf>,
    cast: BTreeMap<String, Vec<(String, OsString)>>,
    /// Unmounted when all that uses it has ended.
    pub(super) disk: Option<SmallDisk>,
    limits: Option<Limits>,
    _elections: Option<JoinSet<()>>,
}

pub(super) const QUEUES: [&str; 2] = ["default", "side"];
/// A queue under flow control.
pub(super) const LIMITED: &str = "limited";
/// What limits it, unless a family has limits of its own.
pub(super) const LIMITS: Limits = Limits { of_queue: Some(5), of_key: 1 };
/// The lease of the suite's fleets.
pub(super) const LEASE: Duration = Duration::from_secs(3);
/// Large enough for a round, small enough to be filled at once.
const DISK_MEGABYTES: u32 = 96;
/// A drain of the suite's services: attempts that go on are told to stop after a quarter of it.
const DRAIN: &str = "8s";

impl Servers for Ground {
    fn options(&self, user: &str) -> Options {
        match self {
            Self::One(broker) => broker.options(user),
            Self::Three(cluster) => cluster.options(user),
        }
    }
}

// === impl Faults ===

impl Faults {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Injected>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It begins now; what is returned ends it.
    pub(super) fn begin(&self, what: &str, whom: Whom) -> usize {
        self.begun(what, whom, Timestamp::now())
    }

    /// It began then.
    pub(super) fn begun(&self, what: &str, whom: Whom, at: Timestamp) -> usize {
        let mut all = self.lock();
        all.push(Injected { what: what.to_owned(), whom, at, until: None, by_us: true });
        all.len() - 1
    }

    /// The broker, by itself.
    pub(super) fn befell(&self, what: &str, at: Timestamp) {
        let (what, whom, until) = (what.to_owned(), Whom::Broker, Some(at));
        self.lock().push(Injected { what, whom, at, until, by_us: false });
    }

    pub(super) fn end(&self, index: usize) {
        if let Some(fault) = self.lock().get_mut(index) {
            fault.until = Some(Timestamp::now());
        }
    }

    pub(super) fn all(&self) -> Vec<Injected> {
        self.lock().clone()
    }
}

async fn limit(broker: &Broker, limits: Limits) -> Result<()> {
    let limited = |settings: &mut QueueSettings| {
        (settings.concurrency, settings.key_concurrency) = (limits.of_queue, Some(limits.of_key));
        Ok(())
    };
    QueueStore::new(broker).change(&LIMITED.parse()?, "the suite", Timestamp::now(), limited).await?;
    Ok(())
}

// === impl Stage ===

impl Stage {
    pub(super) async fn start(needs: &Needs, old_programs: Option<PathBuf>) -> Result<Self> {
        let layout = Layout::default();
        let layout = Layout {
            replicas: if needs.three_nodes { 3 } else { 1 },
            ack_wait: LEASE,
            // Low, so that deliveries that nothing is suspected of are seen, too.
            max_ack_pending: 48,
            horizon: layout.horizon.max(needs.horizon),
            ..layout
        };
        let disk = if needs.small_disk { Some(SmallDisk::mount(DISK_MEGABYTES)?) } else { None };
        let ground = if needs.three_nodes {
            let cluster = Cluster::start(3).await?;
            cluster.provision(&layout).await?;
            Ground::Three(cluster)
        } else {
            let broker = match &disk {
                Some(disk) => TestBroker::with_credentials_in(disk.path()).await?,
                None => TestBroker::with_credentials().await?,
            };
            broker.provision(&layout).await?;
            Ground::One(Box::new(broker))
        };
        let faults = Faults::default();
        let elections = match &ground {
            Ground::Three(cluster) => Some(elections::watch(cluster, &faults).await?),
            Ground::One(_) => None,
        };
        let admin = broker::Client::connect(ground.options("admin")).await?;
        if let Some(limits) = needs.limits {
            limit(&Broker::connect(ground.options("operator")).await?, limits).await?;
        }
        let mut fleet = Fleet::on(ground, layout).await?;
        let folder = fleet.folder.path().to_owned();
        fleet.set_env(history::VARIABLE, folder.join("history.jsonl"));
        fleet.set_env("WINDLASS_FAILPOINTS_LOG", folder.join("failpoints.log"));
        fleet.set_env("WINDLASS__DRAIN__TIMEOUT", DRAIN);
        fleet.set_env("WINDLASS__WORKER__QUEUES", [&QUEUES[..], &[LIMITED]].concat().join(","));
        let cast = needs.cast.iter().map(|label| ((*label).to_owned(), Vec::new())).collect();
        let mut stage = Self {
            fleet,
            admin,
            faults,
            complaints: Vec::new(),
            old_programs,
            cast,
            disk,
            limits: needs.limits,
            _elections: elections,
        };
        for label in &needs.cast {
            stage.spawn(label, &[]).await?;
        }
        for label in &needs.cast {
            stage.fleet.process(label)?.ready().await?;
        }
        Ok(stage)
    }

    /// Those of the limited queue.
    pub(super) fn limits(&self) -> Option<Limits> {
        self.limits
    }

    pub(super) fn folder(&self) -> &Path {
        self.fleet.folder.path()
    }

    /// What this service's process finds in its environment beside the fleet's, whenever it is started from now on.
    pub(super) fn set_env(&mut self, label: &str, env: Vec<(String, OsString)>) {
        self.cast.insert(label.to_owned(), env);
    }

    /// The labels of this service's processes.
    pub(super) fn labels(&self, service: &str) -> Vec<String> {
        self.cast.keys().filter(|label| service_of(label) == service).cloned().collect()
    }

    /// Starts a service, and does not wait.
    pub(super) async fn spawn(&mut self, label: &str, env: &[(String, OsString)]) -> Result<()> {
        let program = match service_of(label) {
            "worker" => "windlass-fault-worker".to_owned(),
            service => format!("windlass-{service}"),
        };
        self.spawn_program(label, &program, env).await
    }

    /// The same with a program of another version, or by another path.
    pub(super) async fn spawn_program(
        &mut self,
        label: &str,
        program: &str,
        env: &[(String, OsString)],
    ) -> Result<()> {
        let own = self.cast.entry(label.to_owned()).or_default().clone();
        let env: Vec<_> = own.into_iter().chain(env.iter().cloned()).collect();
        self.fleet.spawn_program(label, program, service_of(label), &env).await
    }

    pub(super) fn whom(&mut self, label: &str) -> Result<Whom> {
        Ok(Whom::Process(label.to_owned(), self.fleet.process(label)?.pid()))
    }

    /// SIGKILL; whoever does it says when it starts again.
    pub(super) async fn kill(&mut self, label: &str) -> Result<()> {
        let whom = self.whom(label)?;
        let fault = self.faults.begin("kill -9", whom);
        self.fleet.kill9(label).await?;
        self.faults.end(fault);
        Ok(())
    }

    /// SIGSTOP, and SIGCONT after a while.
    pub(super) async fn pause(&mut self, label: &str, pause: Duration) -> Result<()> {
        let whom = self.whom(label)?;
        let fault = self.faults.begin("SIGSTOP", whom);
        let process = self.fleet.process(label)?;
        process.signal(Signal::STOP).await?;
        sleep(pause).await;
        process.signal(Signal::CONT).await?;
        self.faults.end(fault);
        Ok(())
    }

    /// SIGTERM; the process must end well.
    pub(super) async fn drain(&mut self, label: &str) -> Result<()> {
        let whom = self.whom(label)?;
        let fault = self.faults.begin("SIGTERM", whom);
        let status = self.fleet.take(label)?.stop().await?;
        self.faults.end(fault);
        if status.code() != Some(0) {
            self.complaints.push(format!("{label} ended with {status} when it was told to stop"));
        }
        Ok(())
    }

    /// Kills the only server, and starts it again after a while.
    pub(super) async fn kill_broker(&mut self, outage: Duration) -> Result<()> {
        let fault = self.faults.begin("kill -9 of the broker", Whom::Broker);
        let broker = self.one()?;
        broker.kill9().await?;
        sleep(outage).await;
        broker.restart().await?;
        self.faults.end(fault);
        Ok(())
    }

    pub(super) fn one(&mut self) -> Result<&mut TestBroker> {
        match &mut self.fleet.broker {
            Ground::One(broker) => Ok(broker),
            Ground::Three(_) => bail!("there are three nodes"),
        }
    }

    /// Replaces a service's process by one with the environment that it has from now on.
    pub(super) async fn replace(&mut self, label: &str) -> Result<()> {
        self.drain(label).await?;
        self.spawn(label, &[]).await?;
        self.fleet.process(label)?.ready().await
    }

    pub(super) fn cluster(&mut self) -> Result<&mut Cluster> {
        match &mut self.fleet.broker {
            Ground::Three(cluster) => Ok(cluster),
            Ground::One(_) => bail!("there is one node"),
        }
    }

    /// The node that leads the stream of jobs.
    pub(super) async fn leader(&self) -> Result<usize> {
        match &self.fleet.broker {
            Ground::Three(cluster) => cluster.leader(&self.admin, "JOBS").await,
            Ground::One(_) => bail!("there is one node"),
        }
    }

    /// Starts again what does not run, and waits until all is ready.
    pub(super) async fn heal(&mut self) -> Result<()> {
        let labels: Vec<_> = self.cast.keys().cloned().collect();
        for label in &labels {
            if !self.runs(label)? {
                self.spawn(label, &[]).await?;
            }
        }
        for label in &labels {
            self.fleet.process(label)?.ready().await?;
        }
        Ok(())
    }

    /// Whether its process is there.
    pub(super) fn runs(&mut self, label: &str) -> Result<bool> {
        match self.fleet.process(label) {
            Ok(process) => Ok(process.has_ended()?.is_none()),
            Err(_) => Ok(false),
        }
    }

    /// Stops everything in an orderly way.
    pub(super) async fn stop(&mut self) -> Result<()> {
        for label in self.fleet.labels() {
            let status = self.fleet.take(&label)?.stop().await?;
            if status.code() != Some(0) {
                self.complaints.push(format!("{label} ended with {status} at the end"));
            }
        }
        Ok(())
    }

    /// Runs the operator's program.
    pub(super) async fn cli(&self, args: &[&str]) -> Result<serde_json::Value> {
        let text = self.fleet.cli(args).await?;
        ensure!(!text.is_empty(), "{args:?} says nothing");
        serde_json::from_str(&text).with_context(|| format!("{args:?} says no JSON: {text}"))
    }
}

/// The service of a label, as `worker` of `worker-2`.
pub(super) fn service_of(label: &str) -> &str {
    label.split('-').next().unwrap_or(label)
}
