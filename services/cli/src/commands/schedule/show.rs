//! `windlass schedule show` and `history`.

use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_core::ScheduleId;
use windlass_core::schedule::{Cause, Cursor, Past, Schedule, What};
use windlass_scheduler::ScheduleStore;
use windlass_scheduler::store::Stored;

use super::list::value;
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

/// Of the next instants, so many are shown.
const NEXT: usize = 5;

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
    let schedule = &stored.schedule;
    let next: Vec<_> = match schedule.next(stored.cursor.as_ref(), now) {
        Some(first) => std::iter::once(first)
            .chain(schedule.spec.instants_between(first, Timestamp::MAX, NEXT - 1))
            .collect(),
        None => Vec::new(),
    };
    let mut shown = value(&stored, now);
    shown["next"] = json!(next);
    shown["edits"] = schedule
        .edits
        .iter()
        .map(|edit| json!({ "at": edit.at, "by": edit.by, "what": edit.what }))
        .collect();
    match global.output {
        Format::Json => output::json(&shown)?,
        Format::Table => output::text(&text(&shown, schedule, &next, now))?,
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
    let id = &stored.schedule.id;
    let cursor = stored.cursor.unwrap_or_else(|| Cursor::at(stored.schedule.created_at));
    match global.output {
        Format::Json => {
            let entries: Vec<_> = cursor.recent.iter().map(|past| entry(id, past)).collect();
            output::json(&json!({
                "id": id,
                "fires": cursor.fires,
                "misfires": cursor.misfires,
                "skipped": cursor.skipped,
                "waiting": cursor.waiting.iter().map(|waiting| waiting.instant).collect::<Vec<_>>(),
                "history": entries,
            }))?;
        }
        Format::Table => output::text(&table(id, &cursor))?,
    }
    Ok(ExitCode::SUCCESS)
}

const fn word(what: What) -> &'static str {
    match what {
        What::Fired(Cause::Rule) => "fired",
        What::Fired(Cause::Trigger) => "triggered",
        What::Fired(Cause::Backfill { .. }) => "backfilled",
        What::Missed => "missed",
        What::Skipped => "skipped",
    }
}

fn entry(id: &ScheduleId, past: &Past) -> Value {
    let job_id = if let What::Fired(cause) = past.what { Some(cause.job_id(id, past.instant)) } else { None };
    json!({ "instant": past.instant, "at": past.at, "what": word(past.what), "count": past.count, "job_id": job_id })
}

fn table(id: &ScheduleId, cursor: &Cursor) -> String {
    let mut table = Table::new(&["INSTANT", "WHAT", "AT", "JOB"]);
    for past in &cursor.recent {
        let what = match past.count {
            1 => word(past.what).to_owned(),
            count => format!("{} x {count}", word(past.what)),
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
    use super::*;

    #[test]
    fn the_history_names_the_jobs() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let id: ScheduleId = "a".parse().unwrap();
        let past = |what, count| Past { instant: at(60), at: at(61), what, count };
        let fired = entry(&id, &past(What::Fired(Cause::Rule), 1));
        assert_eq!(fired["job_id"], json!(windlass::JobId::of_fire(&id, at(60))));
        let cursor = Cursor {
            recent: vec![past(What::Missed, 7), past(What::Fired(Cause::Trigger), 1)],
            ..Cursor::at(at(0))
        };
        let text = table(&id, &cursor);
        assert!(text.contains("missed x 7") && text.contains("triggered"), "{text}");
    }
}
