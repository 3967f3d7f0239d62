//! `windlass bench fairness`: what the jobs of one tenant wait, alone and beside a great number of another's.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};
use windlass_broker::jobs::HeardEnds;
use windlass_core::JobId;
use windlass_core::flow::{Fairness, QueueSettings};

use super::Error;
use super::floors::Floors;
use super::kinds::Taking;
use super::load::{FlowNames, Load, What};
use super::pace::Pace;
use super::records::{PATIENCE, Row, between};
use super::report::{Percentiles, show};
use super::scene::Scene;
use super::settings::{Settings, duration};
use super::stage::Stage;
use super::usage::Share;

/// How long a few jobs of one tenant wait, alone and beside a great number of another's
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// How many jobs of the other tenant wait
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    jobs: u64,
    /// How many jobs the one tenant submits at once
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    few: u64,
    /// How often it does, alone and beside the others
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    rounds: u64,
    /// How long each job takes
    #[arg(long, value_name = "DURATION", default_value = "20ms", value_parser = duration)]
    takes: Duration,
    /// How many run at one time: the queue's limit, unless --flow says otherwise
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    running: u32,
    #[command(flatten)]
    settings: Settings,
}

const AFTER_HELP: &str = "\
Between its rounds the tenant waits for half a second. It begins right behind the others' jobs, while those are still
taken in, and again once it is decided on all of those that they wait. A wait is from the call to the start of the
attempt. With --flow the queue has those settings, and no limit of --running: as '{\"fairness\": {}}', for workers of
--concurrency slots.

Examples:
  windlass bench fairness
  windlass bench fairness --jobs 1000000 --few 10 --takes 50ms --running 1 -o json
  windlass bench fairness --flow '{\"fairness\": {}}' --concurrency 10";

#[derive(Debug, Serialize)]
struct Report {
    /// While nobody else has jobs.
    idle: Percentiles,
    /// While the other tenant's jobs are taken in; none if that was over at once.
    behind: Option<Percentiles>,
    /// While the other tenant's jobs wait.
    loaded: Percentiles,
    ratio_p50: f64,
    ratio_p99: f64,
    behind_ratio_p99: Option<f64>,
    /// Of the other tenant, until it was decided on each that it waits.
    decided_per_second: f64,
    jobs: u64,
    few: u64,
    rounds: u64,
    takes_ms: f64,
    running: Option<u32>,
    processes: Vec<Share>,
    settings: Settings,
    #[serde(flatten)]
    floors: Floors,
}

/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(500);
/// Jobs of a floor, which is the same for any number.
const FLOOR_JOBS: u64 = 20_000;

pub(super) async fn run(args: Args, scene: &Scene) -> Result<(), Error> {
    let Args { jobs, few, rounds, takes, running, mut settings } = args;
    let own = || QueueSettings {
        concurrency: Some(running),
        fairness: Some(Fairness::default()),
        ..QueueSettings::default()
    };
    let running = settings.flow.is_none().then_some(running);
    settings.flow.get_or_insert_with(own);
    let settings = scene.complete(settings)?;
    let floors = Floors::measure(&settings, FLOOR_JOBS, scene).await?;
    let mut stage = Stage::start(scene, &settings).await?;
    stage.begin()?;
    let load = |jobs, tenant| Load {
        what: What::Taking(Taking::of(settings.payload, takes)),
        names: FlowNames { tenant: Some(tenant), ..FlowNames::default() },
        ..Load::new(&settings, jobs, Pace::AsAccepted)
    };
    scene.screen.busy("a few jobs, alone");
    let idle = waits(&stage, &load(few, "few"), rounds).await?;
    scene.screen.busy("submitting jobs of another tenant");
    let filled = load(jobs, "many").submit(&stage.client, &scene.screen).await?;
    let submitted = Instant::now();
    scene.screen.busy("a few jobs, right behind those of another tenant");
    let behind = waits_while(&stage, &load(few, "few"), rounds, async || stage.is_taking_in().await).await?;
    stage.decided(scene, jobs).await?;
    let decided = filled.lasted + submitted.elapsed();
    scene.screen.busy("a few jobs, beside those of another tenant");
    let loaded = waits(&stage, &load(few, "few"), rounds).await?;
    let processes = stage.used()?;
    stage.stop(scene).await?;
    let report = Report {
        ratio_p50: loaded.p50 / idle.p50,
        ratio_p99: loaded.p99 / idle.p99,
        behind_ratio_p99: behind.as_ref().map(|behind| behind.p99 / idle.p99),
        idle,
        behind,
        loaded,
        decided_per_second: jobs as f64 / decided.as_secs_f64(),
        jobs,
        few,
        rounds,
        takes_ms: takes.as_secs_f64() * 1000.0,
        running,
        processes,
        settings,
        floors,
    };
    show(&report, scene.format, |report| {
        format!(
            "{few} jobs of one tenant, {rounds} times\nalone                   {}\nright behind {:<10} {}\nbeside {:<16} {}\np99 {:.2} times; {:.0} jobs/s decided on\n{}\n",
            report.idle,
            report.jobs,
            report.behind.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            report.jobs,
            report.loaded,
            report.ratio_p99,
            report.decided_per_second,
            report.floors,
        )
    })
}

/// What the jobs of all rounds waited.
async fn waits(stage: &Stage, load: &Load, rounds: u64) -> Result<Percentiles, Error> {
    let waits = waits_while(stage, load, rounds, async || Ok(true)).await?;
    Ok(waits.unwrap_or_else(|| Percentiles::of(Vec::new())))
}

/// The same, of the rounds that begin while this holds; none if none did.
async fn waits_while(
    stage: &Stage,
    load: &Load,
    rounds: u64,
    holds: impl AsyncFn() -> Result<bool, Error>,
) -> Result<Option<Percentiles>, Error> {
    let mut waits = Vec::new();
    for _ in 0..rounds {
        sleep(PAUSE).await;
        if !holds().await? {
            break;
        }
        let mut ends = HeardEnds::listen(&stage.jobs)
            .await
            .map_err(|error| Error::Broker("asked for the ends of jobs", error))?;
        let mut open: HashMap<JobId, Timestamp> = load.at_once(&stage.client).await?;
        let jobs = load.jobs;
        while !open.is_empty() {
            let stalled = || Error::Unfinished { ended: jobs - open.len() as u64, jobs, waited: PATIENCE };
            let end = timeout(PATIENCE, ends.next()).await.ok().flatten().ok_or_else(stalled)?;
            let Some(called_at) = open.remove(&end.job_id) else { continue };
            let started_at = Row::of(&end).and_then(|row| row.last.started_at);
            waits.extend(started_at.map(|at| between(called_at, at)));
        }
    }
    Ok((!waits.is_empty()).then(|| Percentiles::of(waits)))
}
