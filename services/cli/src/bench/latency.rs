//! `windlass bench latency`: from the instant at which a job should be submitted to its start.

use serde::Serialize;

use super::Error;
use super::floors::Floors;
use super::load::Load;
use super::pace::Pace;
use super::records::{PATIENCE, Records};
use super::report::{Percentiles, of_processes, show};
use super::scene::Scene;
use super::settings::Settings;
use super::stage::Stage;
use super::usage::{Share, cpu_per_1000};

/// From the instant at which a job should be submitted to its start, at a steady rate
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Jobs a second
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// How many jobs
    #[arg(long, value_name = "N", default_value_t = 3000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    jobs: u64,
    #[command(flatten)]
    settings: Settings,
}

const AFTER_HELP: &str = "\
The pace does not wait for the fleet: a job that is submitted late has waited since its instant.

Examples:
  windlass bench latency --rate 100 --jobs 3000
  windlass bench latency --rate 15000 --jobs 300000 -o json";

#[derive(Debug, Serialize)]
struct Report {
    wait: Percentiles,
    run: Percentiles,
    submit: Percentiles,
    cpu_seconds_per_1000_jobs: f64,
    rate: u32,
    jobs: u64,
    processes: Vec<Share>,
    settings: Settings,
    #[serde(flatten)]
    floors: Floors,
}

pub(super) async fn run(args: Args, scene: &Scene) -> Result<(), Error> {
    let Args { rate, jobs, settings } = args;
    let settings = scene.complete(settings)?;
    let floors = Floors::measure(&settings, jobs, scene).await?;
    let mut stage = Stage::start(scene, &settings).await?;
    let load = Load::new(&settings, jobs, Pace::Rate(f64::from(rate)));
    scene.screen.busy("submitting at a steady rate");
    stage.begin()?;
    let submitted = load.submit(&stage.client, &scene.screen).await?;
    Records::ended(&stage.jobs, jobs, PATIENCE, &scene.screen).await?;
    let processes = stage.used()?;
    let records = Records::read(&stage.jobs, jobs).await?;
    stage.stop(scene).await?;
    let report = Report {
        wait: records.waits(&submitted.intended),
        run: records.runs(),
        submit: Percentiles::of(submitted.took),
        cpu_seconds_per_1000_jobs: cpu_per_1000(&processes, jobs),
        rate,
        jobs,
        processes,
        settings,
        floors,
    };
    show(&report, scene.format, |report| {
        format!(
            "at {rate} jobs/s, {jobs} jobs\nwait    {}\nrun     {}\nsubmit  {}\n{:.3} CPU s for 1000 jobs{}\n{}\n\n{}",
            report.wait,
            report.run,
            report.submit,
            report.cpu_seconds_per_1000_jobs,
            report.settings.counted(),
            report.floors,
            of_processes(&report.processes, jobs),
        )
    })
}
