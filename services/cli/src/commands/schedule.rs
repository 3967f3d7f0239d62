//! `windlass schedule`.

mod apply;
mod list;

use std::process::ExitCode;

use serde_json::json;
use windlass_core::ScheduleId;
use windlass_scheduler::ScheduleStore;

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
  windlass schedule apply -f schedules.toml
  windlass schedule list";

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
