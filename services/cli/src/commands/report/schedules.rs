//! `windlass report schedules`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use windlass::JobId;
use windlass_core::JobState;
use windlass_monitor::report::{Bundle, What};
use windlass_monitor::store::Report;
use windlass_schedules::ScheduleStore;
use windlass_schedules::review::{last_jobs, review};
use windlass_schedules::store::Stored;

use super::super::Error;
use super::super::api::{Known, Monitor};
use super::{Form, earlier, write};
use crate::connect::Fleet;
use crate::global::Global;

const AFTER_HELP: &str = "\
Examples:
  windlass report schedules
  windlass report schedules --hours 6 -o json
  windlass report schedules --format html --file schedules.html

Of each schedule: how many instants fired, were missed and were passed over since it was made; how late the last ones
were; how many of its last jobs have failed, which the monitor is asked. Then which schedules fire at the same instants
in the hours to come, and by how much each could be shifted to spread them: by a `phase`, another second or minute, or a
`jitter`.";

/// What schedules did, which never succeed, and which fire at the same instants
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// So many hours ahead are looked at: 1 to 744
    #[arg(long, default_value_t = 24, value_name = "N")]
    hours: i64,
    /// How it is written; `-o json` writes JSON too
    #[arg(long, value_enum, default_value_t = Form::Markdown)]
    format: Form,
    /// Written to this file; without it, to standard output
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Of one schedule, the last jobs that are asked about.
const JOBS_EACH: usize = 5;
/// Of all.
const MOST_JOBS: usize = 5000;
/// At one time, of the monitor.
const QUESTIONS: usize = 8;

/// Runs the command.
pub(super) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let Args { hours, format, file } = args;
    if !(1..=744).contains(&hours) {
        return Err(Error::input("hours", format!("is {hours}: expected 1 to 744")));
    }
    let fleet = Fleet::find(global)?;
    let all = ScheduleStore::new(fleet.broker().await?).list().await?.schedules;
    // Without a monitor the rest is worth showing.
    let monitor = fleet.monitor().await.ok().flatten();
    let (what, made_at) = (What::Schedules, Timestamp::now());
    let from = earlier(made_at, what.spans());
    let (outcomes, report) = match monitor {
        Some(monitor) => (outcomes(monitor, &all).await, monitor.report(from, made_at).await.ok()),
        None => (HashMap::new(), None),
    };
    let review = review(&all, &outcomes, made_at, SignedDuration::from_hours(hours));
    let report = report.unwrap_or_else(|| Report::of_nothing(from, made_at));
    let bundle =
        Bundle { what, made_at, report, before: None, now: None, resources: None, review: Some(review) };
    write(&bundle, format, file, global)?;
    Ok(ExitCode::SUCCESS)
}

async fn outcomes(monitor: &Monitor, all: &[Stored]) -> HashMap<JobId, JobState> {
    let jobs: Vec<_> = all
        .iter()
        .flat_map(|stored| last_jobs(stored).take(JOBS_EACH).map(move |job| (job, &stored.schedule.queue)))
        .take(MOST_JOBS)
        .collect();
    let ask = |(job, queue)| async move {
        match monitor.job(job, Some(queue)).await {
            Ok(Known::Job(view)) => Some((job, view.state)),
            _ => None,
        }
    };
    let known: Vec<_> =
        futures::stream::iter(jobs.into_iter().map(ask)).buffer_unordered(QUESTIONS).collect().await;
    known.into_iter().flatten().collect()
}
