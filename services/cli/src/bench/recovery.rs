//! `windlass bench recovery`: a worker is killed, and another takes its jobs.

use std::time::Duration;

use jiff::Timestamp;
use prost::Message as _;
use serde::Serialize;
use tokio::time::{Instant, sleep};
use windlass_broker::provision::Layout;
use windlass_proto::v1;

use super::Error;
use super::floors::Floors;
use super::kinds::Held;
use super::load::{Load, What};
use super::pace::Pace;
use super::records::{PATIENCE, Records, between};
use super::report::{Percentiles, show};
use super::scene::Scene;
use super::settings::{Settings, duration};
use super::stage::{Stage, WORKER, layout};
use super::worker::HOLDS;
use crate::run::Program;

/// Kills a worker whose slots are all taken, until another runs all of its jobs
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// How many jobs run when their worker is killed; both workers have a slot for each
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    running: u32,
    /// How long a delivered job may stay without a sign of life before another worker gets it
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    ack_wait: Duration,
    #[command(flatten)]
    settings: Settings,
}

const AFTER_HELP: &str = "\
The second worker is ready, and idle, when the first is killed (SIGKILL). The jobs are in one queue, and the broker may
have as many unacknowledged (max_ack_pending) as run.

Examples:
  windlass bench recovery
  windlass bench recovery --running 200 --ack-wait 5s -o json";

#[derive(Debug, Serialize)]
struct Report {
    /// From the death until the last of the jobs runs again.
    recovered_seconds: f64,
    ack_wait_seconds: f64,
    /// What it took beyond that; below 0 if it was faster.
    beyond_ack_wait_seconds: f64,
    /// Of each job, from the death until it runs again.
    again: Percentiles,
    running: u32,
    /// Whose records tell of the attempt that was lost.
    crashed: usize,
    settings: Settings,
    #[serde(flatten)]
    floors: Floors,
}

/// For an attempt that is held: beyond any wait for the others.
const LONGEST: Duration = Duration::from_hours(1);
/// A worker says so often what it does, or a little faster.
const POLL: Duration = Duration::from_millis(200);
const ACK_WAIT: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(10);

pub(super) async fn run(args: Args, scene: &Scene) -> Result<(), Error> {
    let Args { running, ack_wait, settings } = args;
    let mut settings = scene.complete(settings)?;
    if !ACK_WAIT.contains(&ack_wait) {
        let reason = format!("is {ack_wait:?}: expected {:?} to {:?}", ACK_WAIT.start(), ACK_WAIT.end());
        return Err(Error::Usage { option: "ack-wait", reason });
    }
    if settings.queues > 1 {
        let reason = format!("is {}: the jobs of this measurement are in one", settings.queues);
        return Err(Error::Usage { option: "queues", reason });
    }
    settings.concurrency = settings.concurrency.max(usize::try_from(running).unwrap_or(usize::MAX));
    let layout = layout(&settings);
    let layout = Layout { ack_wait, horizon: layout.horizon.max(2 * ack_wait), ..layout };
    let jobs = u64::from(running);
    let floors = Floors::measure(&settings, jobs, scene).await?;
    let mut stage = Stage::open(scene, &settings, layout).await?;
    stage.services(scene, &settings.programs(), &[(HOLDS, "1")]).await?;
    let what = What::Held(Held::of(settings.payload), LONGEST);
    let load = Load { what, ..Load::new(&settings, jobs, Pace::AsAccepted) };
    scene.screen.busy("starting jobs");
    load.submit(&stage.client, &scene.screen).await?;
    all_run(&stage, running, scene).await?;
    stage.services(scene, &[Program::BenchWorker], &[]).await?;
    scene.screen.busy("waiting for the jobs to run again");
    let killed_at = Timestamp::now();
    stage.kill(WORKER);
    let records = Records::wait(&stage.jobs, jobs, ack_wait + PATIENCE, &scene.screen).await?;
    stage.stop(scene).await?;
    let again: Vec<_> =
        records.rows().iter().filter_map(|row| Some(between(killed_at, row.last.started_at?))).collect();
    let recovered = again.iter().max().copied().unwrap_or_default().as_secs_f64();
    let report = Report {
        recovered_seconds: recovered,
        ack_wait_seconds: ack_wait.as_secs_f64(),
        beyond_ack_wait_seconds: recovered - ack_wait.as_secs_f64(),
        again: Percentiles::of(again),
        running,
        crashed: records.rows().iter().filter(|row| !row.before.is_empty()).count(),
        settings,
        floors,
    };
    show(&report, scene.format, |report| {
        format!(
            "{:.2} s until all of {running} jobs ran again: {:+.2} s beyond the {} s of ack_wait\nagain   {}\n{}\n",
            report.recovered_seconds,
            report.beyond_ack_wait_seconds,
            report.ack_wait_seconds,
            report.again,
            report.floors,
        )
    })
}

/// Waits until the worker says that so many jobs run.
async fn all_run(stage: &Stage, expected: u32, scene: &Scene) -> Result<(), Error> {
    let workers = stage.broker.bucket(stage.broker.names().workers_bucket());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let entries = workers.entries().await.map_err(Error::Workers)?;
        let infos = entries.into_iter().filter_map(|entry| v1::WorkerInfo::decode(entry.value).ok());
        let running: u32 = infos.map(|info| info.running).sum();
        scene.screen.progress(running.into(), expected.into());
        if running >= expected {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let (found, jobs) = (running.into(), expected.into());
            return Err(Error::Stalled { what: "run", found, jobs, waited: PATIENCE });
        }
        sleep(POLL).await;
    }
}
