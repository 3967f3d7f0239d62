//! What happened within a time: for reports.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use windlass_core::JobId;

use super::figures::{Pieces, minute, seconds_of};
use super::rows::{from_ns, id_of, to_ns};
use super::sql::Sql;
use super::{Error, Store};

const TELL: &str = "sum up what happened";
/// Different errors in one report.
const MOST_FAILURES: u32 = 50;
/// Of each of them.
const MOST_EXAMPLES: u32 = 3;

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

    async fn failures_with_examples(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Failure>, Error> {
        // One pass over what died: a look for each error goes over all that died of it since.
        const SQL: &str = "SELECT fingerprint, id FROM (SELECT fingerprint, id, \
             ROW_NUMBER() OVER (PARTITION BY fingerprint ORDER BY seq DESC) AS place FROM jobs \
             WHERE state = 'dead' AND ended_at_ns IS NOT NULL AND ended_at_ns >= $1 AND ended_at_ns < $2 \
             AND fingerprint IS NOT NULL) AS placed WHERE place <= $3 ORDER BY fingerprint, place";
        let sql = Sql::new(SQL).bind(to_ns(from)).bind(to_ns(to)).bind(MOST_EXAMPLES);
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

    async fn kinds(&self, first: i64, end: i64) -> Result<(Vec<KindReport>, Lengths), Error> {
        const SQL: &str = "SELECT queue, kind, what, bucket, CAST(SUM(count) AS BIGINT) FROM ( \
             SELECT queue, kind, what, bucket, count FROM figures \
             WHERE (minute >= $1 AND minute < $2) OR (minute >= $3 AND minute < $4) \
             UNION ALL SELECT queue, kind, what, bucket, count FROM figures_by_hour \
             WHERE queue IN (SELECT queue FROM counts) AND ((hour >= $5 AND hour < $6) OR (hour >= $7 AND hour < $8)) \
             UNION ALL SELECT queue, kind, what, bucket, count FROM figures_by_day WHERE day >= $9 AND day < $10 \
             ) AS pieces GROUP BY queue, kind, what, bucket";
        let Pieces { minutes, hours, days } = Pieces::of(first, end);
        let bounds = minutes.into_iter().chain(hours).chain([days]).flat_map(|(from, to)| [from, to]);
        let sql = bounds.fold(Sql::new(SQL), Sql::bind);
        let rows: Vec<(String, String, String, i64, i64)> = self.read_all(TELL, sql).await?;
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
             SELECT minute / $1 * $1 AS part, what, count FROM figures \
             WHERE (minute >= $2 AND minute < $3) OR (minute >= $4 AND minute < $5) \
             UNION ALL SELECT hour * 60 / $1 * $1 AS part, what, count FROM figures_by_hour \
             WHERE queue = '' AND ((hour >= $6 AND hour < $7) OR (hour >= $8 AND hour < $9)) \
             ) AS pieces WHERE what NOT IN ('wait', 'run', 'recovery') GROUP BY part, what ORDER BY part";
        let Pieces { minutes, mut hours, days: (from, to) } = Pieces::of(first, end);
        if from < to {
            // Days are no parts of hours, and hours of all queues are few.
            hours[0].1 = hours[1].0;
        }
        let bounds = minutes.into_iter().chain(hours).flat_map(|(from, to)| [from, to]);
        let sql = bounds.fold(Sql::new(SQL).bind(part), Sql::bind);
        let rows: Vec<(i64, String, i64)> = self.read_all(TELL, sql).await?;
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

    /// What jobs died of within a time, the most frequent first.
    pub async fn failures(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Failure>, Error> {
        type Row = (String, String, String, i64, i64, String, String, i64, i64, Vec<u8>);
        // What is told of the latest is read from its own row, which is found by its time: the text put together keeps
        // the index of fingerprints out of it.
        const SQL: &str = "SELECT alike.fingerprint, COALESCE(latest.error_code, ''), COALESCE(latest.error_message, ''), \
             alike.jobs, alike.kinds, latest.kind, latest.queue, alike.first_at_ns, alike.last_at_ns, latest.id \
             FROM (SELECT fingerprint, COUNT(*) AS jobs, COUNT(DISTINCT kind) AS kinds, \
             MIN(ended_at_ns) AS first_at_ns, MAX(ended_at_ns) AS last_at_ns FROM jobs \
             WHERE state = 'dead' AND ended_at_ns IS NOT NULL AND ended_at_ns >= $1 AND ended_at_ns < $2 \
             AND fingerprint IS NOT NULL GROUP BY fingerprint ORDER BY jobs DESC, fingerprint LIMIT $3) AS alike \
             JOIN jobs AS latest ON latest.seq = (SELECT MAX(last.seq) FROM jobs AS last \
             WHERE last.state = 'dead' AND last.ended_at_ns IS NOT NULL AND last.ended_at_ns = alike.last_at_ns \
             AND last.fingerprint || '' = alike.fingerprint) \
             ORDER BY alike.jobs DESC, alike.fingerprint";
        let sql = Sql::new(SQL).bind(to_ns(from)).bind(to_ns(to)).bind(MOST_FAILURES);
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
}

fn from_minute(minute: i64) -> Result<Timestamp, Error> {
    let at = minute.checked_mul(60).and_then(|seconds| Timestamp::from_second(seconds).ok());
    at.ok_or_else(|| Error::Row { what: "minute", text: minute.to_string() })
}
