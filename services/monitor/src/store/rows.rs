//! Events as rows.

use std::str::FromStr;

use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::{Sqlite, SqliteRow};
use windlass_core::{Event, Form, JobError, Outcome};

use super::Error;

/// The columns of `events`, in the order in which [`bind_event`] binds them.
pub(super) const EVENT_COLUMNS: &str = "queue, job_id, attempt, transition, kind, at_ns, worker, outcome, \
     error_code, error_message, error_terminal, result, result_content_type, due_at_ns, accepted_at_ns, \
     started_at_ns, priority, traceparent, note, result_form, alone, claimed_id";

/// Instants outside of the years 1678 to 2262 are stored as the nearest that fits.
pub(super) fn to_ns(at: Timestamp) -> i64 {
    let nanos = at.as_nanosecond();
    i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
}

pub(super) fn from_ns(what: &'static str, nanos: i64) -> Result<Timestamp, Error> {
    Timestamp::from_nanosecond(i128::from(nanos)).map_err(|_| Error::Row { what, text: nanos.to_string() })
}

pub(super) fn word<T: FromStr>(what: &'static str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Row { what, text: text.to_owned() })
}

/// The three columns of an error.
pub(super) fn error_columns(error: Option<&JobError>) -> (Option<&str>, Option<&str>, Option<bool>) {
    (error.map(|e| e.code.as_str()), error.map(|e| e.message.as_str()), error.map(|e| e.terminal))
}

pub(super) fn error_of(row: &SqliteRow) -> Result<Option<JobError>, sqlx::Error> {
    let Some(code) = row.try_get("error_code")? else { return Ok(None) };
    let message: Option<String> = row.try_get("error_message")?;
    let terminal: Option<bool> = row.try_get("error_terminal")?;
    Ok(Some(JobError { code, message: message.unwrap_or_default(), terminal: terminal.unwrap_or_default() }))
}

pub(super) fn bind_event(mut row: sqlx::query_builder::Separated<'_, Sqlite, &'static str>, event: &Event) {
    let (code, message, terminal) = error_columns(event.error.as_ref());
    row.push_bind(event.queue.as_str())
        .push_bind(event.job_id.to_string())
        .push_bind(event.attempt)
        .push_bind(event.transition.as_str())
        .push_bind(event.kind.as_ref().map(windlass_core::Kind::as_str))
        .push_bind(to_ns(event.at))
        .push_bind(event.worker.as_str())
        .push_bind(event.outcome.map(Outcome::as_str))
        .push_bind(code)
        .push_bind(message)
        .push_bind(terminal)
        .push_bind(event.result.as_deref())
        .push_bind(event.result_content_type.as_str())
        .push_bind(event.due_at.map(to_ns))
        .push_bind(event.accepted_at.map(to_ns))
        .push_bind(event.started_at.map(to_ns))
        .push_bind(event.priority.as_str())
        .push_bind(event.traceparent.as_str())
        .push_bind(event.note.as_str())
        .push_bind(form_column(&event.result_form))
        .push_bind(event.alone)
        .push_bind(event.claimed_id.map(|id| id.to_string()));
}

pub(super) fn event_of(row: &SqliteRow) -> Result<Event, Error> {
    let column = |source| Error::Statement("tell an event", source);
    let text = |name: &str| row.try_get::<String, _>(name).map_err(column);
    let instant = |name: &'static str| {
        let nanos: Option<i64> = row.try_get(name).map_err(column)?;
        nanos.map(|nanos| from_ns(name, nanos)).transpose()
    };
    let kind: Option<String> = row.try_get("kind").map_err(column)?;
    let claimed_id: Option<String> = row.try_get("claimed_id").map_err(column)?;
    let outcome: Option<String> = row.try_get("outcome").map_err(column)?;
    Ok(Event {
        job_id: word("job_id", &text("job_id")?)?,
        queue: word("queue", &text("queue")?)?,
        kind: kind.map(|kind| word("kind", &kind)).transpose()?,
        transition: word("transition", &text("transition")?)?,
        attempt: row.try_get("attempt").map_err(column)?,
        at: from_ns("at_ns", row.try_get("at_ns").map_err(column)?)?,
        worker: text("worker")?,
        outcome: outcome.map(Outcome::from),
        error: error_of(row).map_err(column)?,
        result: row.try_get("result").map_err(column)?,
        result_content_type: text("result_content_type")?,
        result_form: form_of(row.try_get("result_form").map_err(column)?)?,
        due_at: instant("due_at_ns")?,
        accepted_at: instant("accepted_at_ns")?,
        priority: word("priority", &text("priority")?)?,
        traceparent: text("traceparent")?,
        note: text("note")?,
        started_at: instant("started_at_ns")?,
        alone: row.try_get("alone").map_err(column)?,
        claimed_id: claimed_id.map(|id| word("claimed_id", &id)).transpose()?,
        other_id: None,
    })
}

/// None where the result is plain.
fn form_column(form: &Form) -> Option<String> {
    (!form.is_plain()).then(|| serde_json::to_string(form).unwrap_or_default())
}

fn form_of(text: Option<String>) -> Result<Form, Error> {
    let Some(text) = text else { return Ok(Form::default()) };
    serde_json::from_str(&text).map_err(|_| Error::Row { what: "result_form", text })
}
