//! `windlass bench idle`: what the services need while nothing happens.

use std::time::Duration;

use serde::Serialize;

use super::Error;
use super::floors::Floors;
use super::report::show;
use super::scene::Scene;
use super::settings::{Settings, duration};
use super::stage::Stage;
use super::usage::Share;

/// What the services need while nothing happens
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// For how long it is looked
    #[arg(long = "for", value_name = "DURATION", default_value = "20s", value_parser = duration)]
    time: Duration,
    #[command(flatten)]
    settings: Settings,
}

const AFTER_HELP: &str = "\
Examples:
  windlass bench idle
  windlass bench idle --queues 1000 --for 1m -o json";

#[derive(Debug, Serialize)]
struct Report {
    seconds: f64,
    processes: Vec<Idle>,
    settings: Settings,
    #[serde(flatten)]
    floors: Floors,
}

#[derive(Debug, Serialize)]
struct Idle {
    process: String,
    cpu_percent: f64,
    resident_memory_mb: f64,
}

/// For the floors beside it.
const FLOOR_JOBS: u64 = 5000;

pub(super) async fn run(args: Args, scene: &Scene) -> Result<(), Error> {
    let settings = scene.complete(args.settings)?;
    let floors = Floors::measure(&settings, FLOOR_JOBS, scene).await?;
    let mut stage = Stage::start(scene, &settings).await?;
    scene.screen.busy("looking");
    let seconds = args.time.as_secs_f64();
    stage.begin()?;
    tokio::time::sleep(args.time).await;
    let used = stage.used()?;
    stage.stop(scene).await?;
    let idle = |share: Share| Idle {
        process: share.process,
        cpu_percent: share.cpu_seconds * 100.0 / seconds,
        resident_memory_mb: share.resident_memory_mb,
    };
    let processes = used.into_iter().map(idle).collect();
    let report = Report { seconds, processes, settings, floors };
    show(&report, scene.format, |report| {
        let mut text = "process       % of a core  resident MB\n".to_owned();
        for Idle { process, cpu_percent, resident_memory_mb } in &report.processes {
            text = format!("{text}{process:<14}{cpu_percent:>11.2}{resident_memory_mb:>13.1}\n");
        }
        format!("{text}{}\n", report.floors)
    })
}
