//! `windlass schedule backfill`.

use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use serde_json::json;
use windlass::JobId;
use windlass_core::ScheduleId;
use windlass_core::schedule::Wish;
use windlass_schedules::ScheduleStore;
use windlass_schedules::backfill::{Asked, Which};

use super::change::author;
use crate::commands::Error;
use crate::commands::api::Known;
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

/// For a scheduler to begin.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);

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
    /// Of those that have had none, of those whose job is dead or expired, or of all
    #[arg(long, default_value = "missing", value_parser = PossibleValuesParser::new(Which::WORDS).try_map(|w| w.parse::<Which>()))]
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
    let Args { which, concurrency, reverse, .. } = args;
    let asked = Asked { from, until, which, concurrency, reverse };
    let fleet = Fleet::find(global)?;
    let broker = fleet.broker().await?;
    let store = ScheduleStore::new(broker);
    let schedule = store.get(&id).await?.ok_or_else(|| Error::NoSchedule(id.clone()))?.schedule;
    let author = author(broker).await;
    let monitor = match which {
        Which::All => None,
        Which::Missing | Which::Failed => Some(fleet.monitor().await?.ok_or(Error::NoMonitor)?),
    };
    let queue = &schedule.queue;
    let state_of = |job: JobId| async move {
        let Some(monitor) = monitor else { return Ok(None) };
        match monitor.job(job, Some(queue)).await? {
            Known::Job(view) => Ok(Some(view.state)),
            Known::Nothing(_) => Ok(None),
            Known::Several(queues) => Err(Error::Ambiguous { id: job, queues }),
        }
    };
    let backfill = asked.plan(&schedule, author.at, state_of).await?;
    let instants = &backfill.instants;
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
    let request = store.request(&id, None, Wish::Backfill(backfill), &author).await?;
    let begun = store.is_taken_up(&id, &request, BEGIN_WITHIN).await?;
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
