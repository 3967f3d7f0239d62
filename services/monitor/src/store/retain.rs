//! Removing what is old: a bounded piece at a time, so that nothing else waits long for the writing connection.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::{Connection as _, QueryBuilder, SqliteConnection};
use windlass_core::JobState;

use super::figures::{DAY, HOUR};
use super::rows::{id_of, to_ns};
use super::{Error, Store};

const REMOVE: &str = "remove what is old";

// === impl Store ===

impl Store {
    /// Removes the jobs in this state that ended before then, the oldest first and at most so many, with all that is
    /// known of them; what they added to the figures stays. Returns how many.
    pub async fn remove_ended(&self, state: JobState, before: Timestamp, limit: u32) -> Result<usize, Error> {
        let mut writer = self.writer(REMOVE).await?;
        let outcome = remove_ended(&mut writer, state, before, limit).await;
        self.give_back(writer, outcome).await
    }

    /// Removes what was found before then and is no matter any more: remarks on what never became a job, gaps, lost jobs
    /// that were found again, alerts that are over, silences that have ended; at most so many of each.
    pub async fn remove_remarks(&self, before: Timestamp, limit: u32) -> Result<usize, Error> {
        const REMARKS: &str = "DELETE FROM remarks WHERE (id, queue) IN \
             (SELECT id, queue FROM remarks WHERE told_ns < ? LIMIT ?)";
        const GAPS: &str =
            "DELETE FROM gaps WHERE rowid IN (SELECT rowid FROM gaps WHERE found_at_ns < ? LIMIT ?)";
        const LOST: &str = "DELETE FROM discrepancies WHERE (queue, id) IN \
             (SELECT queue, id FROM discrepancies WHERE resolved_at_ns < ? LIMIT ?)";
        const ALERTS: &str = "DELETE FROM alerts WHERE (fired_at_ns, rule, subject) IN \
             (SELECT fired_at_ns, rule, subject FROM alerts WHERE resolved_at_ns < ? LIMIT ?)";
        const SILENCES: &str =
            "DELETE FROM silences WHERE id IN (SELECT id FROM silences WHERE until_ns < ? LIMIT ?)";
        self.remove(&[REMARKS, GAPS, LOST, ALERTS, SILENCES], to_ns(before), limit).await
    }

    /// Removes the figures of minutes before then, at most so many rows.
    pub async fn remove_figures(&self, before: Timestamp, limit: u32) -> Result<usize, Error> {
        const FIGURES: &str = "DELETE FROM figures WHERE (minute, queue, kind, what, bucket) IN \
             (SELECT minute, queue, kind, what, bucket FROM figures WHERE minute < ? LIMIT ?)";
        const HOURS: &str = "DELETE FROM figures_by_hour WHERE (queue, hour, kind, what, bucket) IN \
             (SELECT queue, hour, kind, what, bucket FROM figures_by_hour WHERE hour < ? LIMIT ?)";
        const DAYS: &str = "DELETE FROM figures_by_day WHERE (day, queue, kind, what, bucket) IN \
             (SELECT day, queue, kind, what, bucket FROM figures_by_day WHERE day < ? LIMIT ?)";
        let minute = super::figures::minute(before);
        let mut removed = self.remove(&[FIGURES], minute, limit).await?;
        removed += self.remove(&[HOURS], minute.div_euclid(HOUR), limit).await?;
        removed += self.remove(&[DAYS], minute.div_euclid(DAY), limit).await?;
        Ok(removed)
    }

    async fn remove(&self, statements: &[&'static str], before: i64, limit: u32) -> Result<usize, Error> {
        let mut writer = self.writer(REMOVE).await?;
        let outcome = async {
            let mut removed = 0;
            for sql in statements {
                let done = sqlx::query(*sql).bind(before).bind(limit).execute(&mut *writer).await;
                removed += done.map_err(|source| Error::Statement(REMOVE, source))?.rows_affected();
            }
            Ok(usize::try_from(removed).unwrap_or(usize::MAX))
        }
        .await;
        self.give_back(writer, outcome).await
    }
}

async fn remove_ended(
    writer: &mut SqliteConnection,
    state: JobState,
    before: Timestamp,
    limit: u32,
) -> Result<usize, Error> {
    const OLD: &str = "SELECT seq, queue, id FROM jobs WHERE state = ? AND ended_at_ns IS NOT NULL \
         AND ended_at_ns < ? ORDER BY ended_at_ns LIMIT ?";
    const COUNT: &str =
        "UPDATE counts SET jobs = jobs - ?1, removed = removed + ?1 WHERE queue = ?2 AND state = ?3";
    let failed = |source| Error::Statement(REMOVE, source);
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let old: Vec<(i64, String, Vec<u8>)> = sqlx::query_as(OLD)
        .bind(state.as_str())
        .bind(to_ns(before))
        .bind(limit)
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
    if old.is_empty() {
        return Ok(0);
    }
    let mut query = QueryBuilder::new("DELETE FROM jobs WHERE seq IN (");
    let mut sequences = query.separated(", ");
    for (seq, _, _) in &old {
        sequences.push_bind(*seq);
    }
    query.push(")").build().persistent(false).execute(&mut *transaction).await.map_err(failed)?;
    let mut queues = BTreeMap::<&str, i64>::new();
    for (_, queue, id) in &old {
        *queues.entry(queue).or_default() += 1;
        let id = id_of(id)?.to_string();
        for table in [
            "DELETE FROM progress WHERE queue = ? AND job_id = ?",
            "DELETE FROM log_lines WHERE queue = ? AND job_id = ?",
        ] {
            sqlx::query(table).bind(queue).bind(&id).execute(&mut *transaction).await.map_err(failed)?;
        }
    }
    for (queue, count) in queues {
        let counted = sqlx::query(COUNT).bind(count).bind(queue).bind(state.as_str());
        counted.execute(&mut *transaction).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    Ok(old.len())
}
