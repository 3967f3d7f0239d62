//! The worker of the suite: the SDK's, with handlers that record what they do.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use windlass::QueueName;
use windlass_service::{Context, Layout, Part, Service, Validate};

use super::history::{Line, Recorder};
use super::jobs::{MOST_BYTES, Shared, handlers};

/// The fault worker, as a program of the fleet. It has the place and the rights of the shipped worker.
#[derive(Debug, Clone, Copy)]
pub struct FaultWorker;

/// The section `[worker]` of its configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The queues that it serves.
    pub queues: Vec<QueueName>,
    /// How many attempts run at a time, for each queue.
    pub slots: usize,
}

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(100);
/// The condition that every queue is served.
const CONDITION: &str = "queues";

impl Default for Options {
    fn default() -> Self {
        Self { queues: vec![QueueName::default()], slots: 16 }
    }
}

impl Validate for Options {}

impl Service for FaultWorker {
    const NAME: &'static str = "worker";
    const ABOUT: &'static str = "Runs the jobs of the fault suite, and records what it does";
    const HTTP_PORT: u16 = 8303;

    type Options = Options;

    fn parts(_: &Options, _: &Layout) -> Vec<Part> {
        vec![
            Part::Jobs(windlass::core::PoolName::default()),
            Part::Events,
            Part::Dead,
            Part::Workers,
            Part::Control,
        ]
    }

    async fn run(options: Options, context: Context) -> anyhow::Result<()> {
        // Of data, not of addresses: threads reserve many more of these than they use. The allocator has a large part
        // from the start.
        let most = Some(data_bytes()? + u64::try_from(MOST_BYTES)? / 4);
        setrlimit(Resource::Data, Rlimit { current: most, maximum: most })?;
        // A process that aborts is gone when its memory is written, which takes longer than a lease.
        setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
        let recorder = Recorder::from_env()?;
        let (pid, worker) = (std::process::id(), context.instance.clone());
        recorder.record(&Line::Hello { at: Timestamp::now(), pid, worker: worker.clone() })?;
        watch(recorder.clone(), worker.clone(), context.layout.ack_wait / 3);
        let handlers = handlers(Shared { recorder, worker: worker.clone() })?;
        let worker_options = windlass::worker::Options {
            id: worker,
            queues: options.queues,
            slots: options.slots,
            cancel_grace: context.drain_timeout / 4,
            drain_timeout: context.drain_timeout / 4,
            horizon: context.layout.horizon,
            ..windlass::worker::Options::default()
        };
        let worker =
            windlass::Worker::new(&windlass::Client::new(context.broker.clone()), handlers, worker_options)?;
        context.health.not_ready(CONDITION, "not served yet");
        context.ready();
        let served = CancellationToken::new();
        let announce = async {
            served.cancelled().await;
            context.health.ready(CONDITION);
            std::future::pending().await
        };
        tokio::select! {
            ended = Box::pin(worker.run(context.stop.clone(), served.clone())) => ended.context("the worker failed"),
            ended = announce => ended,
        }
    }
}

/// What this process has mapped for data.
fn data_bytes() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.context("/proc/self/status has no VmData")? * 1024)
}

/// Records when this process stood still, for which nobody but the machine may be to blame.
fn watch(recorder: Recorder, worker: String, limit: Duration) {
    std::thread::spawn(move || {
        loop {
            let before = Instant::now();
            std::thread::sleep(TICK);
            let gap = before.elapsed();
            if gap > TICK + limit {
                let milliseconds = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
                let line = Line::Stall { at: Timestamp::now(), worker: worker.clone(), milliseconds };
                if recorder.record(&line).is_err() {
                    return;
                }
            }
        }
    });
}
