//! `windlass report schedules`.

use std::collections::HashMap;
use std::process::ExitCode;

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use windlass::JobId;
use windlass_core::JobState;
use windlass_schedules::ScheduleStore;
use windlass_schedules::review::{Review, last_jobs, review};
use windlass_schedules::store::Stored;

use super::super::Error;
use super::super::api::{Known, Monitor};
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::{Table, relative, seconds};
use crate::output::{self, Format};

const AFTER_HELP: &str = "\
Examples:
  windlass report schedules
  windlass report schedules --hours 6 -o json

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
}

/// Of one schedule, the last jobs that are asked about.
const JOBS_EACH: usize = 5;
/// Of all.
const MOST_JOBS: usize = 5000;
/// At one time, of the monitor.
const QUESTIONS: usize = 8;

/// Runs the command.
pub(super) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let Args { hours } = args;
    if !(1..=744).contains(&hours) {
        return Err(Error::input("hours", format!("is {hours}: expected 1 to 744")));
    }
    let fleet = Fleet::find(global)?;
    let all = ScheduleStore::new(fleet.broker().await?).list().await?.schedules;
    // Without a monitor the rest is worth showing.
    let monitor = fleet.monitor().await.ok().flatten();
    let outcomes = match monitor {
        Some(monitor) => outcomes(monitor, &all).await,
        None => HashMap::new(),
    };
    let now = Timestamp::now();
    let review = review(&all, &outcomes, now, SignedDuration::from_hours(hours));
    match global.output {
        Format::Json => output::json(&review)?,
        Format::Table => output::text(&text(&review, monitor.is_some(), now))?,
    }
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

fn text(review: &Review, is_known: bool, now: Timestamp) -> String {
    let headings = ["SCHEDULE", "FIRES", "MISSED", "SKIPPED", "LATE (MEDIAN)", "LATE (MOST)", "FAILED", ""];
    let mut table = Table::new(&headings).right([1, 2, 3, 4, 5, 6]);
    for schedule in &review.schedules {
        let late = |seconds_late: Option<f64>| seconds_late.map(seconds).unwrap_or_default();
        table.row([
            schedule.id.to_string(),
            schedule.fires.to_string(),
            schedule.misfires.to_string(),
            schedule.skipped.to_string(),
            late(schedule.lateness_median_seconds),
            late(schedule.lateness_max_seconds),
            if is_known {
                format!("{} of {}", schedule.failed, schedule.ended)
            } else {
                "not known".to_owned()
            },
            if schedule.never_succeeded { "never succeeds".to_owned() } else { String::new() },
        ]);
    }
    let mut text = table.render();
    if !review.collisions.is_empty() {
        let mut table = Table::new(&["FIRE TOGETHER", "INSTANTS", "FIRST", "SHIFT BY"]).right([1]);
        for collision in &review.collisions {
            let of = |what: &dyn Fn(&windlass_schedules::review::Shift) -> String| {
                let shown: Vec<_> = collision.schedules.iter().take(8).map(what).collect();
                let more = collision.schedules.len().saturating_sub(8);
                if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
            };
            table.row([
                of(&|shift| shift.id.to_string()),
                collision.instants.to_string(),
                relative(collision.first_at, now),
                of(&|shift| format!("{}s", shift.shift_seconds)),
            ]);
        }
        text = format!("{text}\n{}", table.render());
    }
    text
}
