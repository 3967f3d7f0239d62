//! Removing what is old: a bounded piece at a time, so that nothing else waits long for the writing connection.

use std::collections::BTreeMap;

use jiff::Timestamp;
use windlass_core::JobState;

use super::database::Pooled;
use super::figures::{DAY, FIVE, HOUR};
use super::rows::{id_of, to_ns};
use super::sql::Sql;
use super::{Error, Store, WRITE_TIMEOUT, in_time};

const REMOVE: &str = "remove what is old";

// === impl Store ===

impl Store {
    /// Removes the jobs in this state that ended before then, the oldest first and at most so many, with all that is
    /// known of them; what they added to the figures stays. Returns how many.
    pub async fn remove_ended(&self, state: JobState, before: Timestamp, limit: u32) -> Result<usize, Error> {
        let mut writer = self.writer(REMOVE).await?;
        let removed = remove_ended(&mut writer, state, before, limit);
        let outcome = in_time(REMOVE, WRITE_TIMEOUT, removed).await;
        self.give_back(writer, outcome).await
    }

    /// Removes what was found before then and is no matter any more: remarks on what never became a job, gaps, lost jobs
    /// that were found again, alerts that are over, silences that have ended; at most so many of each.
    pub async fn remove_remarks(&self, before: Timestamp, limit: u32) -> Result<usize, Error> {
        const REMARKS: &str = "DELETE FROM remarks WHERE (id, queue) IN \
             (SELECT id, queue FROM remarks WHERE told_ns < $1 LIMIT $2)";
        const GAPS: &str = "DELETE FROM gaps WHERE (first_sequence, found_at_ns) IN \
             (SELECT first_sequence, found_at_ns FROM gaps WHERE found_at_ns < $1 LIMIT $2)";
        const LOST: &str = "DELETE FROM discrepancies WHERE (queue, id) IN \
             (SELECT queue, id FROM discrepancies WHERE resolved_at_ns < $1 LIMIT $2)";
        const ALERTS: &str = "DELETE FROM alerts WHERE (fired_at_ns, rule, subject) IN \
             (SELECT fired_at_ns, rule, subject FROM alerts WHERE resolved_at_ns < $1 LIMIT $2)";
        const SILENCES: &str =
            "DELETE FROM silences WHERE id IN (SELECT id FROM silences WHERE until_ns < $1 LIMIT $2)";
        self.remove(&[REMARKS, GAPS, LOST, ALERTS, SILENCES], to_ns(before), limit).await
    }

    /// Removes the figures of minutes before then, at most so many rows.
    pub async fn remove_figures(&self, before: Timestamp, limit: u32) -> Result<usize, Error> {
        const FIGURES: &str = "DELETE FROM figures WHERE (minute, queue, kind, what, bucket) IN \
             (SELECT minute, queue, kind, what, bucket FROM figures WHERE minute < $1 LIMIT $2)";
        const HOURS: &str = "DELETE FROM figures_by_hour WHERE (queue, hour, kind, what, bucket) IN \
             (SELECT queue, hour, kind, what, bucket FROM figures_by_hour WHERE hour < $1 LIMIT $2)";
        const DAYS: &str = "DELETE FROM figures_by_day WHERE (day, queue, kind, what, bucket) IN \
             (SELECT day, queue, kind, what, bucket FROM figures_by_day WHERE day < $1 LIMIT $2)";
        let minute = super::figures::minute(before);
        let mut removed = self.remove(&[FIGURES], minute, limit).await?;
        removed += self.remove(&[HOURS], minute.div_euclid(HOUR), limit).await?;
        removed += self.remove(&[DAYS], minute.div_euclid(DAY), limit).await?;
        Ok(removed)
    }

    /// Removes the sums of five minutes before then, at most so many rows.
    pub async fn remove_fives(&self, before: Timestamp, limit: u32) -> Result<usize, Error> {
        const FIVES: &str = "DELETE FROM figures_by_five WHERE (five, what, bucket) IN \
             (SELECT five, what, bucket FROM figures_by_five WHERE five < $1 LIMIT $2)";
        self.remove(&[FIVES], super::figures::minute(before).div_euclid(FIVE), limit).await
    }

    async fn remove(&self, statements: &[&'static str], before: i64, limit: u32) -> Result<usize, Error> {
        let mut removed = 0;
        for sql in statements {
            removed += self.write(REMOVE, Sql::new(sql).bind(before).bind(limit)).await?;
        }
        Ok(usize::try_from(removed).unwrap_or(usize::MAX))
    }
}

async fn remove_ended(
    writer: &mut Pooled,
    state: JobState,
    before: Timestamp,
    limit: u32,
) -> Result<usize, Error> {
    const OLD: &str = "SELECT seq, queue, id, ended_at_ns FROM jobs WHERE state = $1 AND ended_at_ns IS NOT NULL \
         AND ended_at_ns < $2 ORDER BY ended_at_ns LIMIT $3";
    const COUNT: &str = "UPDATE counts SET jobs = jobs - $1, removed = removed + $1, \
         removed_until_ns = CASE WHEN removed_until_ns > $2 THEN removed_until_ns ELSE $2 END \
         WHERE queue = $3 AND state = $4";
    let failed = |source| Error::Statement(REMOVE, source);
    let mut transaction = writer.begin().await.map_err(failed)?;
    let on = &mut transaction.on();
    let old = Sql::new(OLD).bind(state.as_str()).bind(to_ns(before)).bind(limit);
    let old: Vec<(i64, String, Vec<u8>, i64)> = old.all(on).await.map_err(failed)?;
    if old.is_empty() {
        return Ok(0);
    }
    // How many, and when the latest of them ended.
    let mut queues = BTreeMap::<&str, (i64, i64)>::new();
    let mut by_seq = [
        Sql::new("DELETE FROM job_labels WHERE job_seq IN (VALUES "),
        Sql::new("DELETE FROM jobs WHERE seq IN (VALUES "),
    ];
    let mut told = [
        Sql::new("DELETE FROM progress WHERE (queue, job_id) IN (VALUES "),
        Sql::new("DELETE FROM log_lines WHERE (queue, job_id) IN (VALUES "),
    ];
    for (place, (seq, queue, id, ended)) in old.iter().enumerate() {
        let (count, until) = queues.entry(queue).or_insert((0, *ended));
        (*count, *until) = (*count + 1, (*until).max(*ended));
        let open = if place == 0 { "(" } else { ", (" };
        for sql in &mut by_seq {
            sql.push(open).push_bind(*seq).push(")");
        }
        let id = id_of(id)?.to_string();
        for sql in &mut told {
            sql.push(open).push_bind(queue.as_str()).push(", ").push_bind(id.as_str()).push(")");
        }
    }
    for mut sql in told.into_iter().chain(by_seq) {
        sql.push(")");
        sql.execute(on).await.map_err(failed)?;
    }
    for (queue, (count, until)) in queues {
        let counted = Sql::new(COUNT).bind(count).bind(until).bind(queue).bind(state.as_str());
        counted.execute(on).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    Ok(old.len())
}
