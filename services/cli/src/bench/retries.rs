//! `windlass bench retries`: jobs that fail a few times before they succeed.

use std::time::Duration;

use serde::Serialize;

use super::Error;
use super::floors::Floors;
use super::kinds::Failing;
use super::load::{Load, What};
use super::pace::Pace;
use super::records::{PATIENCE, Records};
use super::report::{Percentiles, of_processes, show};
use super::scene::Scene;
use super::settings::{Settings, duration};
use super::stage::Stage;
use super::usage::{Share, cpu_per_1000};

/// Jobs that fail a few times before they succeed, and how late each retry starts
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// How many jobs
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    jobs: u64,
    /// How often each fails
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=20))]
    failures: u32,
    /// From a failure to the next attempt
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    delay: Duration,
    #[command(flatten)]
    settings: Settings,
}

const AFTER_HELP: &str = "\
A retry is due so long after the end of the attempt before it, by the job's own record.

Examples:
  windlass bench retries
  windlass bench retries --jobs 50000 --failures 1 --delay 200ms -o json";

#[derive(Debug, Serialize)]
struct Report {
    jobs_per_second: f64,
    attempts_per_second: f64,
    /// Of each retry, after the instant that it was due at.
    late: Percentiles,
    retries: u64,
    cpu_seconds_per_1000_attempts: f64,
    jobs: u64,
    failures: u32,
    delay_seconds: f64,
    processes: Vec<Share>,
    settings: Settings,
    #[serde(flatten)]
    floors: Floors,
}

/// A retry may be so far away.
const LONGEST_DELAY: Duration = Duration::from_mins(10);

pub(super) async fn run(args: Args, scene: &Scene) -> Result<(), Error> {
    let Args { jobs, failures, delay, settings } = args;
    let settings = scene.complete(settings)?;
    if delay > LONGEST_DELAY {
        let reason = format!("is {delay:?}: expected at most {LONGEST_DELAY:?}");
        return Err(Error::Usage { option: "delay", reason });
    }
    let policy = Failing::policy(failures, delay);
    let policy = policy.map_err(|error| Error::Usage { option: "delay", reason: error.to_string() })?;
    let what = What::Failing(Failing::of(settings.payload, failures), policy);
    let floors = Floors::measure(&settings, jobs, scene).await?;
    let mut stage = Stage::start(scene, &settings).await?;
    let load = Load { what, ..Load::new(&settings, jobs, Pace::AsAccepted) };
    scene.screen.busy("measuring the fleet");
    stage.begin()?;
    let submitted = load.submit(&stage.client, &scene.screen).await?;
    let patience = PATIENCE + delay * failures;
    Records::ended(&stage.jobs, jobs, patience, &scene.screen).await?;
    let processes = stage.used()?;
    let records = Records::read(&stage.jobs, jobs).await?;
    stage.stop(scene).await?;
    let took = records.last_at().duration_since(submitted.begun_at).as_secs_f64();
    let late = records.retries(delay);
    let attempts = jobs * u64::from(failures + 1);
    let report = Report {
        jobs_per_second: jobs as f64 / took,
        attempts_per_second: attempts as f64 / took,
        retries: late.len() as u64,
        late: Percentiles::of(late),
        cpu_seconds_per_1000_attempts: cpu_per_1000(&processes, attempts),
        jobs,
        failures,
        delay_seconds: delay.as_secs_f64(),
        processes,
        settings,
        floors: floors.beside(attempts as f64 / took),
    };
    show(&report, scene.format, |report| {
        format!(
            "{:.0} jobs/s, {:.0} attempts/s: {jobs} jobs that fail {failures} times, and are tried again after {} s\n\
             late    {} ({} retries)\n{:.3} CPU s for 1000 attempts{}\n{}\n\n{}",
            report.jobs_per_second,
            report.attempts_per_second,
            report.delay_seconds,
            report.late,
            report.retries,
            report.cpu_seconds_per_1000_attempts,
            report.settings.counted(),
            report.floors,
            of_processes(&report.processes, attempts),
        )
    })
}
