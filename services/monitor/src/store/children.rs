//! The children of a job.

use std::collections::BTreeMap;

use jiff::Timestamp;
use windlass_core::JobState;
use windlass_core::history::state_at;
use windlass_core::relations::JobPath;

use super::rows::{from_ns, word};
use super::sql::Sql;
use super::{Error, Store};

/// Of the children of one job, so many are counted.
pub(super) const MOST_COUNTED: u64 = 100_000;

// === impl Store ===

impl Store {
    /// How many children of a job stand where, of the latest hundred thousand, and whether there are more.
    pub async fn children(
        &self,
        parent: &JobPath,
        now: Timestamp,
    ) -> Result<(BTreeMap<String, u64>, bool), Error> {
        // Of those that wait for a timer each instant counts: at its end they are queued.
        const SQL: &str = "SELECT state, CASE WHEN state IN ('scheduled', 'retrying') THEN due_at_ns END, COUNT(*) \
             FROM (SELECT state, due_at_ns FROM jobs WHERE parent = $1 ORDER BY seq DESC LIMIT $2) AS children \
             GROUP BY 1, 2";
        let most = i64::try_from(MOST_COUNTED).unwrap_or(i64::MAX);
        let sql = Sql::new(SQL).bind(parent.to_string()).bind(most.saturating_add(1));
        let rows: Vec<(String, Option<i64>, i64)> = self.read_all("count children", sql).await?;
        let mut counts = BTreeMap::new();
        for (state, due_at, count) in rows {
            let due_at = due_at.map(|nanos| from_ns("due_at_ns", nanos)).transpose()?;
            let state: JobState = state_at(word("state", &state)?, due_at, now);
            *counts.entry(state.to_string()).or_insert(0) += count.unsigned_abs();
        }
        let more = counts.values().sum::<u64>() > MOST_COUNTED;
        Ok((counts, more))
    }
}
