//! `windlass bench fan-out`: one job that submits many.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use super::Error;
use super::floors::Floors;
use super::kinds::FanOut;
use super::records::{PATIENCE, Records, between};
use super::report::{Percentiles, of_processes, show};
use super::scene::Scene;
use super::settings::Settings;
use super::stage::Stage;
use super::usage::{Share, cpu_per_1000};

/// One job whose handler submits many, until the last of them has ended
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// How many children the job has
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    children: u64,
    /// Children that go on when their parent is cancelled: they cost a write less
    #[arg(long)]
    detached: bool,
    #[command(flatten)]
    settings: Settings,
}

const AFTER_HELP: &str = "\
The time is that from the start of the parent's handler until the record of the last child's end is stored.

Examples:
  windlass bench fan-out
  windlass bench fan-out --children 10000 --detached -o json";

#[derive(Debug, Serialize)]
struct Report {
    /// From the parent's start until the last child's end is stored.
    seconds: f64,
    children_per_second: f64,
    /// The parent's handler: until all children were accepted.
    submitting_seconds: f64,
    /// Of a child, from its acceptance to its start.
    wait: Percentiles,
    cpu_seconds_per_1000_children: f64,
    children: u64,
    detached: bool,
    processes: Vec<Share>,
    settings: Settings,
    #[serde(flatten)]
    floors: Floors,
}

/// For the parent's handler.
const LONGEST: Duration = Duration::from_hours(1);

pub(super) async fn run(args: Args, scene: &Scene) -> Result<(), Error> {
    let Args { children, detached, settings } = args;
    let settings = scene.complete(settings)?;
    let floors = Floors::measure(&settings, children, scene).await?;
    let mut stage = Stage::start(scene, &settings).await?;
    let job = FanOut { children, payload: settings.payload, queues: settings.queues, detached };
    scene.screen.busy("measuring the fleet");
    stage.begin()?;
    let parent = stage.client.task(&job).attempt_timeout(LONGEST).max_attempts(1);
    let parent = parent.submit().await.map_err(Error::Submit)?;
    Records::ended(&stage.jobs, children + 1, PATIENCE, &scene.screen).await?;
    let processes = stage.used()?;
    let records = Records::read(&stage.jobs, children + 1).await?;
    stage.stop(scene).await?;
    let (parent, children_records) = records.without(parent.id);
    let parent = parent.and_then(|row| Some((row.last.started_at?, row.last.ended_at)));
    let (from, until) = parent.ok_or(Error::Expired { read: children, jobs: children + 1 })?;
    let seconds = between(from, children_records.last_at()).as_secs_f64();
    let report = Report {
        seconds,
        children_per_second: children as f64 / seconds,
        submitting_seconds: between(from, until).as_secs_f64(),
        wait: children_records.waits(&HashMap::new()),
        cpu_seconds_per_1000_children: cpu_per_1000(&processes, children),
        children,
        detached,
        processes,
        settings,
        floors: floors.beside(children as f64 / seconds),
    };
    show(&report, scene.format, |report| {
        format!(
            "{:.2} s from the parent's start until the last of {children} children had ended: {:.0} children/s\n\
             {:.2} s of that until all were submitted\nwait    {}\n{:.3} CPU s for 1000 children{}\n{}\n\n{}",
            report.seconds,
            report.children_per_second,
            report.submitting_seconds,
            report.wait,
            report.cpu_seconds_per_1000_children,
            report.settings.counted(),
            report.floors,
            of_processes(&report.processes, children),
        )
    })
}
