//! What earlier versions stored: an event a row. It is joined to the histories that are stored now, some at a time, and
//! removed as it goes; a program that is stopped meanwhile goes on when it starts again.

use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Row as _, SqliteConnection};
use windlass_core::{Event, Form, Outcome};

use super::rows::{error_of, from_ns, word};
use super::{Error, project};

const CARRY: &str = "carry earlier events over";
/// Events in one transaction, about.
const EVENTS: i64 = 5000;

/// Carries over what is left of it.
pub(super) async fn over(connection: &mut SqliteConnection) -> Result<(), Error> {
    // In the order in which they were heard, so that the jobs keep theirs.
    const NEXT: &str =
        "SELECT * FROM old_events WHERE rowid IN (SELECT rowid FROM old_events ORDER BY rowid LIMIT ?)";
    const REMOVE: &str =
        "DELETE FROM old_events WHERE rowid IN (SELECT rowid FROM old_events ORDER BY rowid LIMIT ?)";
    let failed = |source| Error::Statement(CARRY, source);
    let exists: Option<i64> = sqlx::query_scalar("SELECT 1 FROM sqlite_schema WHERE name = 'old_events'")
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    if exists.is_none() {
        return Ok(());
    }
    loop {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let rows = sqlx::query(NEXT).bind(EVENTS).fetch_all(&mut *transaction).await.map_err(failed)?;
        if rows.is_empty() {
            sqlx::query("DROP TABLE old_events").execute(&mut *transaction).await.map_err(failed)?;
            return transaction.commit().await.map_err(failed);
        }
        let events = rows.iter().map(event_of).collect::<Result<_, _>>()?;
        project::join(&mut transaction, events).await?;
        sqlx::query(REMOVE).bind(EVENTS).execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
    }
}

fn event_of(row: &SqliteRow) -> Result<Event, Error> {
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
        key: None,
        tenant: None,
        // Younger than these rows.
        other_id: None,
    })
}

fn form_of(text: Option<String>) -> Result<Form, Error> {
    let Some(text) = text else { return Ok(Form::default()) };
    serde_json::from_str(&text).map_err(|_| Error::Row { what: "result_form", text })
}
