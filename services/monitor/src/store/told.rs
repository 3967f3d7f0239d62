//! What running handlers told: kept for whoever looks at a job, in bounds.

use std::collections::HashMap;
use std::sync::LazyLock;

use windlass_core::history::{LogView, ProgressView};
use windlass_core::told::{LogLevel, LogLine, Progress};
use windlass_core::{JobId, QueueName};

use super::batch::Insert;
use super::batch::Type::{Int, Real, Text};
use super::database::Connection;
use super::project::Message;
use super::rows::{from_ns, to_ns};
use super::sql::Sql;
use super::{Error, Store};

/// The lines of one attempt that are kept.
const LINES: u64 = 1000;

static STORE_PROGRESS: LazyLock<Insert<6>> = LazyLock::new(|| {
    let columns = [
        ("queue", Text),
        ("job_id", Text),
        ("attempt", Int),
        ("fraction", Real),
        ("note", Text),
        ("at_ns", Int),
    ];
    let newer = "ON CONFLICT (queue, job_id) DO UPDATE SET attempt = excluded.attempt, fraction = excluded.fraction, \
         note = excluded.note, at_ns = excluded.at_ns \
         WHERE (excluded.attempt, excluded.at_ns) >= (progress.attempt, progress.at_ns)";
    Insert::new("progress", columns, newer)
});
static STORE_LINES: LazyLock<Insert<7>> = LazyLock::new(|| {
    let columns = [
        ("queue", Text),
        ("job_id", Text),
        ("attempt", Int),
        ("sequence", Int),
        ("at_ns", Int),
        ("level", Text),
        ("message", Text),
    ];
    let again = "ON CONFLICT (queue, job_id, attempt, sequence) DO UPDATE SET at_ns = excluded.at_ns, \
         level = excluded.level, message = excluded.message";
    Insert::new("log_lines", columns, again)
});

/// Stores it; the same again changes nothing.
pub(super) async fn store(on: &mut Connection<'_>, messages: &[Message]) -> Result<(), sqlx::Error> {
    // The latest of each job: a statement may not touch a row twice.
    let mut latest = HashMap::<(&QueueName, JobId), &Progress>::new();
    for progress in messages.iter().flat_map(|message| &message.progress) {
        let known = latest.entry((&progress.queue, progress.job_id)).or_insert(progress);
        if (progress.attempt, progress.at) > (known.attempt, known.at) {
            *known = progress;
        }
    }
    let latest: Vec<_> = latest.into_values().collect();
    STORE_PROGRESS
        .execute(on, &latest, |progress| {
            let (queue, id) = (progress.queue.as_str().into(), progress.job_id.to_string().into());
            let (fraction, note) = (progress.fraction.into(), progress.note.as_str().into());
            [queue, id, progress.attempt.into(), fraction, note, to_ns(progress.at).into()]
        })
        .await?;
    // A line that came twice too.
    let lines: HashMap<_, &LogLine> = messages
        .iter()
        .flat_map(|message| &message.lines)
        .map(|line| ((&line.queue, line.job_id, line.attempt, line.sequence), line))
        .collect();
    let lines: Vec<_> = lines.into_values().collect();
    STORE_LINES
        .execute(on, &lines, |line| {
            let (queue, id) = (line.queue.as_str().into(), line.job_id.to_string().into());
            let (level, message) = (line.level.as_str().into(), line.message.as_str().into());
            [
                queue,
                id,
                line.attempt.into(),
                column(line.sequence).into(),
                to_ns(line.at).into(),
                level,
                message,
            ]
        })
        .await?;
    let mut last = HashMap::<(&QueueName, JobId, u32), u64>::new();
    for line in lines.iter().filter(|line| line.sequence > LINES) {
        let known = last.entry((&line.queue, line.job_id, line.attempt)).or_default();
        *known = line.sequence.max(*known);
    }
    for ((queue, job_id, attempt), sequence) in last {
        const SQL: &str =
            "DELETE FROM log_lines WHERE queue = $1 AND job_id = $2 AND attempt = $3 AND sequence <= $4";
        let sql = Sql::new(SQL).bind(queue.as_str()).bind(job_id.to_string());
        sql.bind(attempt).bind(column(sequence - LINES)).execute(on).await?;
    }
    Ok(())
}

// === impl Store ===

impl Store {
    /// What a job's handler told last of how far it is.
    pub(super) async fn progress(&self, queue: &str, job_id: JobId) -> Result<Option<ProgressView>, Error> {
        const SQL: &str =
            "SELECT attempt, fraction, note, at_ns FROM progress WHERE queue = $1 AND job_id = $2";
        let sql = Sql::new(SQL).bind(queue).bind(job_id.to_string());
        let found: Option<(i64, Option<f64>, String, i64)> =
            self.read_optional("tell the progress of a job", sql).await?;
        let view = |(attempt, fraction, note, at)| {
            Ok(ProgressView { attempt: number(attempt), fraction, note, at: from_ns("at_ns", at)? })
        };
        found.map(view).transpose()
    }

    /// The lines that a job's attempts logged, oldest first.
    pub(super) async fn log_lines(&self, queue: &str, job_id: JobId) -> Result<Vec<LogView>, Error> {
        const SQL: &str = "SELECT * FROM (SELECT attempt, sequence, at_ns, level, message FROM log_lines \
             WHERE queue = $1 AND job_id = $2 ORDER BY attempt DESC, sequence DESC LIMIT $3) AS latest \
             ORDER BY attempt, sequence";
        let sql = Sql::new(SQL).bind(queue).bind(job_id.to_string()).bind(column(LINES));
        let rows: Vec<(i64, i64, i64, String, String)> = self.read_all("tell the log of a job", sql).await?;
        let view = |(attempt, sequence, at, level, message): (i64, i64, i64, String, String)| {
            Ok(LogView {
                attempt: number(attempt),
                sequence: sequence.unsigned_abs(),
                at: from_ns("at_ns", at)?,
                level: LogLevel::of_word(&level),
                message,
            })
        };
        rows.into_iter().map(view).collect()
    }
}

fn column(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

fn number(attempt: i64) -> u32 {
    u32::try_from(attempt).unwrap_or(u32::MAX)
}
