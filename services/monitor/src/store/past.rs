//! The fleet as it was at an earlier instant, from the histories that are kept.
//!
//! What had ended by then is counted: all that ended, less what ended later. What lived then is what has no end, or a
//! later one; where each of those stood, its history says.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use windlass_core::history::{History, JobView, state_at};
use windlass_core::{JobId, JobState, Kind, QueueName};

use super::list::{Cursor, JobRow, Page};
use super::rows::{from_ns, to_ns, word};
use super::sql::Sql;
use super::{Error, READ_TIMEOUT, Store, bounded, history};

const TELL: &str = "tell how the fleet was";
/// Histories that are looked at for one part of a list.
const MOST_LOOKED: u32 = 5000;
/// And at a time.
const PIECE: u32 = 500;

/// Where the jobs stood at an instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Past {
    /// The instant.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// From when on nothing is missing: jobs that ended by then have been removed for their age. Null: none has been.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub known_since: Option<Timestamp>,
    /// Whether the instant is not before that. If it is, jobs that have been removed since are not counted.
    pub complete: bool,
    /// Every queue that had a job by then, by name.
    pub queues: Vec<PastQueue>,
}

/// Where the jobs of a queue stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PastQueue {
    /// Its name.
    pub name: String,
    /// Jobs by state; every state is named. What had ended counts for ever.
    pub counts: BTreeMap<String, u64>,
}

/// Which jobs of the past: all that is named holds of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PastFilter {
    /// In this state then.
    pub state: Option<JobState>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Of this queue.
    pub queue: Option<QueueName>,
}

// === impl Store ===

impl Store {
    /// Where all jobs stood at this instant, or those of one queue.
    pub async fn past(&self, at: Timestamp, queue: Option<&QueueName>) -> Result<Past, Error> {
        let mut counts = BTreeMap::<(String, &'static str), u64>::new();
        let mut known_since = None;
        let mut unread = None;
        let (ended, lived) = (ended_by(at, queue), self.lived_at(at, queue));
        let read = async {
            let mut connection = self.readers.acquire().await?;
            // Of one moment.
            let mut snapshot = connection.snapshot().await?;
            let rows: Vec<(String, String, i64, Option<i64>)> = ended.all(&mut snapshot.on()).await?;
            let count = |(queue, bytes): (String, Vec<u8>)| match stood(&queue, bytes, at) {
                Ok(Some(state)) => *counts.entry((queue, state.as_str())).or_default() += 1,
                Ok(None) => {}
                Err(error) => unread = Some(error),
            };
            lived.each(&mut snapshot.on(), count).await?;
            snapshot.commit().await?;
            Ok(rows)
        };
        let rows = bounded(TELL, READ_TIMEOUT, read).await?;
        unread.map_or(Ok(()), Err)?;
        for (queue, state, ended, removed_until) in rows {
            known_since = known_since.max(removed_until);
            if ended > 0 {
                let state: JobState = word("state", &state)?;
                *counts.entry((queue, state.as_str())).or_default() += ended.unsigned_abs();
            }
        }
        let known_since = known_since.map(|nanos| from_ns("removed_until_ns", nanos)).transpose()?;
        Ok(Past {
            at,
            known_since,
            complete: known_since.is_none_or(|since| since <= at),
            queues: by_queue(counts),
        })
    }

    /// The histories of what lived at this instant.
    fn lived_at(&self, at: Timestamp, queue: Option<&QueueName>) -> Sql {
        let mut sql = Sql::new("SELECT queue, history FROM jobs");
        sql.push(self.readers.hint(" INDEXED BY jobs_live")).push(" WHERE ended_at_ns IS NULL");
        sql.push(" AND (accepted_at_ns IS NULL OR accepted_at_ns <= ").push_bind(to_ns(at)).push(")");
        push_queue(&mut sql, queue);
        // Two conditions that the index alone decides, in place of one that it does not.
        for accepted in [" AND accepted_at_ns <= ", " AND accepted_at_ns IS NULL AND ended_at_ns > "] {
            sql.push(" UNION ALL SELECT queue, history FROM jobs");
            sql.push(self.readers.hint(" INDEXED BY jobs_by_end"));
            sql.push(
                " WHERE state IN ('succeeded', 'dead', 'cancelled', 'expired') AND ended_at_ns IS NOT NULL",
            );
            sql.push(" AND ended_at_ns > ").push_bind(to_ns(at)).push(accepted).push_bind(to_ns(at));
            push_queue(&mut sql, queue);
        }
        sql
    }

    /// The jobs that match as they stood at this instant, by their acceptance, the latest first, from the cursor on. One
    /// whose acceptance is not known is in no such list.
    pub async fn past_list(
        &self,
        at: Timestamp,
        filter: &PastFilter,
        mut cursor: Option<Cursor>,
        limit: u32,
    ) -> Result<Page, Error> {
        let (mut jobs, mut looked) = (Vec::new(), 0);
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        loop {
            let sql = self.piece_of(at, filter, cursor);
            let rows: Vec<(i64, i64, String, Vec<u8>)> = self.read_all(TELL, sql).await?;
            let is_last = rows.len() < usize::try_from(PIECE).unwrap_or(usize::MAX);
            for (accepted_at_ns, seq, queue, bytes) in rows {
                if jobs.len() == most {
                    return Ok(Page { jobs, next_cursor: cursor });
                }
                cursor = Some(Cursor::by_time(accepted_at_ns, seq));
                let view = history::decode(&word("queue", &queue)?, bytes)?.as_of(at).outline();
                let row = view.map(|view| JobRow::of(&view, at));
                jobs.extend(row.filter(|row| filter.state.is_none_or(|state| row.state == state)));
            }
            looked += PIECE;
            if is_last {
                return Ok(Page { jobs, next_cursor: None });
            }
            if looked >= MOST_LOOKED {
                return Ok(Page { jobs, next_cursor: cursor });
            }
        }
    }

    /// Some that may match.
    fn piece_of(&self, at: Timestamp, filter: &PastFilter, cursor: Option<Cursor>) -> Sql {
        let mut sql =
            Sql::new("SELECT accepted_at_ns, seq, queue, history FROM jobs WHERE accepted_at_ns <= ");
        sql.push_bind(to_ns(at));
        if let Some((nanos, seq)) = cursor.and_then(Cursor::time) {
            sql.push(" AND (accepted_at_ns, seq) < (").push_bind(nanos).push(", ").push_bind(seq).push(")");
        }
        // The index of acceptances is walked, not one whose jobs would have to be sorted.
        let aside = self.readers.hint("+");
        let equal = [
            ("queue", filter.queue.as_ref().map(QueueName::as_str)),
            ("kind", filter.kind.as_ref().map(Kind::as_str)),
            ("state", filter.state.filter(|state| state.is_terminal()).map(JobState::as_str)),
        ];
        for (column, value) in equal {
            if let Some(value) = value {
                sql.push(" AND ").push(aside).push(column).push(" = ").push_bind(value);
            }
        }
        match filter.state.map(JobState::is_terminal) {
            Some(true) => sql.push(" AND ").push(aside).push("ended_at_ns <= ").push_bind(to_ns(at)),
            Some(false) => {
                sql.push(" AND (ended_at_ns IS NULL OR ").push(aside).push("ended_at_ns > ");
                sql.push_bind(to_ns(at)).push(")")
            }
            None => &mut sql,
        };
        sql.push(" ORDER BY accepted_at_ns DESC, seq DESC LIMIT ").push_bind(PIECE);
        sql
    }

    /// The jobs of this id as they were at this instant, in this queue or in every one that has it; with how many are
    /// known at all.
    pub async fn past_job(
        &self,
        at: Timestamp,
        id: JobId,
        queue: Option<&QueueName>,
    ) -> Result<(Vec<JobView>, usize), Error> {
        let histories = self.histories(id, queue).await?;
        let known = histories.len();
        let mut views = Vec::new();
        for history in histories {
            let Some(view) = history.as_of(at).view() else { continue };
            let mut view = view.at(at);
            view.progress = self.progress(&view.queue, id).await?.filter(|progress| progress.at <= at);
            view.logs = self.log_lines(&view.queue, id).await?;
            view.logs.retain(|line| line.at <= at);
            views.push(view);
        }
        Ok((views, known))
    }
}

/// Of each queue and end: how many jobs had ended so, and when the latest of those ended that were removed.
fn ended_by(at: Timestamp, queue: Option<&QueueName>) -> Sql {
    let mut sql = Sql::new("SELECT counts.queue, counts.state, counts.jobs - COALESCE(later.jobs, 0) ");
    sql.push("+ CASE WHEN counts.removed_until_ns <= ").push_bind(to_ns(at));
    sql.push(" THEN counts.removed ELSE 0 END, counts.removed_until_ns FROM counts LEFT JOIN ");
    sql.push("(SELECT queue, state, COUNT(*) AS jobs FROM jobs ");
    sql.push("WHERE state IN ('succeeded', 'dead', 'cancelled', 'expired') AND ended_at_ns IS NOT NULL ");
    sql.push("AND ended_at_ns > ").push_bind(to_ns(at)).push(" GROUP BY queue, state) AS later ");
    sql.push("ON later.queue = counts.queue AND later.state = counts.state ");
    sql.push("WHERE counts.state IN ('succeeded', 'dead', 'cancelled', 'expired')");
    if let Some(queue) = queue {
        sql.push(" AND counts.queue = ").push_bind(queue.as_str());
    }
    sql
}

fn push_queue(sql: &mut Sql, queue: Option<&QueueName>) {
    if let Some(queue) = queue {
        sql.push(" AND queue = ").push_bind(queue.as_str());
    }
}

/// Where a job stood that had not ended.
fn stood(queue: &str, bytes: Vec<u8>, at: Timestamp) -> Result<Option<JobState>, Error> {
    let history: History = history::decode(&word("queue", queue)?, bytes)?.as_of(at);
    Ok(history.outline().map(|view| state_at(view.state, view.due_at, at)))
}

fn by_queue(counts: BTreeMap<(String, &'static str), u64>) -> Vec<PastQueue> {
    let mut queues: Vec<PastQueue> = Vec::new();
    for ((name, state), count) in counts {
        if queues.last().is_none_or(|queue| queue.name != name) {
            let counts = JobState::ALL.iter().map(|state| (state.to_string(), 0)).collect();
            queues.push(PastQueue { name, counts });
        }
        let Some(queue) = queues.last_mut() else { continue };
        *queue.counts.entry(state.to_string()).or_default() += count;
    }
    queues
}
