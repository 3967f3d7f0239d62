//! Rows of jobs as they are, for a measurement.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::write::STORE_MOVED;

/// The columns of a job, in the order in which they are written.
pub(crate) struct Row {
    texts: Vec<Option<String>>,
    numbers: Vec<Option<i64>>,
    id: Vec<u8>,
    claimed_id: Option<Vec<u8>>,
    history: Vec<u8>,
}

const TEXTS: [&str; 9] =
    ["queue", "kind", "state", "priority", "error_code", "error_message", "fingerprint", "key", "tenant"];
const NUMBERS: [&str; 8] = [
    "attempt_count",
    "accepted_at_ns",
    "due_at_ns",
    "ended_at_ns",
    "ready_at_ns",
    "attempt_started_ns",
    "attempt_ended_ns",
    "error_terminal",
];

// === impl Row ===

impl Row {
    pub(crate) fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let mut texts = TEXTS.iter().map(|name| row.try_get(*name)).collect::<Result<Vec<_>, _>>()?;
        texts.push(row.try_get("trace_id")?);
        Ok(Self {
            texts,
            numbers: NUMBERS.iter().map(|name| row.try_get(*name)).collect::<Result<_, _>>()?,
            id: row.try_get("id")?,
            claimed_id: row.try_get("claimed_id")?,
            history: row.try_get("history")?,
        })
    }
}

/// Those after this one, at most so many.
pub(crate) async fn read(
    connection: &mut SqliteConnection,
    after: i64,
    limit: usize,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    sqlx::query("SELECT * FROM jobs WHERE seq > ? ORDER BY seq LIMIT ?")
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
}

/// Writes them.
pub(crate) async fn insert(connection: &mut SqliteConnection, rows: &[Row]) -> Result<(), sqlx::Error> {
    STORE_MOVED
        .execute(connection, rows, |query, row| {
            let [queue, kind, state, priority, code, message, fingerprint, key, tenant, trace_id] =
                row.texts.as_slice()
            else {
                return query;
            };
            let [attempts, accepted, due, ended, ready, started, attempt_ended, terminal] =
                row.numbers.as_slice()
            else {
                return query;
            };
            let query = query.bind(queue.clone()).bind(row.id.clone());
            let query =
                [kind, state, priority].into_iter().fold(query, |query, text| query.bind(text.clone()));
            let query = [attempts, accepted, due, ended, ready, started, attempt_ended]
                .into_iter()
                .fold(query, |query, number| query.bind(*number));
            let query = query.bind(code.clone()).bind(message.clone()).bind(*terminal);
            let query = [fingerprint, key, tenant, trace_id]
                .into_iter()
                .fold(query, |query, text| query.bind(text.clone()));
            query.bind(row.claimed_id.clone()).bind(row.history.clone())
        })
        .await
}
