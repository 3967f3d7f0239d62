//! What happened within a time: for reports.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::failures::Failure;
use super::figures::{DAY, Pieces, minute, seconds_of};
use super::sql::{Columns, Sql};
use super::{Error, READ_TIMEOUT, Store, bounded};

const TELL: &str = "sum up what happened";

/// What happened within a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// From the beginning of this minute on.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Up to the beginning of this minute.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// How long jobs waited before their latest attempt; null if none began.
    #[serde(default)]
    #[schema(required)]
    pub wait: Option<Spans>,
    /// How long attempts ran; null if none ended.
    #[serde(default)]
    #[schema(required)]
    pub run: Option<Spans>,
    /// How long it took jobs that failed at first to succeed, from their first failure on; null if none did.
    #[serde(default)]
    #[schema(required)]
    pub recovery: Option<Spans>,
    /// By queue and kind.
    pub kinds: Vec<KindReport>,
    /// The same over time: hours, or days where there are more than 72 hours. Those in which nothing happened are left
    /// out.
    pub course: Vec<Course>,
    /// Jobs that died, by the fingerprint of their error, the most frequent first; 50 at most.
    pub failures: Vec<Failure>,
}

/// What happened to the jobs of one kind in one queue.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct KindReport {
    /// The queue.
    pub queue: String,
    /// The kind.
    pub kind: String,
    /// Jobs that were accepted.
    pub accepted: u64,
    /// Jobs that succeeded.
    pub succeeded: u64,
    /// Jobs that died.
    pub dead: u64,
    /// Jobs that were cancelled.
    pub cancelled: u64,
    /// Jobs that expired.
    pub expired: u64,
    /// Attempts that ended.
    pub attempts: u64,
    /// Of those: failed, timed out, or lost their worker.
    pub failed_attempts: u64,
    /// How long jobs waited before their latest attempt; null if none began.
    #[schema(required)]
    pub wait: Option<Spans>,
    /// How long attempts ran; null if none ended.
    #[schema(required)]
    pub run: Option<Spans>,
    /// Jobs that failed at first, and succeeded.
    #[serde(default)]
    pub recovered: u64,
    /// How long that took them, from their first failure on; null if none did.
    #[serde(default)]
    #[schema(required)]
    pub recovery: Option<Spans>,
}

/// Percentiles in seconds, at most an eighth off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Spans {
    /// Half of them took no longer.
    pub p50_seconds: f64,
    /// 95 of 100 took no longer.
    pub p95_seconds: f64,
    /// 99 of 100 took no longer.
    pub p99_seconds: f64,
}

/// What happened in an hour or a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Course {
    /// Its beginning, in UTC.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Jobs that were accepted.
    pub accepted: u64,
    /// Jobs that succeeded.
    pub succeeded: u64,
    /// Jobs that died.
    pub dead: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
}

/// What a page shows of a time, beside charts.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// From the beginning of this minute on.
    pub from: Timestamp,
    /// Up to the beginning of this minute.
    pub to: Timestamp,
    /// By queue and kind.
    pub kinds: Vec<KindReport>,
    /// Jobs that died, as in a [`Report`]; the latest is the only example.
    pub failures: Vec<Failure>,
}

/// Counts by bucket.
#[derive(Default)]
struct Buckets(BTreeMap<i64, u64>);

/// How long things took.
#[derive(Default)]
struct Lengths {
    wait: Buckets,
    run: Buckets,
    recovery: Buckets,
}

// === impl Buckets ===

impl Buckets {
    /// Counts it here, and there.
    fn add(&mut self, other: &mut Self, bucket: i64, count: u64) {
        for buckets in [self, other] {
            *buckets.0.entry(bucket).or_default() += count;
        }
    }

    fn spans(&self) -> Option<Spans> {
        let all: u64 = self.0.values().sum();
        let at = |per_mille: u64| {
            let rank = (all * per_mille).div_ceil(1000).max(1);
            let mut seen = 0;
            let bucket = self.0.iter().find_map(|(bucket, count)| {
                seen += count;
                (seen >= rank).then_some(*bucket)
            });
            bucket.map(seconds_of)
        };
        Some(Spans { p50_seconds: at(500)?, p95_seconds: at(950)?, p99_seconds: at(990)? })
    }
}

// === impl Report ===

impl Report {
    /// Of a time of which nothing is known.
    pub fn of_nothing(from: Timestamp, to: Timestamp) -> Self {
        Self {
            from,
            to,
            wait: None,
            run: None,
            recovery: None,
            kinds: Vec::new(),
            course: Vec::new(),
            failures: Vec::new(),
        }
    }
}

// === impl Store ===

impl Store {
    /// What happened from one minute to another.
    pub async fn report(&self, from: Timestamp, to: Timestamp) -> Result<Report, Error> {
        let (first, end) = (minute(from), minute(to));
        let part = if end - first > 72 * 60 { 24 * 60 } else { 60 };
        let (from, to) = (from_minute(first)?, from_minute(end)?);
        let ((kinds, all), course, failures) = tokio::try_join!(
            self.kinds(first, end),
            self.course(first, end, part),
            self.failures_with_examples(from, to),
        )?;
        let (wait, run, recovery) = (all.wait.spans(), all.run.spans(), all.recovery.spans());
        Ok(Report { from, to, wait, run, recovery, kinds, course, failures })
    }

    /// What a page shows of that: neither its course nor further examples are asked for.
    pub async fn summary(&self, from: Timestamp, to: Timestamp) -> Result<Summary, Error> {
        let (first, end) = (minute(from), minute(to));
        let (from, to) = (from_minute(first)?, from_minute(end)?);
        let ((kinds, _), failures) = tokio::try_join!(self.kinds(first, end), self.failures(from, to))?;
        Ok(Summary { from, to, kinds, failures })
    }

    /// Carries out a statement for the minutes up to the one that it is given. That is the end of the day if nothing is
    /// counted from `end` on: the sums are the same, and those of the day stand for those of its hours and minutes.
    async fn sums<T: Columns>(&self, end: i64, statement: impl FnOnce(i64) -> Sql) -> Result<Vec<T>, Error> {
        const LAST: &str = "SELECT MAX(minute) FROM figures";
        let read = async {
            let mut connection = self.readers.acquire().await?;
            // Of one moment: what is counted in between may lie beyond the end.
            let mut snapshot = connection.snapshot().await?;
            let last: Option<(Option<i64>,)> = Sql::new(LAST).optional(&mut snapshot.on()).await?;
            let reaches_last = last.and_then(|(last,)| last).is_some_and(|last| last < end);
            let sql = statement(if reaches_last { -(-end).div_euclid(DAY) * DAY } else { end });
            let rows: Vec<T> = sql.all(&mut snapshot.on()).await?;
            snapshot.commit().await?;
            Ok(rows)
        };
        bounded(TELL, READ_TIMEOUT, Box::pin(read)).await
    }

    async fn kinds(&self, first: i64, end: i64) -> Result<(Vec<KindReport>, Lengths), Error> {
        // One arm for each range, or the keys are not used. Every queue stands in `counts` for good, and all together do not.
        const SQL: &str = "SELECT queue, kind, what, bucket, CAST(SUM(count) AS BIGINT) FROM ( \
             SELECT queue, kind, what, bucket, count FROM figures WHERE minute >= $1 AND minute < $2 \
             UNION ALL SELECT queue, kind, what, bucket, count FROM figures WHERE minute >= $3 AND minute < $4 \
             UNION ALL SELECT queue, kind, what, bucket, count FROM figures_by_hour \
             WHERE queue IN (SELECT queue FROM counts) AND hour >= $5 AND hour < $6 \
             UNION ALL SELECT queue, kind, what, bucket, count FROM figures_by_hour \
             WHERE queue IN (SELECT queue FROM counts) AND hour >= $7 AND hour < $8 \
             UNION ALL SELECT queue, kind, what, bucket, count FROM figures_by_day WHERE day >= $9 AND day < $10 \
             ) AS pieces GROUP BY queue, kind, what, bucket";
        let sums = self.sums(end, move |end| {
            let Pieces { minutes, hours, days } = Pieces::of(first, end);
            let bounds = minutes.into_iter().chain(hours).chain([days]).flat_map(|(from, to)| [from, to]);
            bounds.fold(Sql::new(SQL), Sql::bind)
        });
        let rows: Vec<(String, String, String, i64, i64)> = sums.await?;
        let mut kinds = BTreeMap::<(String, String), (KindReport, Lengths)>::new();
        let mut all = Lengths::default();
        for (queue, kind, what, bucket, count) in rows {
            let count = u64::try_from(count).unwrap_or_default();
            let (report, lengths) = kinds.entry((queue, kind)).or_default();
            match what.as_str() {
                "accepted" => report.accepted += count,
                "succeeded" => report.succeeded += count,
                "dead" => report.dead += count,
                "cancelled" => report.cancelled += count,
                "expired" => report.expired += count,
                "wait" => all.wait.add(&mut lengths.wait, bucket, count),
                "run" => all.run.add(&mut lengths.run, bucket, count),
                "recovery" => {
                    report.recovered += count;
                    all.recovery.add(&mut lengths.recovery, bucket, count);
                }
                attempt => {
                    report.attempts += count;
                    if ["attempt_failed", "attempt_timed_out", "attempt_crashed"].contains(&attempt) {
                        report.failed_attempts += count;
                    }
                }
            }
        }
        let kind = |((queue, kind), (report, lengths)): ((String, String), (KindReport, Lengths))| {
            let Lengths { wait, run, recovery } = lengths;
            let (wait, run, recovery) = (wait.spans(), run.spans(), recovery.spans());
            KindReport { queue, kind, wait, run, recovery, ..report }
        };
        Ok((kinds.into_iter().map(kind).collect(), all))
    }

    async fn course(&self, first: i64, end: i64, part: i64) -> Result<Vec<Course>, Error> {
        const SQL: &str = "SELECT part, what, CAST(SUM(count) AS BIGINT) FROM ( \
             SELECT minute / $1 * $1 AS part, what, count FROM figures WHERE minute >= $2 AND minute < $3 \
             UNION ALL SELECT minute / $1 * $1 AS part, what, count FROM figures WHERE minute >= $4 AND minute < $5 \
             UNION ALL SELECT hour * 60 / $1 * $1 AS part, what, count FROM figures_by_hour \
             WHERE queue = '' AND hour >= $6 AND hour < $7 \
             UNION ALL SELECT hour * 60 / $1 * $1 AS part, what, count FROM figures_by_hour \
             WHERE queue = '' AND hour >= $8 AND hour < $9 \
             ) AS pieces WHERE what NOT IN ('wait', 'run', 'recovery') GROUP BY part, what ORDER BY part";
        let sums = self.sums(end, move |end| {
            let Pieces { minutes, mut hours, days: (from, to) } = Pieces::of(first, end);
            if from < to {
                // Days are no parts of hours, and hours of all queues are few.
                hours[0].1 = hours[1].0;
            }
            let bounds = minutes.into_iter().chain(hours).flat_map(|(from, to)| [from, to]);
            bounds.fold(Sql::new(SQL).bind(part), Sql::bind)
        });
        let rows: Vec<(i64, String, i64)> = sums.await?;
        let mut course: Vec<Course> = Vec::new();
        for (minute, what, count) in rows {
            let (at, count) = (from_minute(minute)?, u64::try_from(count).unwrap_or_default());
            if course.last().is_none_or(|last| last.at != at) {
                course.push(Course { at, accepted: 0, succeeded: 0, dead: 0, failed_attempts: 0 });
            }
            let Some(last) = course.last_mut() else { continue };
            match what.as_str() {
                "accepted" => last.accepted += count,
                "succeeded" => last.succeeded += count,
                "dead" => last.dead += count,
                "attempt_failed" | "attempt_timed_out" | "attempt_crashed" => last.failed_attempts += count,
                _ => {}
            }
        }
        Ok(course)
    }
}

fn from_minute(minute: i64) -> Result<Timestamp, Error> {
    let at = minute.checked_mul(60).and_then(|seconds| Timestamp::from_second(seconds).ok());
    at.ok_or_else(|| Error::Row { what: "minute", text: minute.to_string() })
}
