//! `windlass bench delayed`: how late jobs start that are due at one instant, and such with short delays.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::Error;
use super::floors::Floors;
use super::load::{Due, Load};
use super::pace::Pace;
use super::records::{PATIENCE, Records};
use super::report::{Percentiles, of_processes, show};
use super::scene::Scene;
use super::settings::{Settings, duration};
use super::stage::Stage;
use super::usage::{Share, cpu_per_1000};

/// How late jobs start that are due at one instant, and such with delays under a second
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// How many jobs
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    jobs: u64,
    /// From the first submission to the instant at which all are due
    #[arg(long = "in", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    delay: Duration,
    /// How many jobs follow, 100 a second, each due after a delay of its own under a second
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    short: u64,
    #[command(flatten)]
    settings: Settings,
}

const AFTER_HELP: &str = "\
Examples:
  windlass bench delayed
  windlass bench delayed --jobs 100000 --in 30s -o json";

/// Under a second: delays that the broker's timers, which tick four times a second, are too coarse for.
const SHORT: Duration = Duration::from_secs(1);
/// Of the jobs with short delays, a second.
const SHORT_RATE: f64 = 100.0;

#[derive(Debug, Serialize)]
struct Report {
    late: Percentiles,
    /// Of the jobs with short delays.
    short_late: Percentiles,
    run: Percentiles,
    /// From before their submission.
    cpu_seconds_per_1000_jobs: f64,
    jobs: u64,
    processes: Vec<Share>,
    settings: Settings,
    #[serde(flatten)]
    floors: Floors,
}

pub(super) async fn run(args: Args, scene: &Scene) -> Result<(), Error> {
    let Args { jobs, delay, short, settings } = args;
    let settings = scene.complete(settings)?;
    let floors = Floors::measure(&settings, jobs, scene).await?;
    let mut stage = Stage::start(scene, &settings).await?;
    stage.begin()?;
    let due_at = Timestamp::now() + delay;
    let load = Load { due: Due::At(due_at), ..Load::new(&settings, jobs, Pace::AsAccepted) };
    scene.screen.busy("submitting");
    load.submit(&stage.client, &scene.screen).await?;
    let left = Duration::try_from(due_at.duration_since(Timestamp::now())).unwrap_or_default();
    if left.is_zero() {
        let reason = format!("is {delay:?}, which had passed before all {jobs} jobs were submitted");
        return Err(Error::Usage { option: "in", reason });
    }
    // Nothing is asked of the broker before the instant, nor while they start.
    tokio::time::sleep(left + Duration::from_secs(1)).await;
    Records::ended(&stage.jobs, jobs, PATIENCE, &scene.screen).await?;
    let processes = stage.used()?;
    let load = Load { due: Due::Within(SHORT), ..Load::new(&settings, short, Pace::Rate(SHORT_RATE)) };
    scene.screen.busy("submitting jobs with short delays");
    let delays = load.submit(&stage.client, &scene.screen).await?.delays;
    let records = Records::wait(&stage.jobs, jobs + short, PATIENCE, &scene.screen).await?;
    stage.stop(scene).await?;
    let report = Report {
        late: records.lateness(|row| (!delays.contains_key(&row.job_id)).then_some(due_at)),
        short_late: records.lateness(|row| row.accepted_at.checked_add(*delays.get(&row.job_id)?).ok()),
        run: records.runs(),
        cpu_seconds_per_1000_jobs: cpu_per_1000(&processes, jobs),
        jobs,
        processes,
        settings,
        floors,
    };
    show(&report, scene.format, |report| {
        format!(
            "{jobs} jobs due at one instant, and {short} after less than a second\nlate    {}\nshort   {}\nrun     {}\n{:.3} CPU s for 1000 jobs{}\n{}\n\n{}",
            report.late,
            report.short_late,
            report.run,
            report.cpu_seconds_per_1000_jobs,
            report.settings.counted(),
            report.floors,
            of_processes(&report.processes, jobs),
        )
    })
}
