//! `windlass schedule backfill`.

use std::process::ExitCode;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use windlass::JobId;
use windlass_core::schedule::{Backfill, MOST_BACKFILLED, Schedule, Wish};
use windlass_core::{JobState, ScheduleId};
use windlass_scheduler::ScheduleStore;

use super::change::{author, is_taken_up};
use crate::commands::Error;
use crate::commands::api::{Known, Monitor};
use crate::commands::arguments::{instant, parse};
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::{self, Format};

const AFTER_HELP: &str = "\
Examples:
  windlass schedule backfill nightly-report --from 2026-11-01T00:00:00Z --until 2026-11-08T00:00:00Z --dry-run
  windlass schedule backfill nightly-report --from 2026-11-01T00:00:00Z --which failed --concurrency 2 --reverse

Makes jobs of instants of the past, by the schedule's rule as it is now: of those that have had none (missing), of those
whose job is dead or expired (failed), or of all. What an instant has had, the monitor is asked. Of missing ones the job
is that of the instant; of the others it is a further one. The policies for overlaps and misfires do not hold for it.
The request is stored with the schedule; the scheduler that leads carries it out, one backfill at a time.

Exit codes: 0 it is under way, or nothing is to be done; 1 failed, or no scheduler has begun in time; 2 an argument is
wrong; 4 no such schedule.";

/// At one time, of the monitor.
const QUESTIONS: usize = 8;
/// For a scheduler to begin.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);

/// Which instants are to have a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    /// That have had none
    Missing,
    /// Whose job is dead or expired
    Failed,
    /// Every one
    All,
}

/// Which instants, and how.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// Which schedule
    #[arg(value_name = "ID")]
    id: String,
    /// The first instant that may have a job
    #[arg(long, value_name = "TIME")]
    from: String,
    /// The last; now, if it is not said
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Of which instants
    #[arg(long, value_enum, default_value_t = Which::Missing)]
    which: Which,
    /// How many of its jobs may be live at one time: 1 to 1000
    #[arg(long, default_value_t = 1, value_name = "N")]
    concurrency: usize,
    /// The latest instant first
    #[arg(long)]
    reverse: bool,
    /// Only say which instants
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let id: ScheduleId = parse("id", &args.id)?;
    let from = instant("from", &args.from)?;
    let until = args.until.as_deref().map(|text| instant("until", text)).transpose()?;
    if !(1..=1000).contains(&args.concurrency) {
        return Err(Error::input("concurrency", format!("is {}: expected 1 to 1000", args.concurrency)));
    }
    let fleet = Fleet::find(global)?;
    let broker = fleet.broker().await?;
    let store = ScheduleStore::new(broker);
    let schedule = store.get(&id).await?.ok_or_else(|| Error::NoSchedule(id.clone()))?.schedule;
    let author = author(broker).await;
    let until = until.map_or(author.at, |until| until.min(author.at));
    let before = from.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MIN);
    let mut instants = schedule.spec.instants_between(before, until, MOST_BACKFILLED + 1);
    if instants.len() > MOST_BACKFILLED {
        let reason =
            format!("to {until} there are more than {MOST_BACKFILLED} instants: expected a shorter time");
        return Err(Error::input("from", reason));
    }
    if args.which != Which::All {
        let monitor = fleet.monitor().await?.ok_or(Error::NoMonitor)?;
        instants = chosen(monitor, &schedule, args.which, instants).await?;
    }
    if args.reverse {
        instants.reverse();
    }
    let again = args.which != Which::Missing;
    let count = instants.len();
    let shown = json!({ "id": id, "count": count, "instants": instants, "dry_run": args.dry_run });
    if args.dry_run || instants.is_empty() {
        match global.output {
            Format::Json => output::json(&shown)?,
            Format::Table => {
                let lines: Vec<_> = instants.iter().map(ToString::to_string).collect();
                let all = lines.join("\n");
                output::text(&format!("{all}\n{count} instants of schedule {id}; nothing was changed\n"))?;
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let wish = Wish::Backfill(Backfill { instants, concurrency: args.concurrency, again });
    let request = store.request(&id, wish, &author).await?;
    let begun = is_taken_up(&store, &id, &request, BEGIN_WITHIN).await?;
    match global.output {
        Format::Json => {
            let mut shown = shown;
            shown["requested_at"] = json!(request.at);
            shown["begun"] = json!(begun);
            output::json(&shown)?;
        }
        Format::Table => {
            let state = if begun { "is under way" } else { "is asked for; it begins once a scheduler leads" };
            output::text(&format!("the backfill of {count} instants of schedule {id} {state}\n"))?;
        }
    }
    Ok(if begun { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Those that are to have a job, by what the monitor knows of the instants' jobs.
async fn chosen(
    monitor: &Monitor,
    schedule: &Schedule<bytes::Bytes>,
    which: Which,
    instants: Vec<Timestamp>,
) -> Result<Vec<Timestamp>, Error> {
    let ask = |at: Timestamp| async move {
        let known = monitor.job(JobId::of_fire(&schedule.id, at), Some(&schedule.queue)).await?;
        let is_chosen = match (&known, which) {
            (Known::Nothing(_), Which::Missing) => true,
            (Known::Job(view), Which::Failed) => matches!(view.state, JobState::Dead | JobState::Expired),
            _ => which == Which::All,
        };
        Ok::<_, Error>(is_chosen.then_some(at))
    };
    let found: Vec<Option<Timestamp>> =
        futures::stream::iter(instants.into_iter().map(ask)).buffered(QUESTIONS).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}
