//! `windlass bench throughput`: jobs a second, submitted and run at once.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::Error;
use super::floors::Floor;
use super::heard::Heard;
use super::load::Load;
use super::pace::Pace;
use super::records::{PATIENCE, Records};
use super::report::{Percentiles, median, of_processes, show};
use super::scene::Scene;
use super::settings::{Settings, duration};
use super::stage::Stage;
use super::sweep::{self, Sweep};
use super::usage::{Share, cpu_per_1000};

/// Jobs a second, submitted and run at once, beside two floors
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// How many jobs
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    jobs: u64,
    /// How often each is measured, in turn; the medians are told
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=20))]
    runs: u8,
    /// Measures with each of these values of one option: concurrency, payload or queues
    #[arg(long, value_name = "OPTION=N,N,...")]
    sweep: Option<Sweep>,
    /// Draws the sweep into this file
    #[arg(long, value_name = "FILE.svg", requires = "sweep")]
    plot: Option<PathBuf>,
    /// Queues keep ends for so long only: their setting outcome_ttl
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    forget_after: Option<Duration>,
    #[command(flatten)]
    settings: Settings,
}

const AFTER_HELP: &str = "\
The protocol floor is a bare client that makes the same writes for each job and nothing else; the other publishes three
plain messages. Each of them, and the fleet, has a broker that was started for it, one after the other in the same run;
with --nats-url each has streams of its own.

Examples:
  windlass bench throughput --jobs 200000 --runs 3
  windlass bench throughput --monitor on --durability always -o json
  windlass bench throughput --forget-after 1s
  windlass bench throughput --sweep concurrency=10,100,1000 --plot concurrency.svg";

/// What is told.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) jobs_per_second: f64,
    pub(super) protocol_floor_per_second: f64,
    pub(super) ratio_to_protocol_floor: f64,
    pub(super) three_publish_floor_per_second: f64,
    ratio_to_three_publish_floor: f64,
    pub(super) cpu_seconds_per_1000_jobs: f64,
    protocol_floor_cpu_seconds_per_1000_jobs: f64,
    /// The fleet among them has nothing to do.
    protocol_floor_processes: Vec<Share>,
    bytes_written_per_job: f64,
    pub(super) wait: Percentiles,
    run: Percentiles,
    submit: Percentiles,
    jobs: u64,
    runs: u8,
    processes: Vec<Share>,
    settings: Settings,
}

/// One run of the fleet.
struct Measured {
    per_second: f64,
    wait: Percentiles,
    run: Percentiles,
    submit: Percentiles,
    used: Vec<Share>,
}

pub(super) async fn run(args: Args, scene: &Scene) -> Result<(), Error> {
    let Args { jobs, runs, sweep, plot, forget_after, mut settings } = args;
    if let Some(ttl) = forget_after {
        settings.forget_after(ttl)?;
    }
    let settings = scene.complete(settings)?;
    match sweep {
        Some(sweep) => sweep::run(sweep, plot, &settings, jobs, runs, scene).await,
        None => show(&report(settings, jobs, runs, scene).await?, scene.format, for_people),
    }
}

/// Measures floors and fleet, and says what came of it.
pub(super) async fn report(settings: Settings, jobs: u64, runs: u8, scene: &Scene) -> Result<Report, Error> {
    let (mut fleet, mut protocol, mut three) = (Vec::new(), Vec::new(), Vec::new());
    let mut floor_used = Vec::new();
    for _ in 0..runs {
        let (three_rate, _) = Floor::ThreePublishes.measure(&settings, jobs, scene).await?;
        let (protocol_rate, used) = Floor::Protocol.measure(&settings, jobs, scene).await?;
        three.push(three_rate);
        protocol.push(protocol_rate);
        floor_used.push(used);
        fleet.push(measure(&settings, jobs, scene).await?);
    }
    // The run in the middle, whole: figures of different runs do not belong together.
    fleet.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    let Measured { per_second, wait, run, submit, used } = fleet.swap_remove(fleet.len() / 2);
    let (protocol, three) = (median(protocol), median(three));
    let cpu = |used: &Vec<Share>| cpu_per_1000(used, jobs);
    floor_used.sort_by(|a, b| cpu(a).total_cmp(&cpu(b)));
    let floor_used = floor_used.swap_remove(floor_used.len() / 2);
    let written: u64 = used.iter().map(|share| share.written_bytes).sum();
    Ok(Report {
        jobs_per_second: per_second,
        protocol_floor_per_second: protocol,
        ratio_to_protocol_floor: per_second / protocol,
        three_publish_floor_per_second: three,
        ratio_to_three_publish_floor: per_second / three,
        cpu_seconds_per_1000_jobs: cpu_per_1000(&used, jobs),
        protocol_floor_cpu_seconds_per_1000_jobs: cpu(&floor_used),
        protocol_floor_processes: floor_used,
        bytes_written_per_job: written as f64 / jobs as f64,
        wait,
        run,
        submit,
        jobs,
        runs,
        processes: used,
        settings,
    })
}

async fn measure(settings: &Settings, jobs: u64, scene: &Scene) -> Result<Measured, Error> {
    let mut stage = Stage::start(scene, settings).await?;
    let load = Load::new(settings, jobs, Pace::AsAccepted);
    scene.screen.busy("measuring the fleet");
    // What is forgotten soon is heard as it is written.
    let heard = if settings.forgets() { Some(Heard::listen(&stage.jobs, jobs).await?) } else { None };
    stage.begin()?;
    let submitted = load.submit(&stage.client, &scene.screen).await?;
    let accepted_at = Timestamp::now();
    let (used, records) = if let Some(heard) = heard {
        let records = heard.all(&stage).await?;
        (stage.used()?, records)
    } else {
        Records::ended(&stage.jobs, jobs, PATIENCE, &scene.screen).await?;
        (stage.used()?, Records::read(&stage.jobs, jobs).await?)
    };
    stage.stop(scene).await?;
    let took = records.last_at().max(accepted_at).duration_since(submitted.begun_at).as_secs_f64();
    Ok(Measured {
        per_second: jobs as f64 / took,
        wait: records.waits(&submitted.intended),
        run: records.runs(),
        submit: Percentiles::of(submitted.took),
        used,
    })
}

fn for_people(report: &Report) -> String {
    format!(
        "{:.0} jobs/s, submitted and run at once\n\
         {:.2} of the protocol floor ({:.0} jobs/s), {:.2} of three plain publishes ({:.0} jobs/s)\n\
         {:.3} CPU s for 1000 jobs{} (the protocol floor: {:.3}), {:.0} bytes written for each\n\
         wait    {}\nrun     {}\nsubmit  {}\n\n{}",
        report.jobs_per_second,
        report.ratio_to_protocol_floor,
        report.protocol_floor_per_second,
        report.ratio_to_three_publish_floor,
        report.three_publish_floor_per_second,
        report.cpu_seconds_per_1000_jobs,
        report.settings.counted(),
        report.protocol_floor_cpu_seconds_per_1000_jobs,
        report.bytes_written_per_job,
        report.wait,
        report.run,
        report.submit,
        of_processes(&report.processes, report.jobs),
    )
}
