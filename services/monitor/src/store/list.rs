//! Lists and counts of jobs.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::QueryBuilder;
use sqlx::Row as _;
use sqlx::sqlite::{Sqlite, SqliteRow};
use utoipa::ToSchema;
use windlass_core::history::state_at;
use windlass_core::{JobError, JobId, JobState, Kind, Priority, QueueName};

use super::rows::{error_of, from_ns, to_ns, word};
use super::{Error, Store};
use crate::api::schema::{JobErrorSchema, JobStateSchema, PrioritySchema};

/// Which jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// In this state.
    pub state: Option<JobState>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Of this queue.
    pub queue: Option<QueueName>,
}

/// A part of a list, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// The jobs.
    pub jobs: Vec<JobRow>,
    /// For the part that follows; none at the end.
    pub next_cursor: Option<i64>,
}

/// A job in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobRow {
    /// Of the job.
    #[schema(value_type = String, format = "uuid")]
    pub id: JobId,
    /// Empty only for a rejected message that named none.
    pub kind: String,
    /// Where it waits or waited.
    pub queue: String,
    /// Where it stands.
    #[schema(value_type = JobStateSchema)]
    pub state: JobState,
    /// Among the jobs of its queue.
    #[schema(value_type = PrioritySchema)]
    pub priority: Priority,
    /// When the dispatcher accepted it.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub accepted_at: Option<Timestamp>,
    /// The instant from which it may (or might) run.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub due_at: Option<Timestamp>,
    /// When it ended.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// How many executions there were.
    pub attempt_count: u32,
    /// How long it has waited since it could run, or did before its latest attempt.
    #[schema(required)]
    pub wait_seconds: Option<f64>,
    /// How long its latest attempt took, or has taken.
    #[schema(required)]
    pub run_seconds: Option<f64>,
    /// Why it ended, or why its last attempt failed.
    #[schema(required, value_type = Option<JobErrorSchema>)]
    pub error: Option<JobError>,
    /// 32 hexadecimal digits; none if the publisher sent no trace context.
    #[schema(required)]
    pub trace_id: Option<String>,
}

/// How many jobs of a queue stand where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueueCounts {
    /// Its name.
    pub name: String,
    /// Jobs by state; every state is named.
    pub counts: BTreeMap<String, u64>,
    /// How long the job has waited that has waited longest since it could run; none if none waits.
    #[schema(required)]
    pub oldest_queued_age_seconds: Option<f64>,
}

/// The fold's `scheduled` and `retrying` end with their timer, see `core::history::state_at`.
const TIMED: &str = "state IN ('scheduled', 'retrying')";

// === impl Store ===

impl Store {
    /// The jobs that match, newest first, from the cursor on.
    pub async fn list(
        &self,
        filter: &Filter,
        cursor: Option<i64>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Page, Error> {
        const WHAT: &str = "list jobs";
        let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM jobs WHERE seq < ");
        query.push_bind(cursor.unwrap_or(i64::MAX));
        if let Some(queue) = &filter.queue {
            query.push(" AND queue = ").push_bind(queue.as_str());
        }
        if let Some(kind) = &filter.kind {
            query.push(" AND kind = ").push_bind(kind.as_str());
        }
        if let Some(state) = filter.state {
            push_state(&mut query, state, now);
        }
        // One more than asked for tells whether more follow.
        query.push(" ORDER BY seq DESC LIMIT ").push_bind(i64::from(limit) + 1);
        let rows = super::read(WHAT, query.build().fetch_all(&self.readers)).await?;
        let within = usize::try_from(limit).unwrap_or(usize::MAX);
        let seq = |row: &SqliteRow| row.try_get("seq").map_err(|source| Error::Statement(WHAT, source));
        let next_cursor = match rows.get(within) {
            Some(_) => rows.get(within.saturating_sub(1)).map(seq).transpose()?,
            None => None,
        };
        let jobs = rows.iter().take(within).map(|row| job_row(row, now)).collect::<Result<_, _>>()?;
        Ok(Page { jobs, next_cursor })
    }

    /// Every queue that ever had a job, by name.
    pub async fn queues(&self, now: Timestamp) -> Result<Vec<QueueCounts>, Error> {
        const WHAT: &str = "count jobs";
        const SQL: &str = "SELECT queue, CASE WHEN state IN ('scheduled', 'retrying') AND due_at_ns <= ?1 \
             THEN 'queued' ELSE state END AS standing, COUNT(*), MIN(ready_at_ns) \
             FROM jobs GROUP BY queue, standing ORDER BY queue";
        let query = sqlx::query_as::<_, (String, String, i64, Option<i64>)>(SQL).bind(to_ns(now));
        let rows = super::read(WHAT, query.fetch_all(&self.readers)).await?;
        let mut queues: Vec<QueueCounts> = Vec::new();
        for (name, state, count, ready_at) in rows {
            if queues.last().is_none_or(|queue| queue.name != name) {
                let counts = JobState::ALL.iter().map(|state| (state.to_string(), 0)).collect();
                queues.push(QueueCounts { name, counts, oldest_queued_age_seconds: None });
            }
            let Some(queue) = queues.last_mut() else { continue };
            if state == JobState::Queued.as_str() {
                let ready_at = ready_at.map(|nanos| from_ns("ready_at_ns", nanos)).transpose()?;
                queue.oldest_queued_age_seconds = ready_at.map(|since| seconds(since, now));
            }
            queue.counts.insert(state, count.unsigned_abs());
        }
        Ok(queues)
    }
}

fn push_state(query: &mut QueryBuilder<Sqlite>, state: JobState, now: Timestamp) {
    match state {
        JobState::Queued => {
            query.push(" AND (state = 'queued' OR (").push(TIMED).push(" AND due_at_ns <= ");
            query.push_bind(to_ns(now)).push("))");
        }
        JobState::Scheduled | JobState::Retrying => {
            query.push(" AND state = ").push_bind(state.as_str());
            query.push(" AND (due_at_ns IS NULL OR due_at_ns > ").push_bind(to_ns(now)).push(")");
        }
        _ => {
            query.push(" AND state = ").push_bind(state.as_str());
        }
    }
}

/// Between two instants of perhaps two clocks: never negative.
fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).max(SignedDuration::ZERO).as_secs_f64()
}

fn job_row(row: &SqliteRow, now: Timestamp) -> Result<JobRow, Error> {
    let column = |source| Error::Statement("tell a job", source);
    let text = |name: &str| row.try_get::<String, _>(name).map_err(column);
    let instant = |name: &'static str| {
        let nanos: Option<i64> = row.try_get(name).map_err(column)?;
        nanos.map(|nanos| from_ns(name, nanos)).transpose()
    };
    let due_at = instant("due_at_ns")?;
    let state = state_at(word("state", &text("state")?)?, due_at, now);
    let (ready_at, started_at) = (instant("ready_at_ns")?, instant("attempt_started_ns")?);
    let attempt_ended_at = instant("attempt_ended_ns")?;
    let waits_until = match state {
        JobState::Queued => Some(now),
        JobState::Scheduled | JobState::Held | JobState::Retrying => None,
        _ => started_at,
    };
    let runs_until = attempt_ended_at.or((state == JobState::Running).then_some(now));
    Ok(JobRow {
        id: word("id", &text("id")?)?,
        kind: text("kind")?,
        queue: text("queue")?,
        state,
        priority: word("priority", &text("priority")?)?,
        accepted_at: instant("accepted_at_ns")?,
        due_at,
        ended_at: instant("ended_at_ns")?,
        attempt_count: row.try_get("attempt_count").map_err(column)?,
        wait_seconds: ready_at.zip(waits_until).map(|(from, to)| seconds(from, to)),
        run_seconds: started_at.zip(runs_until).map(|(from, to)| seconds(from, to)),
        error: error_of(row).map_err(column)?,
        trace_id: row.try_get("trace_id").map_err(column)?,
    })
}
