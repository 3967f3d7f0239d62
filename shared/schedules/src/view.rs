//! What is shown of a schedule: the same over HTTP and with `-o json`.

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_core::ScheduleId;
use windlass_core::schedule::{Cause, Cursor, Past, Upcoming, What};

use crate::describe::describe;
use crate::store::{Listing, Stored};

/// Of the next instants, so many are shown with a schedule.
pub const NEXT: usize = 5;
/// Of the next instants, so many may be asked for.
pub const MOST_NEXT: usize = 100_000;

/// Of what became of its instants, so many are shown where there are many schedules.
pub const RECENT: usize = 10;

/// With the words of the file, and how far it has come.
pub fn value(stored: &Stored, now: Timestamp) -> Value {
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
    let recent = cursor.map_or(&[][..], |cursor| cursor.recent.as_slice());
    let fired = recent.iter().rev().find(|past| matches!(past.what, What::Fired(_)));
    shown["last_fire"] = fired.map_or(Value::Null, |past| entry(&schedule.id, past));
    let last = &recent[recent.len().saturating_sub(RECENT)..];
    shown["recent"] = last.iter().map(|past| entry(&schedule.id, past)).collect();
    shown["revision"] = json!(stored.revision);
    shown
}

/// Also its next instants, those that are due among them, and who changed it.
pub fn whole(stored: &Stored, now: Timestamp) -> Value {
    let schedule = &stored.schedule;
    let mut shown = value(stored, now);
    let next = schedule.upcoming(stored.cursor.as_ref(), now, Timestamp::MIN, NEXT);
    shown["next"] = json!(next.instants);
    shown["edits"] = schedule
        .edits
        .iter()
        .map(|edit| json!({ "at": edit.at, "by": edit.by, "what": edit.what }))
        .collect();
    shown
}

/// All of them, and the entries that are none.
pub fn listing(listing: &Listing, now: Timestamp) -> Value {
    let schedules: Vec<_> = listing.schedules.iter().map(|stored| value(stored, now)).collect();
    let malformed: Vec<_> = listing
        .malformed
        .iter()
        .map(|(id, error)| json!({ "id": id, "field": error.field, "reason": error.reason }))
        .collect();
    json!({ "schedules": schedules, "malformed": malformed })
}

/// The next instants of a schedule: when each fires, and why there are no more.
pub fn upcoming(stored: &Stored, upcoming: &Upcoming) -> Value {
    let schedule = &stored.schedule;
    let instants: Vec<_> = upcoming
        .instants
        .iter()
        .map(|instant| json!({ "instant": instant, "fires_at": schedule.fires_at(*instant) }))
        .collect();
    json!({
        "id": schedule.id,
        "instants": instants,
        "ends": upcoming.ends.as_ref().map(windlass_core::schedule::Ends::as_str),
        "note": upcoming.ends.as_ref().map(ToString::to_string),
    })
}

/// What became of its last instants.
pub fn history(stored: &Stored) -> Value {
    let id = &stored.schedule.id;
    let nothing = Cursor::at(stored.schedule.created_at);
    let cursor = stored.cursor.as_ref().unwrap_or(&nothing);
    let entries: Vec<_> = cursor.recent.iter().map(|past| entry(id, past)).collect();
    json!({
        "id": id,
        "fires": cursor.fires,
        "misfires": cursor.misfires,
        "skipped": cursor.skipped,
        "waiting": cursor.waiting.iter().map(|waiting| waiting.instant).collect::<Vec<_>>(),
        "history": entries,
    })
}

/// What became of an instant, in a word.
pub const fn word(what: What) -> &'static str {
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

/// A pause as it stands after a change.
pub fn pause(stored: &Stored) -> Value {
    let schedule = &stored.schedule;
    let pause = schedule.pause.as_ref();
    json!({
        "id": schedule.id,
        "paused": pause.is_some(),
        "pause_note": pause.map(|pause| pause.note.as_str()).filter(|note| !note.is_empty()),
        "paused_until": pause.and_then(|pause| pause.until),
        "revision": stored.revision,
    })
}

#[cfg(test)]
mod tests {
    use windlass_core::JobId;

    use super::*;
    use crate::file::{Format, ReadFile, read};
    use crate::sample::at;

    fn stored(text: &str, cursor: Option<Cursor>) -> Stored {
        let no_files: ReadFile<'_> = &|_| Err(std::io::ErrorKind::NotFound.into());
        let schedule = read(text, Format::Json, at(100), no_files).unwrap().remove(0).schedule;
        Stored { schedule, revision: 3, cursor }
    }

    #[test]
    fn a_schedule_is_shown_as_its_file_says_it() {
        let text =
            r#"{"id": "a", "kind": "k", "payload": {"n": 1}, "every": "90s", "attempt_timeout": "10m"}"#;
        let cursor = Cursor { misfires: 2, ..Cursor::at(at(180)) };
        let stored = stored(text, Some(cursor));
        let shown = value(&stored, at(181));
        assert_eq!((&shown["payload"], &shown["misfires"]), (&json!({"n": 1}), &json!(2)));
        assert_eq!((&shown["next_at"], &shown["last_at"]), (&json!(at(270)), &json!(at(180))));
        // What is shown can be applied again.
        for (field, seconds) in [("every", 90), ("attempt_timeout", 600)] {
            let parsed: jiff::SignedDuration = shown[field].as_str().unwrap().parse().unwrap();
            assert_eq!(parsed.as_secs(), seconds, "{field}");
        }
        assert_eq!((&shown["cron"], &shown["zone"]), (&Value::Null, &Value::Null));
        assert_eq!(whole(&stored, at(275))["next"], json!([270, 360, 450, 540, 630].map(at)));
    }

    #[test]
    fn the_history_names_the_jobs() {
        let past = |what, count| Past { instant: at(60), at: at(61), what, count };
        let recent = vec![past(What::Missed, 7), past(What::Fired(Cause::Rule), 1)];
        let cursor = Cursor { recent, ..Cursor::at(at(0)) };
        let stored = stored(r#"{"id": "a", "kind": "k", "every": "1m"}"#, Some(cursor));
        let shown = history(&stored);
        let job = JobId::of_fire(&"a".parse().unwrap(), at(60));
        assert_eq!((&shown["history"][1]["job_id"], &shown["history"][0]["count"]), (&json!(job), &json!(7)));
        assert_eq!(shown["history"][0]["job_id"], Value::Null);
        let row = value(&stored, at(61));
        assert_eq!((&row["last_fire"], &row["recent"]), (&shown["history"][1], &shown["history"]));
    }
}
