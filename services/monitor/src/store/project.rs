//! Events into tables.
//!
//! A batch is one transaction: the kept events of its jobs are loaded, the new ones join them (`core::history`: in any
//! order, any number of times, with the same end), and what changed is stored with the rows that follow from it. The
//! same messages again change nothing.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::sqlite::Sqlite;
use sqlx::{Connection as _, QueryBuilder, SqliteConnection};
use windlass_core::history::{AttemptView, History, JobView};
use windlass_core::told::{LogLine, Progress};
use windlass_core::{Event, JobId, QueueName};

use super::rows::{EVENT_COLUMNS, bind_event, error_columns, event_of, to_ns};
use super::sequences::{load_ranges, store_ranges};
use super::{Error, Store};

/// Rows in one statement: some 20 columns each stay far below SQLite's 32,766 parameters.
const ROWS: usize = 256;
const STORE: &str = "store a batch";

/// A message of EVENTS.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Message {
    /// Of the message in the stream.
    pub sequence: u64,
    /// What could be read of it.
    pub events: Vec<Event>,
    /// What running handlers told.
    pub progress: Vec<Progress>,
    /// Lines that they logged.
    pub lines: Vec<LogLine>,
}

/// What a batch changed.
#[derive(Debug, Default)]
pub struct Applied {
    /// Events that told something new.
    pub changed: usize,
    /// The event by which a job reached its end in this batch, for each that did.
    pub ended: Vec<Event>,
}

type Key = (QueueName, JobId);

struct Job {
    history: History,
    before: Option<JobView>,
    /// What was known before.
    known: History,
    changed: usize,
}

// === impl Store ===

impl Store {
    /// Stores what these messages tell and that they were processed, all or nothing.
    pub async fn apply(&self, messages: &[Message]) -> Result<Applied, Error> {
        let mut writer = self.writer(STORE).await?;
        let outcome = apply(&mut writer, messages).await;
        self.give_back(writer, outcome).await
    }
}

async fn apply(writer: &mut SqliteConnection, messages: &[Message]) -> Result<Applied, Error> {
    let write = |source| Error::Statement(STORE, source);
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(write)?;
    let mut order = Vec::new();
    let mut jobs = load(&mut transaction, messages, &mut order).await?;
    for event in messages.iter().flat_map(|message| &message.events) {
        if let Some(job) = jobs.get_mut(&(event.queue.clone(), event.job_id))
            && job.history.record(event.clone())
        {
            job.changed += 1;
        }
    }
    let jobs: Vec<Job> =
        order.iter().filter_map(|key| jobs.remove(key)).filter(|job| job.changed > 0).collect();
    let applied = store(&mut transaction, &jobs).await.map_err(write)?;
    super::told::store(&mut transaction, messages).await.map_err(write)?;
    let mut ranges = load_ranges(&mut transaction).await?;
    for message in messages {
        ranges.insert(message.sequence..=message.sequence);
    }
    store_ranges(&mut transaction, &ranges).await.map_err(write)?;
    transaction.commit().await.map_err(write)?;
    Ok(applied)
}

/// The histories of the jobs that these messages name, as far as they are known; `order` is that of their first event.
async fn load(
    connection: &mut SqliteConnection,
    messages: &[Message],
    order: &mut Vec<Key>,
) -> Result<HashMap<Key, Job>, Error> {
    const SQL: &str = "SELECT events.* FROM json_each(?) AS key CROSS JOIN events \
         WHERE events.queue = key.value ->> 0 AND events.job_id = key.value ->> 1";
    let mut histories = HashMap::<Key, History>::new();
    for event in messages.iter().flat_map(|message| &message.events) {
        let key = (event.queue.clone(), event.job_id);
        histories.entry(key).or_insert_with_key(|key| {
            order.push(key.clone());
            History::default()
        });
    }
    let keys = serde_json::to_string(&order).unwrap_or_default();
    let rows = sqlx::query(SQL)
        .bind(keys)
        .fetch_all(connection)
        .await
        .map_err(|source| Error::Statement("load the events of a batch", source))?;
    for row in &rows {
        let event = event_of(row)?;
        histories.entry((event.queue.clone(), event.job_id)).or_default().record(event);
    }
    let job = |(key, history): (Key, History)| {
        let before = history.view();
        (key, Job { known: history.clone(), history, before, changed: 0 })
    };
    Ok(histories.into_iter().map(job).collect())
}

async fn store(connection: &mut SqliteConnection, jobs: &[Job]) -> Result<Applied, sqlx::Error> {
    let mut applied = Applied::default();
    let mut views = Vec::new();
    let mut attempts = Vec::new();
    let mut events = Vec::new();
    for job in jobs {
        applied.changed += job.changed;
        // As kept, should two tellings of one transition have come in this batch.
        events.extend(job.history.events().filter(|event| !job.known.has(event)));
        let Some(after) = job.history.view() else { continue };
        let had_ended = job.before.as_ref().is_some_and(|before| before.state.is_terminal());
        if after.state.is_terminal() && !had_ended {
            applied.ended.extend(job.history.events().last().cloned());
        }
        for attempt in &after.attempts {
            if !job.before.as_ref().is_some_and(|before| before.attempts.contains(attempt)) {
                attempts.push((after.queue.clone(), after.id, attempt.clone()));
            }
        }
        views.push(after);
    }
    for chunk in events.chunks(ROWS) {
        let mut query = QueryBuilder::new("INSERT OR REPLACE INTO events (");
        query.push(EVENT_COLUMNS).push(") ").push_values(chunk, |row, event| bind_event(row, event));
        query.build().persistent(chunk.len() == ROWS).execute(&mut *connection).await?;
    }
    for chunk in attempts.chunks(ROWS) {
        store_attempts(connection, chunk).await?;
    }
    for chunk in views.chunks(ROWS) {
        store_jobs(connection, chunk).await?;
    }
    Ok(applied)
}

async fn store_attempts(
    connection: &mut SqliteConnection,
    attempts: &[(String, JobId, AttemptView)],
) -> Result<(), sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT OR REPLACE INTO attempts (queue, job_id, number, worker, started_at_ns, ended_at_ns, outcome, \
         error_code, error_message, error_terminal, alone) ",
    );
    query.push_values(attempts, |mut row, (queue, job_id, attempt)| {
        let (code, message, terminal) = error_columns(attempt.error.as_ref());
        row.push_bind(queue.as_str())
            .push_bind(job_id.to_string())
            .push_bind(attempt.number)
            .push_bind(attempt.worker.as_deref())
            .push_bind(attempt.started_at.map(to_ns))
            .push_bind(attempt.ended_at.map(to_ns))
            .push_bind(attempt.outcome.map(windlass_core::Outcome::as_str))
            .push_bind(code)
            .push_bind(message)
            .push_bind(terminal)
            .push_bind(attempt.alone);
    });
    query.build().persistent(attempts.len() == ROWS).execute(connection).await.map(|_| ())
}

async fn store_jobs(connection: &mut SqliteConnection, views: &[JobView]) -> Result<(), sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO jobs (queue, id, kind, state, priority, attempt_count, accepted_at_ns, due_at_ns, ended_at_ns, \
         ready_at_ns, attempt_started_ns, attempt_ended_ns, error_code, error_message, error_terminal, trace_id) ",
    );
    query.push_values(views, |mut row, view| {
        let (code, message, terminal) = error_columns(view.error.as_ref());
        let latest = view.attempts.last();
        row.push_bind(view.queue.as_str())
            .push_bind(view.id.to_string())
            .push_bind(view.kind.as_str())
            .push_bind(view.state.as_str())
            .push_bind(view.priority.as_str())
            .push_bind(i64::try_from(view.attempts.len()).unwrap_or(i64::MAX))
            .push_bind(view.accepted_at.map(to_ns))
            .push_bind(view.due_at.map(to_ns))
            .push_bind(view.ended_at.map(to_ns))
            .push_bind(ready_at(view).map(to_ns))
            .push_bind(latest.and_then(|a| a.started_at).map(to_ns))
            .push_bind(latest.and_then(|a| a.ended_at).map(to_ns))
            .push_bind(code)
            .push_bind(message)
            .push_bind(terminal)
            .push_bind(view.trace_id.as_deref());
    });
    query.push(
        " ON CONFLICT (queue, id) DO UPDATE SET kind = excluded.kind, state = excluded.state, \
         priority = excluded.priority, attempt_count = excluded.attempt_count, \
         accepted_at_ns = excluded.accepted_at_ns, due_at_ns = excluded.due_at_ns, \
         ended_at_ns = excluded.ended_at_ns, ready_at_ns = excluded.ready_at_ns, \
         attempt_started_ns = excluded.attempt_started_ns, attempt_ended_ns = excluded.attempt_ended_ns, \
         error_code = excluded.error_code, error_message = excluded.error_message, \
         error_terminal = excluded.error_terminal, trace_id = excluded.trace_id",
    );
    query.build().persistent(views.len() == ROWS).execute(connection).await.map(|_| ())
}

/// Since when the job can run, or could before its latest attempt: it was due, and no earlier attempt was under way.
fn ready_at(view: &JobView) -> Option<Timestamp> {
    let waits = !view.state.is_terminal() && view.state != windlass_core::JobState::Running;
    let ended_before = view.attempts.iter().rev().skip(usize::from(!waits)).find_map(|a| a.ended_at);
    view.due_at.or(view.accepted_at).max(ended_before)
}
