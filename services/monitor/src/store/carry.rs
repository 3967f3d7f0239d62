//! What earlier versions stored: an event a row. It is joined to the histories that are stored now, some at a time, and
//! removed as it goes; a program that is stopped meanwhile goes on when it starts again.

use windlass_core::labels::Labels;
use windlass_core::{Event, Form, Outcome};

use super::database::Pooled;
use super::rows::{error_of, from_ns, word};
use super::sql::{Row, Sql};
use super::{Error, project};

const CARRY: &str = "carry earlier events over";
/// Events in one transaction, about.
const EVENTS: i64 = 5000;

/// Carries over what is left of it. There was no Postgres then.
pub(super) async fn over(writer: &mut Pooled) -> Result<(), Error> {
    // In the order in which they were heard, so that the jobs keep theirs.
    const NEXT: &str =
        "SELECT * FROM old_events WHERE rowid IN (SELECT rowid FROM old_events ORDER BY rowid LIMIT $1)";
    const REMOVE: &str =
        "DELETE FROM old_events WHERE rowid IN (SELECT rowid FROM old_events ORDER BY rowid LIMIT $1)";
    const EXISTS: &str = "SELECT name FROM sqlite_schema WHERE name = 'old_events'";
    let failed = |source| Error::Statement(CARRY, source);
    if !matches!(writer, Pooled::Sqlite(_)) {
        return Ok(());
    }
    let exists: Option<(String,)> = Sql::new(EXISTS).optional(&mut writer.on()).await.map_err(failed)?;
    if exists.is_none() {
        return Ok(());
    }
    loop {
        let mut transaction = writer.begin().await.map_err(failed)?;
        let on = &mut transaction.on();
        let rows = Sql::new(NEXT).bind(EVENTS).rows(on).await.map_err(failed)?;
        if rows.is_empty() {
            Sql::new("DROP TABLE old_events").execute(on).await.map_err(failed)?;
            return transaction.commit().await.map_err(failed);
        }
        let events = rows.iter().map(event_of).collect::<Result<_, _>>()?;
        project::join(on, events).await?;
        Sql::new(REMOVE).bind(EVENTS).execute(on).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
    }
}

fn event_of(row: &Row) -> Result<Event, Error> {
    let column = |source| Error::Statement("tell an event", source);
    let text = |name: &str| row.get::<String>(name).map_err(column);
    let instant = |name: &'static str| {
        let nanos: Option<i64> = row.get(name).map_err(column)?;
        nanos.map(|nanos| from_ns(name, nanos)).transpose()
    };
    let kind: Option<String> = row.get("kind").map_err(column)?;
    let claimed_id: Option<String> = row.get("claimed_id").map_err(column)?;
    let outcome: Option<String> = row.get("outcome").map_err(column)?;
    Ok(Event {
        job_id: word("job_id", &text("job_id")?)?,
        queue: word("queue", &text("queue")?)?,
        kind: kind.map(|kind| word("kind", &kind)).transpose()?,
        transition: word("transition", &text("transition")?)?,
        attempt: u32::try_from(row.get::<i64>("attempt").map_err(column)?).unwrap_or(u32::MAX),
        at: from_ns("at_ns", row.get("at_ns").map_err(column)?)?,
        worker: text("worker")?,
        outcome: outcome.map(Outcome::from),
        error: error_of(row).map_err(column)?,
        result: row.get("result").map_err(column)?,
        result_content_type: text("result_content_type")?,
        result_form: form_of(row.get("result_form").map_err(column)?)?,
        due_at: instant("due_at_ns")?,
        accepted_at: instant("accepted_at_ns")?,
        priority: word("priority", &text("priority")?)?,
        traceparent: text("traceparent")?,
        note: text("note")?,
        started_at: instant("started_at_ns")?,
        alone: row.get("alone").map_err(column)?,
        claimed_id: claimed_id.map(|id| word("claimed_id", &id)).transpose()?,
        key: None,
        tenant: None,
        // Younger than these rows.
        other_id: None,
        relations: None,
        labels: Labels::default(),
    })
}

fn form_of(text: Option<String>) -> Result<Form, Error> {
    let Some(text) = text else { return Ok(Form::default()) };
    serde_json::from_str(&text).map_err(|_| Error::Row { what: "result_form", text })
}
