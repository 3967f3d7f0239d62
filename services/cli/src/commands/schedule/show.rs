//! `windlass schedule show` and `history`.

use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::Value;
use windlass_core::ScheduleId;
use windlass_core::schedule::{Cursor, Schedule, What};
use windlass_schedules::store::Stored;
use windlass_schedules::{ScheduleStore, view};

use crate::commands::Error;
use crate::commands::arguments::parse;
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::{Table, instant, printable, relative};
use crate::output::{self, Format};

const SHOW_AFTER_HELP: &str = "\
Examples:
  windlass schedule show nightly-report
  windlass schedule show nightly-report -o json

Its definition, how far it has come, its next instants, and who changed what.
Exit codes: 0 shown; 1 failed; 2 the id is none; 4 no such schedule.";

const HISTORY_AFTER_HELP: &str = "\
Examples:
  windlass schedule history nightly-report
  windlass schedule history nightly-report -o json

What became of its last instants: the job of each that fired, those that were missed or passed over. The last 32 entries
are kept; those that are missed or passed over in a row are one entry.
Exit codes: 0 shown; 1 failed; 2 the id is none; 4 no such schedule.";

/// Which schedule.
#[derive(Debug, clap::Args)]
#[command(after_help = SHOW_AFTER_HELP)]
pub(super) struct ShowArgs {
    /// Which
    #[arg(value_name = "ID")]
    id: String,
}

/// Which schedule.
#[derive(Debug, clap::Args)]
#[command(after_help = HISTORY_AFTER_HELP)]
pub(super) struct HistoryArgs {
    /// Which
    #[arg(value_name = "ID")]
    id: String,
}

async fn find(id: &str, global: &Global) -> Result<Stored, Error> {
    let id: ScheduleId = parse("id", id)?;
    let fleet = Fleet::find(global)?;
    let stored = ScheduleStore::new(fleet.broker().await?).get(&id).await?;
    stored.ok_or(Error::NoSchedule(id))
}

pub(super) async fn show(args: ShowArgs, global: &Global) -> Result<ExitCode, Error> {
    let stored = find(&args.id, global).await?;
    let now = Timestamp::now();
    let shown = view::whole(&stored, now);
    match global.output {
        Format::Json => output::json(&shown)?,
        Format::Table => {
            let next = stored.schedule.upcoming(stored.cursor.as_ref(), now, Timestamp::MIN, view::NEXT);
            output::text(&text(&shown, &stored.schedule, &next.instants, now))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn text(shown: &Value, schedule: &Schedule<bytes::Bytes>, next: &[Timestamp], now: Timestamp) -> String {
    let mut table = Table::new(&["FIELD", "VALUE"]);
    for (field, value) in shown.as_object().into_iter().flatten() {
        let plain = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            _ if field == "edits" || field == "next" => continue,
            other => other.to_string(),
        };
        table.row([field.clone(), printable(&plain)]);
    }
    for at in next {
        table.row(["next".to_owned(), format!("{} ({})", instant(*at), relative(*at, now))]);
    }
    for edit in &schedule.edits {
        table.row(["edit".to_owned(), printable(&format!("{} {}: {}", edit.at, edit.by, edit.what))]);
    }
    table.render()
}

pub(super) async fn history(args: HistoryArgs, global: &Global) -> Result<ExitCode, Error> {
    let stored = find(&args.id, global).await?;
    match global.output {
        Format::Json => output::json(&view::history(&stored))?,
        Format::Table => {
            let nothing = Cursor::at(stored.schedule.created_at);
            output::text(&table(&stored.schedule.id, stored.cursor.as_ref().unwrap_or(&nothing)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(id: &ScheduleId, cursor: &Cursor) -> String {
    let mut table = Table::new(&["INSTANT", "WHAT", "AT", "JOB"]);
    for past in &cursor.recent {
        let what = match past.count {
            1 => view::word(past.what).to_owned(),
            count => format!("{} x {count}", view::word(past.what)),
        };
        let job = if let What::Fired(cause) = past.what {
            cause.job_id(id, past.instant).to_string()
        } else {
            String::new()
        };
        table.row([past.instant.to_string(), what, instant(past.at), job]);
    }
    for waiting in &cursor.waiting {
        table.row([waiting.instant.to_string(), "waits".to_owned(), String::new(), String::new()]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use windlass_core::schedule::{Cause, Past};

    use super::*;

    #[test]
    fn the_history_names_the_jobs() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let id: ScheduleId = "a".parse().unwrap();
        let past = |what, count| Past { instant: at(60), at: at(61), what, count };
        let cursor = Cursor {
            recent: vec![past(What::Missed, 7), past(What::Fired(Cause::Trigger), 1)],
            ..Cursor::at(at(0))
        };
        let text = table(&id, &cursor);
        let job = windlass::JobId::of_trigger(&id, at(60)).to_string();
        assert!(text.contains("missed x 7") && text.contains("triggered") && text.contains(&job), "{text}");
    }
}
