//! The statements that write jobs: many rows in each, prepared once.

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use sqlx::sqlite::{Sqlite, SqliteArguments};
use sqlx::{AssertSqlSafe, SqliteConnection};
use windlass_core::flow::FlowKey;
use windlass_core::history::JobView;
use windlass_core::{Event, JobError, JobState, Transition};

use super::history;
use super::project::Job;
use super::rows::{error_columns, to_ns};

type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// Rows in one statement: as many as there are of the largest, and the rest by the smaller ones.
const SIZES: [usize; 3] = [100, 10, 1];

const COLUMNS: &str = "queue, id, kind, state, priority, attempt_count, accepted_at_ns, due_at_ns, ended_at_ns, \
     ready_at_ns, attempt_started_ns, attempt_ended_ns, error_code, error_message, error_terminal, fingerprint, key, \
     tenant, trace_id, claimed_id, history";
const COLUMN_COUNT: usize = 21;
/// What changes while a job lives.
const MOVED: &str = "state = excluded.state, attempt_count = excluded.attempt_count, due_at_ns = excluded.due_at_ns, \
     ended_at_ns = excluded.ended_at_ns, ready_at_ns = excluded.ready_at_ns, \
     attempt_started_ns = excluded.attempt_started_ns, attempt_ended_ns = excluded.attempt_ended_ns, \
     error_code = excluded.error_code, error_message = excluded.error_message, \
     error_terminal = excluded.error_terminal, fingerprint = excluded.fingerprint, history = excluded.history";
/// What is known from the first event on, unless that came late: an index on it is left alone otherwise.
const FIXED: &str = "kind = excluded.kind, priority = excluded.priority, accepted_at_ns = excluded.accepted_at_ns, \
     key = excluded.key, tenant = excluded.tenant, trace_id = excluded.trace_id, claimed_id = excluded.claimed_id";

/// One statement for each size.
pub(super) struct Sized([Arc<str>; SIZES.len()]);

pub(super) static STORE_MOVED: LazyLock<Sized> = LazyLock::new(|| Sized::upsert(MOVED));
static STORE_WHOLE: LazyLock<Sized> = LazyLock::new(|| Sized::upsert(&format!("{MOVED}, {FIXED}")));

// === impl Sized ===

impl Sized {
    /// What stands before the rows, how many columns a row has, and what stands after them.
    pub(super) fn insert(into: &str, columns: usize, after: &str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(", "));
        Self(
            SIZES.map(|rows| format!("{into} VALUES {} {after}", vec![row.as_str(); rows].join(", ")).into()),
        )
    }

    fn upsert(set: &str) -> Self {
        let into = format!("INSERT INTO jobs ({COLUMNS})");
        Self::insert(&into, COLUMN_COUNT, &format!("ON CONFLICT (id, queue) DO UPDATE SET {set}"))
    }

    pub(super) async fn execute<T>(
        &self,
        connection: &mut SqliteConnection,
        mut rows: &[T],
        bind: impl Fn(Query, &T) -> Query,
    ) -> Result<(), sqlx::Error> {
        for (size, sql) in SIZES.iter().zip(&self.0) {
            while rows.len() >= *size {
                let (these, others) = rows.split_at(*size);
                let query = sqlx::query(AssertSqlSafe(Arc::clone(sql)));
                these.iter().fold(query, &bind).execute(&mut *connection).await?;
                rows = others;
            }
        }
        Ok(())
    }
}

/// Tells what is known of so many ids.
pub(super) fn select_by_ids(table: &str, ids: usize) -> AssertSqlSafe<String> {
    let ids = vec!["?"; ids].join(", ");
    AssertSqlSafe(format!("SELECT queue, id, history FROM {table} WHERE id IN ({ids})"))
}

/// Stores jobs as they stand after a batch.
pub(super) async fn jobs(connection: &mut SqliteConnection, jobs: &[Job]) -> Result<(), sqlx::Error> {
    let (mut moved, mut whole) = (Vec::with_capacity(jobs.len()), Vec::new());
    for job in jobs {
        match &job.after {
            Some(after)
                if !job.accepted_late && job.before.as_ref().is_none_or(|before| is_fixed(before, after)) =>
            {
                moved.push((job, after));
            }
            Some(after) => whole.push((job, after)),
            None => store_remark(connection, job).await?,
        }
        if job.had_remarks && job.after.is_some() {
            sqlx::query("DELETE FROM remarks WHERE id = ? AND queue = ?")
                .bind(job.id.as_uuid().as_bytes().to_vec())
                .bind(job.queue.as_str())
                .execute(&mut *connection)
                .await?;
        }
    }
    STORE_MOVED.execute(connection, &moved, |query, (job, after)| bind(query, job, after)).await?;
    STORE_WHOLE.execute(connection, &whole, |query, (job, after)| bind(query, job, after)).await
}

fn is_fixed(before: &JobView, after: &JobView) -> bool {
    let fixed = |view: &JobView| (view.priority, view.accepted_at);
    fixed(before) == fixed(after) && before.kind == after.kind && before.trace_id == after.trace_id
}

async fn store_remark(connection: &mut SqliteConnection, job: &Job) -> Result<(), sqlx::Error> {
    const SQL: &str = "INSERT OR REPLACE INTO remarks (queue, id, told_ns, history) VALUES (?, ?, ?, ?)";
    let told_at = job.history.events().map(|event| event.at).max().unwrap_or_default();
    sqlx::query(SQL)
        .bind(job.queue.as_str().to_owned())
        .bind(job.id.as_uuid().as_bytes().to_vec())
        .bind(to_ns(told_at))
        .bind(history::encode(&job.history))
        .execute(connection)
        .await
        .map(|_| ())
}

fn bind(query: Query, job: &Job, after: &JobView) -> Query {
    let (code, message, terminal) = error_columns(after.error.as_ref());
    let latest = after.attempts.last();
    let claimed = job.history.events().find(|event| event.transition == Transition::Rejected);
    // Said with the acceptance alone.
    let of_task = |part: fn(&Event) -> Option<&FlowKey>| {
        job.history.events().find_map(part).map(|key| key.as_str().to_owned())
    };
    let text = |text: Option<&str>| text.map(ToOwned::to_owned);
    query
        .bind(job.queue.as_str().to_owned())
        .bind(job.id.as_uuid().as_bytes().to_vec())
        .bind(after.kind.clone())
        .bind(after.state.as_str())
        .bind(after.priority.as_str())
        .bind(i64::try_from(after.attempts.len()).unwrap_or(i64::MAX))
        .bind(after.accepted_at.map(to_ns))
        .bind(after.due_at.map(to_ns))
        .bind(after.ended_at.map(to_ns))
        .bind(ready_at(after).map(to_ns))
        .bind(latest.and_then(|a| a.started_at).map(to_ns))
        .bind(latest.and_then(|a| a.ended_at).map(to_ns))
        .bind(text(code))
        .bind(text(message))
        .bind(terminal)
        .bind(after.error.as_ref().map(JobError::fingerprint))
        .bind(of_task(|event| event.key.as_ref()))
        .bind(of_task(|event| event.tenant.as_ref()))
        .bind(after.trace_id.clone())
        .bind(claimed.and_then(|event| event.claimed_id).map(|id| id.as_uuid().as_bytes().to_vec()))
        .bind(history::encode(&job.history))
}

/// Since when the job can run, or could before its latest attempt: it was due, and no earlier attempt was under way.
pub(super) fn ready_at(view: &JobView) -> Option<Timestamp> {
    let waits = !view.state.is_terminal() && view.state != JobState::Running;
    let ended_before = view.attempts.iter().rev().skip(usize::from(!waits)).find_map(|a| a.ended_at);
    view.due_at.or(view.accepted_at).max(ended_before)
}
