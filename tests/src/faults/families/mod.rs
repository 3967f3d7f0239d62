//! The families of faults.

mod broker;
mod cluster;
mod collector;
mod deploy;
mod disk;
mod duplicates;
mod failpoints;
mod kills;
mod limits;
mod network;
mod pauses;
mod poison;
mod sabotage;
mod schedules;
mod subscriber;
mod versions;

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use tokio::time::sleep;
use windlass_testkit::SmallDisk;

use super::ledger::Ledger;
use super::round::Options;
use super::seed::Seed;
use super::stage::{LIMITS, Limits, Needs, Stage};

/// One sort of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Family {
    /// Kills workers.
    WorkerKill,
    /// Kills dispatchers.
    DispatcherKill,
    /// Kills schedulers.
    SchedulerKill,
    /// Kills the monitor.
    MonitorKill,
    /// Kills services at each step.
    Failpoints,
    /// Kills workers and dispatchers over a backlog at its limits.
    Limits,
    /// Stops workers past their leases.
    WorkerPause,
    /// Kills the only node.
    BrokerKill,
    /// Restarts three nodes.
    RollingRestart,
    /// Stops the leader.
    LeaderPause,
    /// Submits an id many times.
    Duplicates,
    /// Rolls out new processes.
    Deploy,
    /// Disturbs connections.
    Network,
    /// Fills the broker's disk.
    DiskFull,
    /// Does not read what it subscribed to.
    StalledSubscriber,
    /// Has no collector of traces.
    CollectorDead,
    /// Submits what breaks its worker.
    Poison,
    /// Submits what is no task, or fails for good.
    BadInput,
    /// Runs two versions together.
    Versions,
    /// Breaks the promises itself, behind the product's back: what a round must find.
    #[value(skip)]
    Sabotage,
}

/// Families whose rounds do not hold yet, with the reason: they run only if they are named.
const PENDING: &[(Family, &str)] = &[];

/// What a family works on, while clients submit.
pub(super) struct Scene<'a> {
    pub(super) stage: &'a mut Stage,
    pub(super) ledger: &'a Ledger,
    pub(super) seed: &'a mut Seed,
    pub(super) options: &'a Options,
    /// Messages that are no tasks, and were published as such.
    pub(super) malformed: usize,
}

/// Before the first fault, so that it meets a fleet at work.
const WARM_UP: Duration = Duration::from_millis(1500);

/// Two dispatchers and three workers: what most families meet.
const FLEET: [&str; 5] = ["dispatcher-1", "dispatcher-2", "worker-1", "worker-2", "worker-3"];

// === impl Family ===

impl Family {
    /// Every one.
    pub const ALL: &'static [Self] = &[
        Self::WorkerKill,
        Self::BrokerKill,
        Self::WorkerPause,
        Self::Failpoints,
        Self::DispatcherKill,
        Self::Limits,
        Self::SchedulerKill,
        Self::MonitorKill,
        Self::RollingRestart,
        Self::LeaderPause,
        Self::Duplicates,
        Self::Deploy,
        Self::Network,
        Self::DiskFull,
        Self::StalledSubscriber,
        Self::CollectorDead,
        Self::Poison,
        Self::BadInput,
        Self::Versions,
    ];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::WorkerKill => "worker-kill",
            Self::DispatcherKill => "dispatcher-kill",
            Self::SchedulerKill => "scheduler-kill",
            Self::MonitorKill => "monitor-kill",
            Self::Failpoints => "failpoints",
            Self::Limits => "limits",
            Self::WorkerPause => "worker-pause",
            Self::BrokerKill => "broker-kill",
            Self::RollingRestart => "rolling-restart",
            Self::LeaderPause => "leader-pause",
            Self::Duplicates => "duplicates",
            Self::Deploy => "deploy",
            Self::Network => "network",
            Self::DiskFull => "disk-full",
            Self::StalledSubscriber => "stalled-subscriber",
            Self::CollectorDead => "collector-dead",
            Self::Poison => "poison",
            Self::BadInput => "bad-input",
            Self::Versions => "versions",
            Self::Sabotage => "sabotage",
        }
    }

    /// In a few words.
    pub fn about(self) -> &'static str {
        match self {
            Self::WorkerKill => "kill -9 of workers",
            Self::DispatcherKill => "kill -9 of dispatchers",
            Self::SchedulerKill => "kill -9 of schedulers",
            Self::MonitorKill => "kill -9 of the monitor",
            Self::Failpoints => "kill -9 of each service after each step of the protocol",
            Self::Limits => {
                "kill -9 of workers and dispatchers over a backlog of keys, one job of each at a time"
            }
            Self::WorkerPause => "SIGSTOP of workers past their leases, then SIGCONT",
            Self::BrokerKill => "kill -9 of the only broker",
            Self::RollingRestart => "rolling restart of three nodes, some by kill -9",
            Self::LeaderPause => "SIGSTOP of the node that leads, then SIGCONT",
            Self::Duplicates => {
                "one id submitted a hundred times at once, and again after broker and services died"
            }
            Self::Deploy => "SIGTERM under load: rolling deployments of all services",
            Self::Network => "a proxy that cuts, delays, truncates and holds the connections of services",
            Self::DiskFull => "no space left for the broker (needs the right to mount a tmpfs)",
            Self::StalledSubscriber => "subscribers that do not read, a monitor that sleeps",
            Self::CollectorDead => "a collector of traces that refuses, and one that does not answer",
            Self::Poison => "jobs that abort, exit, overflow the stack or take all memory",
            Self::BadInput => "messages that are no tasks, jobs that panic",
            Self::Sabotage => "a job deleted, one ended twice and one made up, behind the product's back",
            Self::Versions => "programs of another version beside these (needs --old-programs)",
        }
    }

    /// Why it cannot be run here, if it cannot.
    pub(super) fn cannot_run(self, options: &Options) -> Option<String> {
        match self {
            Self::Versions if options.old_programs.is_none() => {
                Some("--old-programs names no folder".to_owned())
            }
            Self::Failpoints if !programs_have_failpoints() => {
                Some("the programs were built without debug assertions: they have no failpoints".to_owned())
            }
            Self::DiskFull => SmallDisk::mount(1).err().map(|error| error.to_string()),
            _ => PENDING
                .iter()
                .find(|(family, _)| *family == self && !options.named)
                .map(|(_, reason)| format!("pending: {reason}")),
        }
    }

    /// Its fleet, ready.
    pub(super) async fn stage(self, options: &Options) -> Result<Stage> {
        // A worker of a version that knows no slots gives none back.
        let limits = match self {
            Self::Versions => None,
            Self::Limits => Some(Limits { of_queue: None, ..LIMITS }),
            _ => Some(LIMITS),
        };
        let horizon = options.round_bound();
        let mut needs =
            Needs { three_nodes: false, small_disk: false, limits, horizon, cast: FLEET.to_vec() };
        if options.short {
            needs.cast.retain(|label| !["dispatcher-2", "worker-3"].contains(label));
        }
        needs.three_nodes = matches!(self, Self::RollingRestart | Self::LeaderPause);
        match self {
            Self::BrokerKill | Self::RollingRestart | Self::LeaderPause => needs.cast.push("scheduler-1"),
            Self::SchedulerKill => needs.cast.extend(["scheduler-1", "scheduler-2"]),
            Self::MonitorKill | Self::StalledSubscriber => needs.cast.push("monitor-1"),
            Self::DiskFull => needs.small_disk = true,
            Self::Failpoints | Self::Deploy => needs.cast.extend(["scheduler-1", "monitor-1"]),
            _ => {}
        }
        Stage::start(&needs, options.old_programs.clone()).await
    }

    /// Whether jobs are cancelled meanwhile.
    pub(super) fn cancels(self) -> bool {
        matches!(self, Self::Failpoints | Self::DispatcherKill | Self::WorkerKill | Self::BrokerKill)
    }

    /// How often one finished id is submitted again.
    pub(super) fn repeats(self) -> usize {
        if self == Self::Duplicates { 100 } else { 5 }
    }

    /// Does its harm.
    pub(super) async fn inject(self, scene: &mut Scene<'_>) -> Result<()> {
        sleep(if scene.options.short { WARM_UP / 2 } else { WARM_UP }).await;
        // Where a scheduler is there and nothing else is told of its schedule, its instants belong to the load.
        let ticks =
            matches!(self, Self::BrokerKill | Self::RollingRestart | Self::LeaderPause | Self::Deploy);
        let ticking = if ticks { Some(schedules::Ticking::start(scene.stage).await?) } else { None };
        self.harm(scene).await?;
        match ticking {
            Some(ticking) => ticking.stop(scene.stage, scene.ledger).await,
            None => Ok(()),
        }
    }

    async fn harm(self, scene: &mut Scene<'_>) -> Result<()> {
        match self {
            Self::WorkerKill => kills::of_service(scene, "worker").await,
            Self::DispatcherKill => kills::of_service(scene, "dispatcher").await,
            Self::MonitorKill => kills::of_service(scene, "monitor").await,
            Self::SchedulerKill => schedules::kills(scene).await,
            Self::Failpoints => failpoints::each(scene).await,
            Self::Limits => limits::of_keys(scene).await,
            Self::WorkerPause => pauses::of_workers(scene).await,
            Self::BrokerKill => broker::kills(scene).await,
            Self::RollingRestart => cluster::rolling_restart(scene).await,
            Self::LeaderPause => cluster::leader_pause(scene).await,
            Self::Duplicates => duplicates::at_once(scene).await,
            Self::Deploy => deploy::rolling(scene).await,
            Self::Network => network::disturbed(scene).await,
            Self::DiskFull => disk::full(scene).await,
            Self::StalledSubscriber => subscriber::stalled(scene).await,
            Self::CollectorDead => collector::dead(scene).await,
            Self::Poison => poison::jobs(scene).await,
            Self::BadInput => poison::messages(scene).await,
            Self::Versions => versions::together(scene).await,
            Self::Sabotage => sabotage::all(scene).await,
        }
    }

    /// What must hold beside the jobs, once all is quiet.
    pub(super) async fn afterwards(self, stage: &mut Stage, ledger: &Ledger) -> Result<Vec<String>> {
        if stage.labels("monitor").is_empty() {
            Ok(Vec::new())
        } else {
            kills::monitor_agrees(stage, ledger).await
        }
    }
}

// === impl Scene ===

impl Scene<'_> {
    /// How often something is done: less in the short set.
    fn times(&self, many: u64, few: u64) -> u64 {
        if self.options.short { few } else { many }
    }

    /// A while, before the next fault.
    async fn wait(&mut self, from: u64, to: u64) {
        sleep(self.seed.millis(from, to)).await;
    }

    fn pick(&mut self, labels: &[String]) -> Result<String> {
        self.seed.pick(labels).cloned().ok_or_else(|| anyhow::anyhow!("nobody is there"))
    }
}

/// Whether the programs that were given can be told to die at a step; those that are built here can.
fn programs_have_failpoints() -> bool {
    let Some(folder) = std::env::var_os("WINDLASS_TEST_PROGRAMS") else { return true };
    // Its name is in them only if they look at it.
    let name = b"WINDLASS_FAILPOINTS_LOG";
    let program = std::fs::read(std::path::Path::new(&folder).join("windlass-dispatcher"));
    program.is_ok_and(|program| program.windows(name.len()).any(|part| part == name))
}
