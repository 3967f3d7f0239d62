//! `windlass bench takeover`: the dispatcher that owns a queue's held jobs is killed, and another lets them go.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::{sleep, timeout};
use windlass_broker::jobs::HeardEnds;
use windlass_core::flow::QueueSettings;

use super::Error;
use super::floors::Floors;
use super::kinds::Taking;
use super::load::{Load, What};
use super::pace::Pace;
use super::records::{Row, between};
use super::report::show;
use super::scene::Scene;
use super::settings::{Settings, duration};
use super::stage::{DISPATCHER, Stage};
use super::usage::Share;
use crate::run::Program;

/// Kills the dispatcher that holds a great number of jobs at a limit, until another lets them go
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// How many jobs are held
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    jobs: u64,
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
The second dispatcher is ready, and owns no queue, when the first is killed (SIGKILL). What it let go before goes on to
run; the gap is the longest time afterwards in which no job starts.

Examples:
  windlass bench takeover
  windlass bench takeover --jobs 1000000 -o json
  windlass bench takeover --jobs 1000000 --keys 1000 --flow '{\"key_concurrency\": 1}'";

#[derive(Debug, Serialize)]
struct Report {
    /// The longest time without the start of a job, from the death on.
    gap_seconds: f64,
    /// Starts that were heard afterwards.
    starts: usize,
    fill_per_second: f64,
    jobs: u64,
    takes_ms: f64,
    running: Option<u32>,
    /// The second dispatcher's memory is that of a queue of so many.
    processes: Vec<Share>,
    settings: Settings,
    #[serde(flatten)]
    floors: Floors,
}

/// For the floors beside it.
const FLOOR_JOBS: u64 = 20_000;
/// For the second to have begun, and found nothing to own.
const BEFORE: Duration = Duration::from_secs(3);
/// How long the starts are heard after the death: beyond any take-over.
const HEARD: Duration = Duration::from_secs(20);

pub(super) async fn run(args: Args, scene: &Scene) -> Result<(), Error> {
    let Args { jobs, takes, running, mut settings } = args;
    let own = || QueueSettings { concurrency: Some(running), ..QueueSettings::default() };
    let running = settings.flow.is_none().then_some(running);
    settings.flow.get_or_insert_with(own);
    let settings = scene.complete(settings)?;
    let floors = Floors::measure(&settings, FLOOR_JOBS, scene).await?;
    let mut stage = Stage::start(scene, &settings).await?;
    stage.begin()?;
    let what = What::Taking(Taking::of(settings.payload, takes));
    let load = Load { what, ..Load::new(&settings, jobs, Pace::AsAccepted) };
    scene.screen.busy("submitting jobs");
    let filled = load.submit(&stage.client, &scene.screen).await?;
    stage.decided(scene, jobs).await?;
    stage.services(scene, &[Program::Dispatcher], &[]).await?;
    sleep(BEFORE).await;
    let mut ends = HeardEnds::listen(&stage.jobs)
        .await
        .map_err(|error| Error::Broker("asked for the ends of jobs", error))?;
    scene.screen.busy("waiting for another dispatcher");
    let killed_at = Timestamp::now();
    stage.kill(DISPATCHER);
    let mut starts = Vec::new();
    let _ = timeout(HEARD, async {
        while let Some(end) = ends.next().await {
            starts.extend(Row::of(&end).and_then(|row| row.last.started_at).filter(|at| *at > killed_at));
        }
    })
    .await;
    let until = Timestamp::now();
    let processes = stage.used()?;
    stage.stop(scene).await?;
    starts.sort_unstable();
    let report = Report {
        gap_seconds: longest_gap(killed_at, &starts, until).as_secs_f64(),
        starts: starts.len(),
        fill_per_second: filled.per_second(),
        jobs,
        takes_ms: takes.as_secs_f64() * 1000.0,
        running,
        processes,
        settings,
        floors,
    };
    show(&report, scene.format, |report| {
        let memory = report.processes.iter().rfind(|share| share.process == DISPATCHER);
        format!(
            "{:.2} s without a start after the death of the dispatcher that held {jobs} jobs\n\
             the other dispatcher: {:.1} MB at most\n{}\n",
            report.gap_seconds,
            memory.map_or(0.0, |share| share.peak_memory_mb),
            report.floors,
        )
    })
}

/// The longest time without any of these, which are in order.
fn longest_gap(from: Timestamp, starts: &[Timestamp], until: Timestamp) -> Duration {
    let all: Vec<_> = std::iter::once(from).chain(starts.iter().copied()).chain([until]).collect();
    all.windows(2).map(|pair| between(pair[0], pair[1])).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_the_longest_and_reaches_to_the_end() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let gap = |starts: &[i64], until| {
            longest_gap(at(0), &starts.iter().map(|second| at(*second)).collect::<Vec<_>>(), at(until))
                .as_secs()
        };
        assert_eq!(gap(&[1, 2, 7, 8], 9), 5);
        assert_eq!(gap(&[1], 9), 8);
        assert_eq!(gap(&[], 9), 9);
    }
}
