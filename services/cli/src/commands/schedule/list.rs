//! `windlass schedule list`.

use std::process::ExitCode;

use jiff::Timestamp;
use windlass_core::schedule::{Rule, Spec};
use windlass_schedules::describe::duration;
use windlass_schedules::store::Listing;
use windlass_schedules::{ScheduleStore, view};

use crate::commands::Error;
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::{Table, relative};
use crate::output::{self, Format};

pub(super) async fn run(global: &Global) -> Result<ExitCode, Error> {
    let fleet = Fleet::find(global)?;
    let listing = ScheduleStore::new(fleet.broker().await?).list().await?;
    match global.output {
        Format::Json => output::json(&view::listing(&listing, Timestamp::now()))?,
        Format::Table => output::text(&table(&listing, Timestamp::now()))?,
    }
    Ok(ExitCode::SUCCESS)
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
    use windlass_schedules::file::{Format as FileFormat, ReadFile, read};
    use windlass_schedules::store::Stored;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn stored(text: &str) -> Stored {
        let no_files: ReadFile<'_> = &|_| Err(std::io::ErrorKind::NotFound.into());
        let schedule = read(text, FileFormat::Json, at(100), no_files).unwrap().remove(0).schedule;
        Stored { schedule, revision: 3, cursor: None }
    }

    #[test]
    fn the_table_says_what_comes_next() {
        let cron = stored(r#"{"id": "c", "kind": "k", "cron": "0 2 * * *", "zone": "Europe/Berlin"}"#);
        let paused = stored(r#"{"id": "p", "kind": "k", "every": "1m", "paused": true}"#);
        let due = stored(r#"{"id": "d", "kind": "k", "every": "1m"}"#);
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
