//! `windlass schedule pause`, `resume` and `trigger`.

use std::process::ExitCode;

use serde_json::json;
use windlass::JobId;
use windlass_broker::Broker;
use windlass_core::ScheduleId;
use windlass_core::schedule::{Overlap, Pause, Wish};
use windlass_schedules::store::{Author, Stored, pause_until};
use windlass_schedules::{ScheduleStore, view};

use crate::commands::Error;
use crate::commands::arguments::{duration, instant, parse};
use crate::commands::requester::who;
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::printable;
use crate::output::{self, Format};

const PAUSE_AFTER_HELP: &str = "\
Examples:
  windlass schedule pause nightly-report --note \"the warehouse moves\" --until 2026-12-01T08:00:00Z
  windlass schedule pause nightly-report --for 2h -o json

It fires nothing but what is asked for by hand. Instants in the pause are not made up for.
Exit codes: 0 paused; 1 failed, or changed by somebody else; 2 an argument is wrong; 4 no such schedule.";

const RESUME_AFTER_HELP: &str = "\
Examples:
  windlass schedule resume nightly-report

Exit codes: 0 it goes on; 1 failed, or changed by somebody else; 2 an argument is wrong; 4 no such schedule.";

const TRIGGER_AFTER_HELP: &str = "\
Examples:
  windlass schedule trigger nightly-report
  windlass schedule trigger nightly-report --timeout 30s -o json

Makes a job now, paused or not, and also while a job of the schedule is live, whatever its policy for overlaps says. The
request is stored with the schedule; the scheduler that leads carries it out.

Exit codes: 0 the job is made; 1 failed, or not made in time (it is made once a scheduler leads); 2 an argument is wrong;
4 no such schedule.";

/// Which schedule, and why.
#[derive(Debug, clap::Args)]
#[command(after_help = PAUSE_AFTER_HELP)]
pub(super) struct PauseArgs {
    /// Which
    #[arg(value_name = "ID")]
    id: String,
    /// Why, for people
    #[arg(long, default_value = "", value_name = "TEXT")]
    note: String,
    /// It goes on by itself then
    #[arg(long, value_name = "TIME", conflicts_with = "length")]
    until: Option<String>,
    /// It goes on by itself after this
    #[arg(long = "for", value_name = "DURATION")]
    length: Option<String>,
    /// Only if the schedule has this revision
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
}

/// Which schedule.
#[derive(Debug, clap::Args)]
#[command(after_help = RESUME_AFTER_HELP)]
pub(super) struct ResumeArgs {
    /// Which
    #[arg(value_name = "ID")]
    id: String,
    /// Only if the schedule has this revision
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
}

/// Which schedule.
#[derive(Debug, clap::Args)]
#[command(after_help = TRIGGER_AFTER_HELP)]
pub(super) struct TriggerArgs {
    /// Which
    #[arg(value_name = "ID")]
    id: String,
    /// How long to wait for the job to be made
    #[arg(long, default_value = "10s", value_name = "DURATION")]
    timeout: String,
}

/// Who changes a schedule, by the broker's clock. A pipeline that traces itself says in which trace.
pub(super) async fn author(broker: &Broker) -> Author {
    let trace = std::env::var("TRACEPARENT").ok().and_then(|text| text.parse().ok());
    Author::now(broker, who(), trace).await
}

pub(super) async fn pause(args: PauseArgs, global: &Global) -> Result<ExitCode, Error> {
    let id: ScheduleId = parse("id", &args.id)?;
    let length = args.length.as_deref().map(|text| duration("for", text)).transpose()?;
    let until = args.until.as_deref().map(|text| instant("until", text)).transpose()?;
    let fleet = Fleet::find(global)?;
    let broker = fleet.broker().await?;
    let author = author(broker).await;
    let until = pause_until(author.at, length, until)?;
    let pause = Pause { note: args.note, until };
    let paused = ScheduleStore::new(broker).pause(&id, args.revision, pause, &author).await;
    tell(&paused.map_err(Error::from)?, global.output)
}

pub(super) async fn resume(args: ResumeArgs, global: &Global) -> Result<ExitCode, Error> {
    let id: ScheduleId = parse("id", &args.id)?;
    let fleet = Fleet::find(global)?;
    let broker = fleet.broker().await?;
    let author = author(broker).await;
    let resumed = ScheduleStore::new(broker).resume(&id, args.revision, &author).await;
    tell(&resumed.map_err(Error::from)?, global.output)
}

fn tell(stored: &Stored, format: Format) -> Result<ExitCode, Error> {
    match format {
        Format::Json => output::json(&view::pause(stored))?,
        Format::Table => {
            let schedule = &stored.schedule;
            let state = if schedule.pause.is_some() { "is paused" } else { "goes on" };
            let pause = schedule.pause.clone().unwrap_or_default();
            let until = pause.until.map(|until| format!(" until {until}")).unwrap_or_default();
            let note = if pause.note.is_empty() { String::new() } else { format!(": {}", pause.note) };
            output::text(&format!(
                "{}\n",
                printable(&format!("schedule {} {state}{until}{note}", schedule.id))
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn trigger(args: TriggerArgs, global: &Global) -> Result<ExitCode, Error> {
    let id: ScheduleId = parse("id", &args.id)?;
    let timeout = duration("timeout", &args.timeout)?;
    let fleet = Fleet::find(global)?;
    let broker = fleet.broker().await?;
    let store = ScheduleStore::new(broker);
    let stored = store.get(&id).await?.ok_or_else(|| Error::NoSchedule(id.clone()))?;
    let request = store.request(&id, None, Wish::Trigger, &author(broker).await).await?;
    let job = JobId::of_trigger(&id, request.at);
    let made = store.is_taken_up(&id, &request, timeout).await?;
    // Said, because it may be meant to protect something.
    let overlap = stored.schedule.policy.overlap;
    let passes_over = (overlap != Overlap::AllowAll).then_some(overlap);
    match global.output {
        Format::Json => output::json(&json!({
            "id": id,
            "job_id": job,
            "queue": stored.schedule.queue,
            "requested_at": request.at,
            "made": made,
            "passes_over_overlap": passes_over,
        }))?,
        Format::Table => {
            let state = if made { "is made" } else { "is asked for; it is made once a scheduler leads" };
            let over = passes_over
                .map(|_| ", whether or not a job of it is live: its policy for overlaps does not hold");
            output::text(&format!("job {job} of schedule {id} {state}{}\n", over.unwrap_or_default()))?;
        }
    }
    Ok(if made { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
