//! Lists and counts of jobs.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use windlass_core::history::{JobView, state_at};
use windlass_core::labels::Label;
use windlass_core::{JobError, JobId, JobState, Priority};

use super::filter::{Arm, Filter};
use super::rows::{error_of, from_ns, id_of, to_ns, word};
use super::sql::{Row, Sql};
use super::write::ready_at;
use super::{Error, Store};
use crate::api::schema::{JobErrorSchema, JobStateSchema, PrioritySchema};

/// A place in a list: what comes after it is older. Jobs that come in do not move it.
///
/// As text: `SEQ`, or `NANOSECONDS.SEQ` in a list by the time of acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub(super) accepted_at_ns: Option<i64>,
    pub(super) seq: i64,
}

/// A part of a list, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The jobs.
    pub jobs: Vec<JobRow>,
    /// For the part that follows; none at the end.
    pub next_cursor: Option<Cursor>,
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

// === impl Cursor ===

impl Cursor {
    /// In a list by the time of acceptance.
    pub(super) fn by_time(accepted_at_ns: i64, seq: i64) -> Self {
        Self { accepted_at_ns: Some(accepted_at_ns), seq }
    }

    /// In such a list.
    pub(super) fn time(self) -> Option<(i64, i64)> {
        Some((self.accepted_at_ns?, self.seq))
    }
}

impl Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.accepted_at_ns {
            Some(nanos) => write!(f, "{nanos}.{}", self.seq),
            None => write!(f, "{}", self.seq),
        }
    }
}

impl FromStr for Cursor {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (nanos, seq) = text.split_once('.').map_or((None, text), |(nanos, seq)| (Some(nanos), seq));
        Ok(Self { accepted_at_ns: nanos.map(str::parse).transpose()?, seq: seq.parse()? })
    }
}

// === impl JobRow ===

impl JobRow {
    /// A job at an instant, by its history.
    pub(super) fn of(view: &JobView, now: Timestamp) -> Self {
        let state = state_at(view.state, view.due_at, now);
        let latest = view.attempts.last();
        let of = [ready_at(view), latest.and_then(|a| a.started_at), latest.and_then(|a| a.ended_at)];
        let (wait_seconds, run_seconds) = spans(state, of, now);
        Self {
            id: view.id,
            kind: view.kind.clone(),
            queue: view.queue.clone(),
            state,
            priority: view.priority,
            accepted_at: view.accepted_at,
            due_at: view.due_at,
            ended_at: view.ended_at,
            attempt_count: u32::try_from(view.attempts.len()).unwrap_or(u32::MAX),
            wait_seconds,
            run_seconds,
            error: view.error.clone(),
            trace_id: view.trace_id.clone(),
        }
    }
}

// === impl Store ===

impl Store {
    /// The jobs that match, newest first, from the cursor on.
    pub async fn list(
        &self,
        filter: &Filter,
        cursor: Option<Cursor>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Page, Error> {
        const WHAT: &str = "list jobs";
        // One more than asked for tells whether more follow.
        let rows = i64::from(limit) + 1;
        let mut sql = Sql::new("SELECT * FROM (");
        let aside = self.readers.hint("+");
        let few = match &filter.label {
            Some(label) if filter.goes_by_time() => self.have_few(label).await?,
            _ => false,
        };
        for (place, arm) in Arm::of(filter.state, now).into_iter().enumerate() {
            sql.push(if place == 0 { "SELECT * FROM (" } else { " UNION ALL SELECT * FROM (" });
            filter.push_arm(&mut sql, arm, cursor, rows, aside, few);
            sql.push(") AS arm");
        }
        let timed = filter.goes_by_time();
        sql.push(if timed {
            ") AS page ORDER BY accepted_at_ns DESC, seq DESC"
        } else {
            ") AS page ORDER BY seq DESC"
        });
        sql.push(" LIMIT ").push_bind(rows);
        let rows = self.read_rows(WHAT, sql).await?;
        let within = usize::try_from(limit).unwrap_or(usize::MAX);
        let place = |row: &Row| {
            let column = |source| Error::Statement(WHAT, source);
            let accepted_at_ns: Option<i64> = row.get("accepted_at_ns").map_err(column)?;
            let accepted_at_ns = accepted_at_ns.filter(|_| timed);
            Ok(Cursor { accepted_at_ns, seq: row.get("seq").map_err(column)? })
        };
        let next_cursor = match rows.get(within) {
            Some(_) => rows.get(within.saturating_sub(1)).map(place).transpose()?,
            None => None,
        };
        let jobs = rows.iter().take(within).map(|row| job_row(row, now)).collect::<Result<_, _>>()?;
        Ok(Page { jobs, next_cursor })
    }

    /// Whether so few jobs have a label that all of them can be looked at.
    async fn have_few(&self, label: &Label) -> Result<bool, Error> {
        const FEW: i64 = 2000;
        const COUNT: &str =
            "SELECT COUNT(*) FROM (SELECT 1 FROM job_labels WHERE label = $1 LIMIT $2) AS those";
        let sql = Sql::new(COUNT).bind(label.to_string()).bind(FEW + 1);
        let found: Vec<(i64,)> = self.read_all("count the jobs with a label", sql).await?;
        Ok(found.first().is_none_or(|(count,)| *count <= FEW))
    }

    /// Every queue that ever had a job, by name.
    pub async fn queues(&self, now: Timestamp) -> Result<Vec<QueueCounts>, Error> {
        const WHAT: &str = "count jobs";
        // Of each queue: its counts as stored, and of those whose timer may have ended, how many it has.
        const SQL: &str = "SELECT queue, state, jobs, \
             CASE WHEN jobs > 0 AND state IN ('scheduled', 'retrying') THEN \
             (SELECT COUNT(*) FROM jobs WHERE ended_at_ns IS NULL AND queue = counts.queue AND state = counts.state \
             AND ready_at_ns <= $1 AND due_at_ns <= $1) ELSE 0 END, \
             CASE WHEN jobs > 0 AND state IN ('queued', 'scheduled', 'retrying') THEN \
             (SELECT MIN(ready_at_ns) FROM jobs WHERE ended_at_ns IS NULL AND queue = counts.queue \
             AND state = counts.state) END \
             FROM counts ORDER BY queue";
        let rows: Vec<(String, String, i64, i64, Option<i64>)> =
            self.read_all(WHAT, Sql::new(SQL).bind(to_ns(now))).await?;
        let mut queues: Vec<QueueCounts> = Vec::new();
        for (name, state, count, due, ready_at) in rows {
            if queues.last().is_none_or(|queue| queue.name != name) {
                let counts = JobState::ALL.iter().map(|state| (state.to_string(), 0)).collect();
                queues.push(QueueCounts { name, counts, oldest_queued_age_seconds: None });
            }
            let Some(queue) = queues.last_mut() else { continue };
            let (count, due) = (count.unsigned_abs(), due.unsigned_abs());
            let is_queued = state == JobState::Queued.as_str();
            let ready_at = ready_at.map(|nanos| from_ns("ready_at_ns", nanos)).transpose()?;
            if let Some(age) = ready_at.filter(|_| is_queued || due > 0).map(|since| seconds(since, now)) {
                let oldest = queue.oldest_queued_age_seconds.unwrap_or_default();
                queue.oldest_queued_age_seconds = Some(age.max(oldest));
            }
            *queue.counts.entry(state).or_default() += count.saturating_sub(due);
            *queue.counts.entry(JobState::Queued.to_string()).or_default() += due;
        }
        Ok(queues)
    }
}

/// Between two instants of perhaps two clocks: never negative.
fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).max(SignedDuration::ZERO).as_secs_f64()
}

/// How long a job has waited and run: since when it could run, when it did, and until when.
fn spans(state: JobState, of: [Option<Timestamp>; 3], now: Timestamp) -> (Option<f64>, Option<f64>) {
    let [ready_at, started_at, attempt_ended_at] = of;
    let waits_until = match state {
        JobState::Queued => Some(now),
        JobState::Scheduled | JobState::Held | JobState::Retrying => None,
        _ => started_at,
    };
    let runs_until = attempt_ended_at.or((state == JobState::Running).then_some(now));
    let between = |from: Option<Timestamp>, to| from.zip(to).map(|(from, to)| seconds(from, to));
    (between(ready_at, waits_until), between(started_at, runs_until))
}

fn job_row(row: &Row, now: Timestamp) -> Result<JobRow, Error> {
    let column = |source| Error::Statement("tell a job", source);
    let text = |name: &str| row.get::<String>(name).map_err(column);
    let instant = |name: &'static str| {
        let nanos: Option<i64> = row.get(name).map_err(column)?;
        nanos.map(|nanos| from_ns(name, nanos)).transpose()
    };
    let due_at = instant("due_at_ns")?;
    let state = state_at(word("state", &text("state")?)?, due_at, now);
    let (ready_at, started_at) = (instant("ready_at_ns")?, instant("attempt_started_ns")?);
    let attempt_ended_at = instant("attempt_ended_ns")?;
    let (wait_seconds, run_seconds) = spans(state, [ready_at, started_at, attempt_ended_at], now);
    Ok(JobRow {
        id: id_of(&row.get::<Vec<u8>>("id").map_err(column)?)?,
        kind: text("kind")?,
        queue: text("queue")?,
        state,
        priority: word("priority", &text("priority")?)?,
        accepted_at: instant("accepted_at_ns")?,
        due_at,
        ended_at: instant("ended_at_ns")?,
        attempt_count: u32::try_from(row.get::<i64>("attempt_count").map_err(column)?).unwrap_or(u32::MAX),
        wait_seconds,
        run_seconds,
        error: error_of(row).map_err(column)?,
        trace_id: row.get("trace_id").map_err(column)?,
    })
}
