//! What an audit asks the database for, and what it found.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use windlass_core::{JobId, JobState, QueueName};

use super::database::Pooled;
use super::rows::{from_ns, id_of, to_ns, word};
use super::sql::Sql;
use super::{Error, READ_TIMEOUT, Store, WRITE_TIMEOUT, bounded, in_time};
use crate::api::schema::JobStateSchema;

const FIND: &str = "find the jobs that live";
const RECORD: &str = "record a lost job";
const TELL: &str = "tell the lost jobs";

/// A job that was accepted, has not ended, and has no message in any stream: it will never run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LostJob {
    /// Of the job.
    #[schema(value_type = String, format = "uuid")]
    pub id: JobId,
    /// Its queue.
    pub queue: String,
    /// Its kind.
    pub kind: String,
    /// Where it stood when its loss was found.
    #[schema(value_type = JobStateSchema)]
    pub state: JobState,
    /// When the dispatcher accepted it.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub accepted_at: Option<Timestamp>,
    /// When the loss was found.
    #[schema(value_type = String, format = DateTime)]
    pub found_at: Timestamp,
    /// When the job was seen to have ended after all, or to be there again; null until then.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub resolved_at: Option<Timestamp>,
}

/// How many jobs of a queue there ever were, and where they are: `accepted` is `live` and `ended` together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// All that the monitor heard of.
    pub accepted: u64,
    /// Have not ended.
    pub live: u64,
    /// Have ended, those that were removed for their age among them.
    pub ended: u64,
}

// === impl Store ===

impl Store {
    /// The totals of each queue.
    pub async fn totals(&self) -> Result<BTreeMap<QueueName, Totals>, Error> {
        const SQL: &str = "SELECT queue, state, jobs, removed FROM counts";
        let rows: Vec<(String, String, i64, i64)> = self.read_all(FIND, Sql::new(SQL)).await?;
        let mut totals = BTreeMap::<QueueName, Totals>::new();
        for (queue, state, jobs, removed) in rows {
            let totals = totals.entry(word("queue", &queue)?).or_default();
            let (jobs, removed) = (jobs.unsigned_abs(), removed.unsigned_abs());
            totals.accepted += jobs + removed;
            if word::<JobState>("state", &state)?.is_terminal() {
                totals.ended += jobs + removed;
            } else {
                totals.live += jobs;
            }
        }
        Ok(totals)
    }

    /// Jobs of this queue that were accepted before then and have not ended: one part of so many, at most so many jobs.
    pub async fn live(
        &self,
        queue: &QueueName,
        before: Timestamp,
        (part, of): (u64, u64),
        most: usize,
    ) -> Result<HashSet<JobId>, Error> {
        let mut sql = Sql::new("SELECT id FROM jobs");
        sql.push(self.readers.hint(" INDEXED BY jobs_live"));
        sql.push(" WHERE ended_at_ns IS NULL AND queue = ").push_bind(queue.as_str());
        sql.push(" AND accepted_at_ns < ").push_bind(to_ns(before));
        let (mut ids, mut unread) = (HashSet::new(), None);
        let take = |(id,): (Vec<u8>,)| match id_of(&id) {
            // Their tails are random.
            Ok(id) if id.as_uuid().as_u64_pair().1 % of.max(1) == part && ids.len() < most => {
                ids.insert(id);
            }
            Ok(_) => {}
            Err(error) => unread = Some(error),
        };
        let read = async { sql.each(&mut self.readers.acquire().await?.on(), take).await };
        bounded(FIND, READ_TIMEOUT, read).await?;
        unread.map_or(Ok(ids), Err)
    }

    /// Whether a job has not ended, as far as is known.
    pub async fn lives(&self, queue: &QueueName, id: JobId) -> Result<bool, Error> {
        const SQL: &str = "SELECT queue FROM jobs WHERE id = $1 AND queue = $2 AND ended_at_ns IS NULL";
        let sql = Sql::new(SQL).bind(id).bind(queue.as_str());
        Ok(self.read_optional::<(String,)>(FIND, sql).await?.is_some())
    }

    /// Records that these jobs are lost; returns those of which it was not known.
    pub async fn record_lost(
        &self,
        queue: &QueueName,
        lost: &[JobId],
        now: Timestamp,
    ) -> Result<Vec<JobId>, Error> {
        let mut writer = self.writer(RECORD).await?;
        let outcome = in_time(RECORD, WRITE_TIMEOUT, record_lost(&mut writer, queue, lost, now)).await;
        self.give_back(writer, outcome).await
    }

    /// Records that this job is lost no more.
    pub async fn resolve_lost(&self, queue: &QueueName, id: JobId, now: Timestamp) -> Result<(), Error> {
        const SQL: &str = "UPDATE discrepancies SET resolved_at_ns = $1 WHERE queue = $2 AND id = $3";
        let sql = Sql::new(SQL).bind(to_ns(now)).bind(queue.as_str()).bind(id);
        self.write(RECORD, sql).await.map(|_| ())
    }

    /// The latest lost jobs, newest first; or only those that are lost still.
    pub async fn lost(&self, only_unresolved: bool, limit: u32) -> Result<Vec<LostJob>, Error> {
        type Row = (String, Vec<u8>, String, String, Option<i64>, i64, Option<i64>);
        const SQL: &str = "SELECT queue, id, kind, state, accepted_at_ns, found_at_ns, resolved_at_ns \
             FROM discrepancies WHERE NOT $1 OR resolved_at_ns IS NULL ORDER BY found_at_ns DESC LIMIT $2";
        let sql = Sql::new(SQL).bind(only_unresolved).bind(limit);
        let rows: Vec<Row> = self.read_all(TELL, sql).await?;
        let instant = |what, nanos: Option<i64>| nanos.map(|nanos| from_ns(what, nanos)).transpose();
        let job = |(queue, id, kind, state, accepted, found, resolved): Row| {
            Ok(LostJob {
                id: id_of(&id)?,
                queue,
                kind,
                state: word("state", &state)?,
                accepted_at: instant("accepted_at_ns", accepted)?,
                found_at: from_ns("found_at_ns", found)?,
                resolved_at: instant("resolved_at_ns", resolved)?,
            })
        };
        rows.into_iter().map(job).collect()
    }

    /// How many jobs of each queue are lost.
    pub async fn count_lost(&self) -> Result<BTreeMap<String, u64>, Error> {
        const SQL: &str =
            "SELECT queue, COUNT(*) FROM discrepancies WHERE resolved_at_ns IS NULL GROUP BY queue";
        let rows: Vec<(String, i64)> = self.read_all(TELL, Sql::new(SQL)).await?;
        Ok(rows.into_iter().map(|(queue, count)| (queue, count.unsigned_abs())).collect())
    }
}

async fn record_lost(
    writer: &mut Pooled,
    queue: &QueueName,
    lost: &[JobId],
    now: Timestamp,
) -> Result<Vec<JobId>, Error> {
    // As if it had been found anew, where it was lost before.
    const SQL: &str = "INSERT INTO discrepancies (queue, id, kind, state, accepted_at_ns, found_at_ns) \
         SELECT queue, id, kind, state, accepted_at_ns, $1 FROM jobs WHERE id = $2 AND queue = $3 \
         ON CONFLICT (queue, id) DO UPDATE SET found_at_ns = excluded.found_at_ns, resolved_at_ns = NULL \
         WHERE discrepancies.resolved_at_ns IS NOT NULL";
    let failed = |source| Error::Statement(RECORD, source);
    let mut transaction = writer.begin().await.map_err(failed)?;
    let mut new = Vec::new();
    for id in lost {
        let sql = Sql::new(SQL).bind(to_ns(now)).bind(*id).bind(queue.as_str());
        if sql.execute(&mut transaction.on()).await.map_err(failed)? > 0 {
            new.push(*id);
        }
    }
    transaction.commit().await.map_err(failed)?;
    Ok(new)
}
