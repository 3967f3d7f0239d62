//! What happened over time, in equal parts: for charts.
//!
//! Up to some hours it is told from the minutes, or from sums of five minutes, beyond that from sums of hours, so that a
//! page asks for a few thousand rows however long it looks back.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::figures::{ALL_QUEUES, FIVE, seconds_of};
use super::sql::Sql;
use super::{Error, Store};

const TELL: &str = "tell what happened over time";

/// Equal parts of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// In the first part; rounded down to a whole one.
    pub from: Timestamp,
    /// In the last part.
    pub to: Timestamp,
    /// The length of a part: less than 60, or whole hours.
    pub minutes: i64,
}

/// What happened in a part.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Part {
    /// Its beginning.
    pub at: Timestamp,
    /// Jobs that were accepted.
    pub accepted: u64,
    /// Jobs that succeeded.
    pub succeeded: u64,
    /// Jobs that died.
    pub dead: u64,
    /// Jobs that were cancelled, or expired.
    pub dropped: u64,
    /// Attempts that ended, but for those that were handed back, snoozed or cancelled.
    pub attempts: u64,
    /// Of those: failed, timed out, or lost their worker.
    pub failed_attempts: u64,
    /// How long jobs waited before their latest attempt.
    pub wait: Buckets,
    /// How long attempts ran.
    pub run: Buckets,
}

/// How long something took, counted by [`seconds_of`]'s buckets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Buckets(BTreeMap<i64, u64>);

// === impl Parts ===

impl Parts {
    /// The beginnings of all.
    pub fn beginnings(&self) -> Vec<Timestamp> {
        let seconds = self.minutes * 60;
        let first = self.from.as_second().div_euclid(seconds);
        let last = self.to.as_second().div_euclid(seconds);
        (first..=last).filter_map(|part| Timestamp::from_second(part * seconds).ok()).collect()
    }
}

// === impl Part ===

impl Part {
    /// Adds what happened in another.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.succeeded += other.succeeded;
        self.dead += other.dead;
        self.dropped += other.dropped;
        self.attempts += other.attempts;
        self.failed_attempts += other.failed_attempts;
        self.wait.add(&other.wait);
        self.run.add(&other.run);
    }

    /// Jobs that ended.
    pub fn ended(&self) -> u64 {
        self.succeeded + self.dead + self.dropped
    }

    /// Of the attempts that ended, the share that failed, 0 to 1; none if none ended.
    #[allow(clippy::cast_precision_loss, reason = "a share for people")]
    pub fn failed_share(&self) -> Option<f64> {
        (self.attempts > 0).then(|| self.failed_attempts as f64 / self.attempts as f64)
    }

    fn count(&mut self, what: &str, bucket: i64, count: u64) {
        match what {
            "accepted" => self.accepted += count,
            "succeeded" => self.succeeded += count,
            "dead" => self.dead += count,
            "cancelled" | "expired" => self.dropped += count,
            "wait" => *self.wait.0.entry(bucket).or_default() += count,
            "run" => *self.run.0.entry(bucket).or_default() += count,
            "attempt_succeeded" => self.attempts += count,
            "attempt_failed" | "attempt_timed_out" | "attempt_crashed" => {
                self.attempts += count;
                self.failed_attempts += count;
            }
            _ => {}
        }
    }
}

// === impl Buckets ===

impl Buckets {
    /// So many in a thousand took no longer; none if nothing was counted.
    pub fn seconds_at(&self, per_mille: u64) -> Option<f64> {
        let all: u64 = self.0.values().sum();
        let rank = (all * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        let bucket = self.0.iter().find_map(|(bucket, count)| {
            seen += count;
            (seen >= rank).then_some(*bucket)
        });
        bucket.map(seconds_of)
    }

    fn add(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            *self.0.entry(*bucket).or_default() += count;
        }
    }
}

// === impl Store ===

impl Store {
    /// What happened in each part, of all queues or of one; parts in which nothing did are there too. Parts of five minutes
    /// of all queues are known of the last two days.
    pub async fn course_of(&self, parts: Parts, queue: Option<&str>) -> Result<Vec<Part>, Error> {
        const MINUTES: &str = "SELECT minute / $3 AS part, what, bucket, CAST(SUM(count) AS BIGINT) FROM figures \
             WHERE minute >= $1 AND minute < $2 AND ($4 = '' OR queue = $4) GROUP BY part, what, bucket";
        const FIVES: &str =
            "SELECT five, what, bucket, count FROM figures_by_five WHERE five >= $1 AND five < $2";
        const HOURS: &str = "SELECT hour / $3 AS part, what, bucket, CAST(SUM(count) AS BIGINT) FROM figures_by_hour \
             WHERE queue = $4 AND hour >= $1 AND hour < $2 GROUP BY part, what, bucket";
        let beginnings = parts.beginnings();
        let by_five = parts.minutes == FIVE && queue.is_none();
        let (sql, unit) = if by_five {
            (FIVES, FIVE * 60)
        } else if parts.minutes < 60 {
            (MINUTES, 60)
        } else {
            (HOURS, 3600)
        };
        let length = parts.minutes * 60 / unit;
        let first = beginnings.first().map_or(0, |at| at.as_second().div_euclid(unit));
        let end = first + i64::try_from(beginnings.len()).unwrap_or(i64::MAX).saturating_mul(length);
        let mut sql = Sql::new(sql).bind(first).bind(end);
        if !by_five {
            sql = sql.bind(length).bind(queue.unwrap_or(ALL_QUEUES));
        }
        let rows: Vec<(i64, String, i64, i64)> = self.read_all(TELL, sql).await?;
        let mut course: Vec<Part> = beginnings.into_iter().map(|at| Part { at, ..Part::default() }).collect();
        for (part, what, bucket, count) in rows {
            let place = usize::try_from(part - first.div_euclid(length)).ok();
            if let Some(part) = place.and_then(|place| course.get_mut(place)) {
                part.count(&what, bucket, u64::try_from(count).unwrap_or_default());
            }
        }
        Ok(course)
    }
}
