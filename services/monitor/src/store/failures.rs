//! What jobs died of within a time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use windlass_core::JobId;

use super::rows::{from_ns, id_of, to_ns};
use super::sql::Sql;
use super::{Error, Store};

const TELL: &str = "tell what jobs died of";
/// Different errors in one report.
const MOST_FAILURES: u32 = 50;
/// Of each of them.
const MOST_EXAMPLES: u32 = 3;
/// Who died within a time.
const DIED: &str = " WHERE state = 'dead' AND ended_at_ns IS NOT NULL AND ended_at_ns >= $1 AND ended_at_ns < $2 \
     AND fingerprint IS NOT NULL";
/// Holds all that is asked of them, so no row is read for it.
const INDEX: &str = " INDEXED BY jobs_dead";

/// Jobs that died of alike errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// Of the error.
    pub fingerprint: String,
    /// Of the error.
    pub code: String,
    /// Of the latest of them.
    pub message: String,
    /// How many jobs.
    pub jobs: u64,
    /// How many kinds of jobs.
    pub kinds: u64,
    /// The kind of the latest.
    pub kind: String,
    /// The queue of the latest.
    pub queue: String,
    /// When the first of them died.
    #[schema(value_type = String, format = DateTime)]
    pub first_at: Timestamp,
    /// When the latest died.
    #[schema(value_type = String, format = DateTime)]
    pub last_at: Timestamp,
    /// The latest.
    #[schema(value_type = String, format = "uuid")]
    pub example: JobId,
    /// In a report: those that the monitor heard of last, three at most.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub examples: Vec<JobId>,
}

// === impl Store ===

impl Store {
    /// What jobs died of within a time, the most frequent first.
    pub async fn failures(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Failure>, Error> {
        type Row = (String, String, String, i64, i64, String, String, i64, i64, Vec<u8>);
        let index = self.readers.hint(INDEX);
        let mut sql = Sql::new(
            "SELECT alike.fingerprint, COALESCE(latest.error_code, ''), COALESCE(latest.error_message, ''), \
             alike.jobs, alike.kinds, latest.kind, latest.queue, alike.first_at_ns, alike.last_at_ns, latest.id \
             FROM (SELECT fingerprint, COUNT(*) AS jobs, COUNT(DISTINCT kind) AS kinds, \
             MIN(ended_at_ns) AS first_at_ns, MAX(ended_at_ns) AS last_at_ns FROM jobs",
        );
        sql.push(index).push(DIED);
        // What is told of the latest is read from its own row, which is found by its time: the text put together keeps
        // the index of fingerprints out of it.
        sql.push(
            " GROUP BY fingerprint ORDER BY jobs DESC, fingerprint LIMIT $3) AS alike \
             JOIN jobs AS latest ON latest.seq = (SELECT MAX(last.seq) FROM jobs AS last",
        );
        sql.push(index).push(
            " WHERE last.state = 'dead' AND last.ended_at_ns IS NOT NULL AND last.ended_at_ns = alike.last_at_ns \
             AND last.fingerprint || '' = alike.fingerprint) \
             ORDER BY alike.jobs DESC, alike.fingerprint",
        );
        let sql = sql.bind(to_ns(from)).bind(to_ns(to)).bind(MOST_FAILURES);
        let failure = |row: Row| {
            let (fingerprint, code, message, jobs, kinds, kind, queue, first, last, id) = row;
            Ok(Failure {
                fingerprint,
                code,
                message,
                jobs: jobs.unsigned_abs(),
                kinds: kinds.unsigned_abs(),
                kind,
                queue,
                first_at: from_ns("ended_at_ns", first)?,
                last_at: from_ns("ended_at_ns", last)?,
                example: id_of(&id)?,
                examples: Vec::new(),
            })
        };
        self.read_all::<Row>(TELL, sql).await?.into_iter().map(failure).collect()
    }

    /// The same, with the latest of each.
    pub(super) async fn failures_with_examples(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Failure>, Error> {
        // One pass over what died: a look for each error goes over all that died of it since. Rows are read of the examples
        // alone.
        let mut sql = Sql::new(
            "SELECT placed.fingerprint, jobs.id FROM (SELECT fingerprint, seq, \
             ROW_NUMBER() OVER (PARTITION BY fingerprint ORDER BY seq DESC) AS place FROM jobs",
        );
        sql.push(self.readers.hint(INDEX)).push(DIED).push(
            ") AS placed JOIN jobs ON jobs.seq = placed.seq WHERE placed.place <= $3 \
             ORDER BY placed.fingerprint, placed.place",
        );
        let sql = sql.bind(to_ns(from)).bind(to_ns(to)).bind(MOST_EXAMPLES);
        let (mut failures, rows): (_, Vec<(String, Vec<u8>)>) =
            tokio::try_join!(self.failures(from, to), self.read_all(TELL, sql))?;
        let mut examples = BTreeMap::<String, Vec<JobId>>::new();
        for (fingerprint, id) in rows {
            examples.entry(fingerprint).or_default().push(id_of(&id)?);
        }
        for failure in &mut failures {
            failure.examples = examples.remove(&failure.fingerprint).unwrap_or_default();
        }
        Ok(failures)
    }
}
