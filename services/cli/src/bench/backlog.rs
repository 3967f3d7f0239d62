//! `windlass bench backlog`: what a great number of waiting jobs costs.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::Error;
use super::floors::Floors;
use super::load::Load;
use super::pace::Pace;
use super::records::{PATIENCE, Records, between};
use super::report::{Percentiles, show};
use super::scene::Scene;
use super::settings::Settings;
use super::stage::{Stage, layout};
use super::usage::Share;
use crate::run::Program;

/// Submits while jobs wait that no worker takes, then starts a fleet on them; with few and with many
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// How many jobs wait
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    jobs: u64,
    /// How many wait in the measurement that this one is compared to
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    small: u64,
    /// Jobs that are submitted while the others wait; and a quarter as many at a steady rate
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    probe: u64,
    #[command(flatten)]
    settings: Settings,
}

const AFTER_HELP: &str = "\
A ratio is that of the large backlog to the small one: near 1 where a backlog costs nothing. Ends are kept for
--outcome-ttl, within which all jobs must have run: a million may need more than the default.

Examples:
  windlass bench backlog
  windlass bench backlog --jobs 1000000 --outcome-ttl 1h -o json";

/// At which submission is timed: what a fleet takes with ease, so that nothing queues but for the backlog.
const PROBE_RATE: f64 = 500.0;
const FIRST_POLL: Duration = Duration::from_millis(100);
const LONGEST_POLL: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize)]
struct Report {
    small: Size,
    large: Size,
    /// Of the large one to the small one.
    ratios: Ratios,
    settings: Settings,
    #[serde(flatten)]
    floors: Floors,
}

/// What was measured of one backlog.
#[derive(Debug, Serialize)]
struct Size {
    /// That waited.
    jobs: u64,
    fill_per_second: f64,
    /// While they waited.
    submit_per_second: f64,
    /// While they waited, at a steady rate.
    submit: Percentiles,
    /// From the start of the processes to the first job's end.
    cold_start_seconds: f64,
    /// From the first job's end to the last one's.
    drain_per_second: f64,
    /// The dispatcher that filled the queue, and the processes that were started on it.
    processes: Vec<Share>,
}

#[derive(Debug, Serialize)]
struct Ratios {
    submit_per_second: f64,
    submit_p99: f64,
    cold_start: f64,
    drain_per_second: f64,
    /// By process; the broker's, where it is ours, holds what waits.
    peak_memory: BTreeMap<String, f64>,
}

pub(super) async fn run(args: Args, scene: &Scene) -> Result<(), Error> {
    let Args { jobs, small, probe, settings } = args;
    let settings = scene.complete(settings)?;
    if small >= jobs {
        let reason = format!("is {small}: expected less than --jobs, {jobs}");
        return Err(Error::Usage { option: "small", reason });
    }
    let floors = Floors::measure(&settings, small, scene).await?;
    let small = measure(&settings, small, probe, scene).await?;
    let large = measure(&settings, jobs, probe, scene).await?;
    let floors = floors.beside(large.drain_per_second);
    let report = Report { ratios: Ratios::of(&small, &large), small, large, settings, floors };
    show(&report, scene.format, for_people)
}

async fn measure(settings: &Settings, jobs: u64, probe: u64, scene: &Scene) -> Result<Size, Error> {
    let screen = &scene.screen;
    let mut stage = Stage::open(scene, settings, layout(settings)).await?;
    stage.services(scene, &[Program::Dispatcher], &[]).await?;
    stage.begin()?;
    screen.busy("filling the queues");
    let load = |jobs, pace| Load::new(settings, jobs, pace);
    let filled = load(jobs, Pace::AsAccepted).submit(&stage.client, screen).await?;
    ready(&stage, jobs, scene).await?;
    screen.busy("submitting beside the backlog");
    let probed = load(probe, Pace::AsAccepted).submit(&stage.client, screen).await?;
    ready(&stage, jobs + probe, scene).await?;
    let paced = probe.div_ceil(4);
    let timed = load(paced, Pace::Rate(PROBE_RATE)).submit(&stage.client, screen).await?;
    let all = jobs + probe + paced;
    ready(&stage, all, scene).await?;
    let mut processes = stage.used()?;
    processes.retain(|share| share.process == "dispatcher");
    for share in &mut processes {
        share.process.push_str("-filling");
    }
    stage.stop_services().await;

    screen.busy("starting a fleet on the backlog");
    stage.begin()?;
    let started_at = Timestamp::now();
    stage.services(scene, &settings.programs(), &[]).await?;
    drained(&stage, all, scene).await?;
    let records = Records::wait(&stage.jobs, all, PATIENCE, screen).await?;
    processes.extend(stage.used()?.into_iter().filter(|share| share.process != "client"));
    stage.stop(scene).await?;
    let drain = between(records.first_at(), records.last_at()).as_secs_f64();
    Ok(Size {
        jobs,
        fill_per_second: filled.per_second(),
        submit_per_second: probed.per_second(),
        submit: Percentiles::of(timed.took),
        cold_start_seconds: between(started_at, records.first_at()).as_secs_f64(),
        drain_per_second: all as f64 / drain.max(1e-3),
        processes,
    })
}

/// Waits until so many jobs are ready.
async fn ready(stage: &Stage, jobs: u64, scene: &Scene) -> Result<(), Error> {
    let reached = |ready| (ready >= jobs, ready);
    if let Some(found) = watch(stage, scene, jobs, PATIENCE, reached).await? {
        return Err(Error::Stalled { what: "were ready", found, jobs, waited: PATIENCE });
    }
    Ok(())
}

/// Waits until none is ready any more, by a question that costs the broker nothing. Whether all have ended is not said by
/// that: if it stands still, their records will tell.
async fn drained(stage: &Stage, jobs: u64, scene: &Scene) -> Result<(), Error> {
    let reached = |ready| (ready == 0, jobs.saturating_sub(ready));
    watch(stage, scene, jobs, PATIENCE, reached).await.map(drop)
}

/// Asks until it is reached, or nothing has moved for so long: then it is told how far it came.
async fn watch(
    stage: &Stage,
    scene: &Scene,
    jobs: u64,
    patience: Duration,
    reached: impl Fn(u64) -> (bool, u64),
) -> Result<Option<u64>, Error> {
    let (mut pause, mut most, mut since) = (FIRST_POLL, 0, Instant::now());
    loop {
        let (is_reached, done) = reached(stage.ready().await?);
        scene.screen.progress(done, jobs);
        if is_reached {
            return Ok(None);
        }
        if done > most {
            (most, since) = (done, Instant::now());
        } else if since.elapsed() >= patience {
            return Ok(Some(done));
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_POLL);
    }
}

// === impl Size ===

impl Size {
    fn peak(&self, process: &str) -> Option<f64> {
        let share = self.processes.iter().find(|share| share.process == process);
        share.map(|share| share.peak_memory_mb)
    }
}

// === impl Ratios ===

impl Ratios {
    fn of(small: &Size, large: &Size) -> Self {
        let memory =
            |share: &Share| Some((share.process.clone(), share.peak_memory_mb / small.peak(&share.process)?));
        Self {
            submit_per_second: large.submit_per_second / small.submit_per_second,
            submit_p99: large.submit.p99 / small.submit.p99,
            cold_start: large.cold_start_seconds / small.cold_start_seconds,
            drain_per_second: large.drain_per_second / small.drain_per_second,
            peak_memory: large.processes.iter().filter_map(memory).collect(),
        }
    }
}

fn for_people(report: &Report) -> String {
    let Report { small, large, ratios, floors, .. } = report;
    let head = format!("{:<30}{:>12}{:>12}{:>8}\n", "jobs that wait", small.jobs, large.jobs, "ratio");
    let row = |text: String, name: &str, of: &dyn Fn(&Size) -> f64, ratio: f64, digits: usize| {
        let (small, large) = (of(small), of(large));
        format!("{text}{name:<30}{small:>12.digits$}{large:>12.digits$}{ratio:>8.2}\n")
    };
    let text =
        row(head, "submitted beside them, jobs/s", &|s| s.submit_per_second, ratios.submit_per_second, 0);
    let text = row(text, "submission p99, ms", &|s| s.submit.p99, ratios.submit_p99, 2);
    let text = row(text, "cold start, s", &|s| s.cold_start_seconds, ratios.cold_start, 2);
    let text = row(text, "drained, jobs/s", &|s| s.drain_per_second, ratios.drain_per_second, 0);
    let text = ratios.peak_memory.iter().fold(text, |text, (process, ratio)| {
        row(text, &format!("{process}, peak MB"), &|size| size.peak(process).unwrap_or_default(), *ratio, 1)
    });
    format!("{text}{floors}\n")
}
