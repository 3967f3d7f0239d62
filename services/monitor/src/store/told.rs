//! What running handlers told: kept for whoever looks at a job, in bounds.

use std::collections::HashMap;

use sqlx::{QueryBuilder, Row as _, SqliteConnection};
use windlass_core::history::{LogView, ProgressView};
use windlass_core::told::{LogLevel, LogLine, Progress};
use windlass_core::{JobId, QueueName};

use super::project::Message;
use super::rows::{from_ns, to_ns};
use super::{Error, Store};

/// The lines of one attempt that are kept.
const LINES: u64 = 1000;
/// Rows in one statement.
const ROWS: usize = 256;

/// Stores it; the same again changes nothing.
pub(super) async fn store(
    connection: &mut SqliteConnection,
    messages: &[Message],
) -> Result<(), sqlx::Error> {
    // The latest of each job: a statement may not touch a row twice.
    let mut latest = HashMap::<(&QueueName, JobId), &Progress>::new();
    for progress in messages.iter().flat_map(|message| &message.progress) {
        let known = latest.entry((&progress.queue, progress.job_id)).or_insert(progress);
        if (progress.attempt, progress.at) > (known.attempt, known.at) {
            *known = progress;
        }
    }
    let latest: Vec<_> = latest.into_values().collect();
    for chunk in latest.chunks(ROWS) {
        let mut query =
            QueryBuilder::new("INSERT INTO progress (queue, job_id, attempt, fraction, note, at_ns) ");
        query.push_values(chunk, |mut row, progress| {
            row.push_bind(progress.queue.as_str())
                .push_bind(progress.job_id.to_string())
                .push_bind(progress.attempt)
                .push_bind(progress.fraction)
                .push_bind(progress.note.as_str())
                .push_bind(to_ns(progress.at));
        });
        query.push(
            " ON CONFLICT (queue, job_id) DO UPDATE SET attempt = excluded.attempt, fraction = excluded.fraction, \
             note = excluded.note, at_ns = excluded.at_ns \
             WHERE (excluded.attempt, excluded.at_ns) >= (progress.attempt, progress.at_ns)",
        );
        query.build().persistent(false).execute(&mut *connection).await?;
    }
    let lines: Vec<&LogLine> = messages.iter().flat_map(|message| &message.lines).collect();
    for chunk in lines.chunks(ROWS) {
        let mut query = QueryBuilder::new(
            "INSERT OR REPLACE INTO log_lines (queue, job_id, attempt, sequence, at_ns, level, message) ",
        );
        query.push_values(chunk, |mut row, line| {
            row.push_bind(line.queue.as_str())
                .push_bind(line.job_id.to_string())
                .push_bind(line.attempt)
                .push_bind(i64::try_from(line.sequence).unwrap_or(i64::MAX))
                .push_bind(to_ns(line.at))
                .push_bind(line.level.as_str())
                .push_bind(line.message.as_str());
        });
        query.build().persistent(false).execute(&mut *connection).await?;
    }
    let mut last = HashMap::<(&QueueName, JobId, u32), u64>::new();
    for line in lines.iter().filter(|line| line.sequence > LINES) {
        let known = last.entry((&line.queue, line.job_id, line.attempt)).or_default();
        *known = line.sequence.max(*known);
    }
    for ((queue, job_id, attempt), sequence) in last {
        const SQL: &str =
            "DELETE FROM log_lines WHERE queue = ? AND job_id = ? AND attempt = ? AND sequence <= ?";
        sqlx::query(SQL)
            .bind(queue.as_str())
            .bind(job_id.to_string())
            .bind(attempt)
            .bind(i64::try_from(sequence - LINES).unwrap_or(i64::MAX))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

// === impl Store ===

impl Store {
    /// What a job's handler told last of how far it is.
    pub(super) async fn progress(&self, queue: &str, job_id: JobId) -> Result<Option<ProgressView>, Error> {
        const WHAT: &str = "tell the progress of a job";
        const SQL: &str =
            "SELECT attempt, fraction, note, at_ns FROM progress WHERE queue = ? AND job_id = ?";
        let query = sqlx::query(SQL).bind(queue).bind(job_id.to_string());
        let Some(row) = super::read(WHAT, query.fetch_optional(&self.readers)).await? else {
            return Ok(None);
        };
        let column = |source| Error::Statement(WHAT, source);
        Ok(Some(ProgressView {
            attempt: row.try_get("attempt").map_err(column)?,
            fraction: row.try_get("fraction").map_err(column)?,
            note: row.try_get("note").map_err(column)?,
            at: from_ns("at_ns", row.try_get("at_ns").map_err(column)?)?,
        }))
    }

    /// The lines that a job's attempts logged, oldest first.
    pub(super) async fn log_lines(&self, queue: &str, job_id: JobId) -> Result<Vec<LogView>, Error> {
        const WHAT: &str = "tell the log of a job";
        const SQL: &str = "SELECT * FROM (SELECT attempt, sequence, at_ns, level, message FROM log_lines \
             WHERE queue = ? AND job_id = ? ORDER BY attempt DESC, sequence DESC LIMIT ?) ORDER BY attempt, sequence";
        let limit = i64::try_from(LINES).unwrap_or(i64::MAX);
        let query = sqlx::query(SQL).bind(queue).bind(job_id.to_string()).bind(limit);
        let column = |source| Error::Statement(WHAT, source);
        let mut lines = Vec::new();
        for row in super::read(WHAT, query.fetch_all(&self.readers)).await? {
            let sequence: i64 = row.try_get("sequence").map_err(column)?;
            lines.push(LogView {
                attempt: row.try_get("attempt").map_err(column)?,
                sequence: u64::try_from(sequence).unwrap_or_default(),
                at: from_ns("at_ns", row.try_get("at_ns").map_err(column)?)?,
                level: LogLevel::of_word(row.try_get("level").map_err(column)?),
                message: row.try_get("message").map_err(column)?,
            });
        }
        Ok(lines)
    }
}
