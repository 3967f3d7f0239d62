//! `windlass schedule`.

mod apply;
mod backfill;
mod change;
mod list;
mod next;
mod show;

use std::process::ExitCode;

use serde_json::json;
use windlass_core::ScheduleId;
use windlass_schedules::ScheduleStore;

use super::Error;
use super::arguments::parse;
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::{self, Format};

const LIST_AFTER_HELP: &str = "\
Examples:
  windlass schedule list
  windlass schedule list -o json";

const DELETE_AFTER_HELP: &str = "\
Examples:
  windlass schedule delete nightly-report
  windlass schedule delete nightly-report -o json

Jobs that it has made go on. Exit codes: 0 deleted; 1 failed; 2 the id is none; 4 no such schedule.";

const AFTER_HELP: &str = "\
Examples:
  windlass schedule next '30 2 * * *' --zone Europe/Berlin
  windlass schedule apply -f schedules/ --dry-run
  windlass schedule list
  windlass schedule history nightly-report";

/// What to do with schedules.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Makes the schedules of files, or changes them to what the files say
    Apply(apply::Args),
    /// Lists schedules, with when each fires next
    #[command(after_help = LIST_AFTER_HELP)]
    List,
    /// Shows one schedule: its definition, its next instants, and who changed it
    Show(show::ShowArgs),
    /// Prints the next instants of an expression or a schedule
    Next(next::Args),
    /// Shows what became of a schedule's last instants
    History(show::HistoryArgs),
    /// Lets a schedule fire nothing, for some time or until it is resumed
    Pause(change::PauseArgs),
    /// Ends a pause
    Resume(change::ResumeArgs),
    /// Makes a job of a schedule now
    Trigger(change::TriggerArgs),
    /// Makes jobs of instants of the past
    Backfill(backfill::Args),
    /// Removes a schedule
    #[command(after_help = DELETE_AFTER_HELP)]
    Delete {
        /// Which
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Runs the command.
pub(crate) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    match args.command {
        Command::Apply(args) => apply::run(args, global).await,
        Command::List => list::run(global).await,
        Command::Show(args) => show::show(args, global).await,
        Command::Next(args) => next::run(args, global).await,
        Command::History(args) => show::history(args, global).await,
        Command::Pause(args) => change::pause(args, global).await,
        Command::Resume(args) => change::resume(args, global).await,
        Command::Trigger(args) => change::trigger(args, global).await,
        Command::Backfill(args) => backfill::run(args, global).await,
        Command::Delete { id } => delete(&id, global).await,
    }
}

async fn delete(id: &str, global: &Global) -> Result<ExitCode, Error> {
    let id: ScheduleId = parse("id", id)?;
    let fleet = Fleet::find(global)?;
    if !ScheduleStore::new(fleet.broker().await?).delete(&id).await? {
        return Err(Error::NoSchedule(id));
    }
    match global.output {
        Format::Json => output::json(&json!({ "id": id, "deleted": true }))?,
        Format::Table => output::text(&format!("schedule {id} is deleted\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}

impl From<windlass_schedules::Invalid> for Error {
    fn from(invalid: windlass_schedules::Invalid) -> Self {
        Self::input(invalid.field, invalid.reason)
    }
}
