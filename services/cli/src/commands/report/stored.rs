//! `windlass report list` and `show`: reports that the monitor has made by itself.

use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Timestamp;
use windlass_monitor::report::What;

use super::super::Error;
use super::{Form, write};
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::{Table, relative};
use crate::output::{self, Format};

const LIST_HELP: &str = "\
Examples:
  windlass report list
  windlass report list --what weekly --limit 4 -o json

`monitor.reports` of the monitor's configuration says which are made, when, and how many are kept.";

const SHOW_HELP: &str = "\
Examples:
  windlass report show daily
  windlass report show daily-20260131T060000Z --format html --file day.html
  windlass report show handoff -o json";

/// The reports that the monitor has made by itself
#[derive(Debug, clap::Args)]
#[command(after_help = LIST_HELP)]
pub(super) struct ListArgs {
    /// Only these: daily, weekly, failures, handoff or schedules
    #[arg(long, value_name = "WHAT")]
    what: Option<What>,
    /// So many at most: 1 to 500
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: u32,
}

/// A report that the monitor has made by itself
#[derive(Debug, clap::Args)]
#[command(after_help = SHOW_HELP)]
pub(super) struct ShowArgs {
    /// Its id, as `windlass report list` tells it; or daily, weekly, failures, handoff or schedules for the latest of these
    #[arg(value_name = "ID")]
    id: String,
    /// How it is written; `-o json` writes JSON too
    #[arg(long, value_enum, default_value_t = Form::Markdown)]
    format: Form,
    /// Written to this file; without it, to standard output
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Runs `list`.
pub(super) async fn list(args: ListArgs, global: &Global) -> Result<ExitCode, Error> {
    let fleet = Fleet::find(global)?;
    let monitor = fleet.monitor().await?.ok_or(Error::NoMonitor)?;
    let list = monitor.stored_reports(args.what, args.limit).await?;
    match global.output {
        Format::Json => output::json(&list)?,
        Format::Table => {
            let now = Timestamp::now();
            let mut table = Table::new(&["ID", "UP TO", "MADE", "SENT"]);
            for report in list.reports {
                let sent = report.delivery.unwrap_or_else(|| "nowhere".to_owned());
                table.row([report.id, relative(report.due_at, now), relative(report.made_at, now), sent]);
            }
            output::text(&table.render())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `show`.
pub(super) async fn show(args: ShowArgs, global: &Global) -> Result<ExitCode, Error> {
    let fleet = Fleet::find(global)?;
    let monitor = fleet.monitor().await?.ok_or(Error::NoMonitor)?;
    let id = match args.id.parse::<What>() {
        Ok(what) => {
            let latest = monitor.stored_reports(Some(what), 1).await?.reports.pop();
            latest.ok_or_else(|| Error::input("id", format!("is {what}: none of these is kept")))?.id
        }
        Err(_) => args.id,
    };
    write(&monitor.stored_report(&id).await?, args.format, args.file, global)?;
    Ok(ExitCode::SUCCESS)
}
