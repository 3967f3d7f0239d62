//! `windlass bench idle`: what the services need while nothing happens.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::Error;
use super::floors::Floors;
use super::report::show;
use super::scene::Scene;
use super::settings::{Settings, Switch, duration};
use super::stage::{Stage, layout};
use super::usage::Share;
use crate::dev::fleet::own_program;
use crate::run::Program;

/// What the services need while nothing happens
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// For how long it is looked
    #[arg(long = "for", value_name = "DURATION", default_value = "20s", value_parser = duration)]
    time: Duration,
    /// Folder of the services' own programs, as they are deployed [default: that of this program, if they are there]
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

const AFTER_HELP: &str = "\
Where there are no such programs this one runs the services. Its file is larger than theirs, and what of it is in memory
counts for each of them.

Examples:
  windlass bench idle
  windlass bench idle --programs /usr/local/bin --monitor on
  windlass bench idle --queues 1000 --for 1m -o json";

#[derive(Debug, Serialize)]
struct Report {
    seconds: f64,
    /// Where the services' own programs are; none if this one ran them.
    programs: Option<PathBuf>,
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
    let services = services(&settings);
    let own_programs = own_programs(args.programs, &services)?;
    let floors = Floors::measure(&settings, FLOOR_JOBS, scene).await?;
    let mut stage = Stage::open(scene, &settings, layout(&settings)).await?;
    stage.own_programs.clone_from(&own_programs);
    stage.services(scene, &services, &[]).await?;
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
    let report = Report { seconds, programs: own_programs, processes, settings, floors };
    show(&report, scene.format, |report| {
        let mut text = "process       % of a core  resident MB\n".to_owned();
        for Idle { process, cpu_percent, resident_memory_mb } in &report.processes {
            text = format!("{text}{process:<14}{cpu_percent:>11.2}{resident_memory_mb:>13.1}\n");
        }
        let ran = match &report.programs {
            Some(folder) => {
                format!("The services ran as programs of their own, those in {}.", folder.display())
            }
            None => {
                "This program ran the services: more of its file is in memory than of their own programs."
                    .to_owned()
            }
        };
        format!("{text}{ran}\n{}\n", report.floors)
    })
}

/// All that are deployed.
fn services(settings: &Settings) -> Vec<Program> {
    let monitor = (settings.monitor == Switch::On).then_some(Program::Monitor);
    [Program::Scheduler, Program::Dispatcher, Program::Worker].into_iter().chain(monitor).collect()
}

/// The folder of their own programs: this, or the one of this program where all of them are there.
fn own_programs(given: Option<PathBuf>, services: &[Program]) -> Result<Option<PathBuf>, Error> {
    let missing = |folder: &Path| {
        services.iter().map(|service| own_program(folder, *service)).find(|program| !program.is_file())
    };
    if let Some(folder) = given {
        let wrong = |program: PathBuf| Error::Usage {
            option: "programs",
            reason: format!("names a folder without {}: expected one with all of them", program.display()),
        };
        return missing(&folder).map_or(Ok(Some(folder)), |program| Err(wrong(program)));
    }
    let beside = std::env::current_exe().ok().and_then(|own| own.parent().map(Path::to_owned));
    Ok(beside.filter(|folder| missing(folder).is_none()))
}
