//! `windlass schedule list`.

use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_core::schedule::{Rule, Spec};
use windlass_scheduler::ScheduleStore;
use windlass_scheduler::describe::{describe, duration};
use windlass_scheduler::store::{Listing, Stored};

use crate::commands::Error;
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::{Table, relative};
use crate::output::{self, Format};

pub(super) async fn run(global: &Global) -> Result<ExitCode, Error> {
    let fleet = Fleet::find(global)?;
    let listing = ScheduleStore::new(fleet.broker().await?).list().await?;
    match global.output {
        Format::Json => output::json(&values(&listing, Timestamp::now()))?,
        Format::Table => output::text(&table(&listing, Timestamp::now()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn values(listing: &Listing, now: Timestamp) -> Value {
    let schedules: Vec<_> = listing.schedules.iter().map(|stored| value(stored, now)).collect();
    let malformed: Vec<_> = listing
        .malformed
        .iter()
        .map(|(id, error)| json!({ "id": id, "field": error.field, "reason": error.reason }))
        .collect();
    json!({ "schedules": schedules, "malformed": malformed })
}

/// With the words of the file, and how far it has come.
pub(super) fn value(stored: &Stored, now: Timestamp) -> Value {
    let (schedule, cursor) = (&stored.schedule, stored.cursor.as_ref());
    let mut shown = Value::Object(describe(schedule));
    let pause = schedule.pause.as_ref();
    shown["paused"] = json!(schedule.is_paused(now));
    shown["pause_note"] = json!(pause.map(|pause| &pause.note).filter(|note| !note.is_empty()));
    shown["paused_until"] = json!(pause.and_then(|pause| pause.until));
    shown["created_at"] = json!(schedule.created_at);
    let next = schedule.next(cursor, now);
    shown["next_at"] = json!(next);
    shown["fires_at"] = json!(next.map(|next| schedule.fires_at(next)));
    shown["last_at"] = json!(cursor.map(|cursor| cursor.last_instant));
    shown["fires"] = json!(cursor.map_or(0, |cursor| cursor.fires));
    shown["misfires"] = json!(cursor.map_or(0, |cursor| cursor.misfires));
    shown["skipped"] = json!(cursor.map_or(0, |cursor| cursor.skipped));
    shown["revision"] = json!(stored.revision);
    shown
}

fn table(listing: &Listing, now: Timestamp) -> String {
    let headings = ["ID", "QUEUE", "KIND", "RULE", "NEXT", "LAST", "MISFIRES"];
    let mut table = Table::new(&headings).right([6]);
    for stored in &listing.schedules {
        let schedule = &stored.schedule;
        let next = match schedule.next(stored.cursor.as_ref(), now) {
            _ if schedule.is_paused(now) => "paused".to_owned(),
            Some(next) if next <= now => "now".to_owned(),
            Some(next) => relative(next, now),
            None => String::new(),
        };
        table.row([
            schedule.id.to_string(),
            schedule.queue.to_string(),
            schedule.task.kind.to_string(),
            rule(&schedule.spec),
            next,
            stored.cursor.as_ref().map(|c| relative(c.last_instant, now)).unwrap_or_default(),
            stored.cursor.as_ref().map_or(0, |c| c.misfires).to_string(),
        ]);
    }
    for (id, error) in &listing.malformed {
        let reason = format!("malformed: {error}");
        table.row([
            id.clone(),
            String::new(),
            String::new(),
            reason,
            String::new(),
            String::new(),
            String::new(),
        ]);
    }
    table.render()
}

fn rule(spec: &Spec) -> String {
    let rules = spec.rules().iter().map(|rule| match rule {
        Rule::Cron(cron) => format!("{} {}", cron.expression(), cron.zone().name()),
        Rule::Interval(interval) => format!("every {}", duration(interval.period())),
        Rule::Once(at) => format!("at {at}"),
    });
    rules.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use windlass_core::schedule::Cursor;
    use windlass_scheduler::file::{Format as FileFormat, ReadFile, read};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn stored(text: &str, cursor: Option<Cursor>) -> Stored {
        let no_files: ReadFile<'_> = &|_| Err(std::io::ErrorKind::NotFound.into());
        let schedule = read(text, FileFormat::Json, at(100), no_files).unwrap().remove(0).schedule;
        Stored { schedule, revision: 3, cursor }
    }

    #[test]
    fn a_schedule_is_shown_as_its_file_says_it() {
        let text =
            r#"{"id": "a", "kind": "k", "payload": {"n": 1}, "every": "90s", "attempt_timeout": "10m"}"#;
        let cursor = Cursor { misfires: 2, ..Cursor::at(at(180)) };
        let shown = value(&stored(text, Some(cursor)), at(181));
        assert_eq!((&shown["payload"], &shown["misfires"]), (&json!({"n": 1}), &json!(2)));
        assert_eq!((&shown["next_at"], &shown["last_at"]), (&json!(at(270)), &json!(at(180))));
        // What is shown can be applied again.
        for (field, seconds) in [("every", 90), ("attempt_timeout", 600)] {
            let parsed: jiff::SignedDuration = shown[field].as_str().unwrap().parse().unwrap();
            assert_eq!(parsed.as_secs(), seconds, "{field}");
        }
        assert_eq!((&shown["cron"], &shown["zone"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn the_table_says_what_comes_next() {
        let cron = stored(r#"{"id": "c", "kind": "k", "cron": "0 2 * * *", "zone": "Europe/Berlin"}"#, None);
        let paused = stored(r#"{"id": "p", "kind": "k", "every": "1m", "paused": true}"#, None);
        let due = stored(r#"{"id": "d", "kind": "k", "every": "1m"}"#, None);
        let error = windlass_proto::Error::new("id", "is wrong");
        let listing =
            Listing { schedules: vec![cron, paused, due], malformed: vec![("x".to_owned(), error)] };
        let text = table(&listing, at(130));
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].contains("0 2 * * * Europe/Berlin  in "), "{text}");
        assert!(lines[2].contains("  paused  "), "{text}");
        assert!(lines[3].contains("  now "), "{text}");
        assert!(lines[4].contains("malformed: id: is wrong"), "{text}");
    }
}
