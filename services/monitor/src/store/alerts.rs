//! Alerts that have fired, and silences.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use windlass_core::alert::{Alert, Breach, Silence};

use super::rows::{from_ns, to_ns};
use super::sql::Sql;
use super::{Error, Store, WRITE_TIMEOUT, bounded};

const WRITE: &str = "record an alert";
const TELL: &str = "tell the alerts";

/// An alert that has fired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FiredAlert {
    /// The rule that it broke.
    pub rule: String,
    /// Of what: a queue, a kind, or the stream of events.
    pub subject: String,
    /// What was measured when it fired.
    pub value: f64,
    /// For people.
    pub detail: String,
    /// Since when the rule was broken.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// When that had lasted long enough.
    #[schema(value_type = String, format = DateTime)]
    pub fired_at: Timestamp,
    /// When it was over; null while it is not.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub resolved_at: Option<Timestamp>,
    /// A silence holds for it: nobody is told.
    pub silenced: bool,
}

/// What is not to be told for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SilenceRow {
    /// To end it by.
    pub id: i64,
    /// Of this rule; null: of all.
    #[schema(required)]
    pub rule: Option<String>,
    /// Of this subject; null: of all.
    #[schema(required)]
    pub subject: Option<String>,
    /// For people.
    pub reason: String,
    /// Until then.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
}

// === impl FiredAlert ===

impl FiredAlert {
    /// An alert as it is recorded; none if it has not fired.
    pub fn of(alert: &Alert, resolved_at: Option<Timestamp>) -> Option<Self> {
        let Alert { breach, since, fired_at } = alert.clone();
        let Breach { rule, subject, value, detail, .. } = breach;
        Some(Self { rule, subject, value, detail, since, fired_at: fired_at?, resolved_at, silenced: false })
    }
}

// === impl SilenceRow ===

impl SilenceRow {
    /// What it covers.
    pub fn silence(&self) -> Silence {
        Silence { rule: self.rule.clone(), subject: self.subject.clone(), until: self.until }
    }
}

// === impl Store ===

impl Store {
    /// Records that an alert has fired, or is over.
    pub async fn record_alert(&self, alert: &FiredAlert) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO alerts (rule, subject, value, detail, since_ns, fired_at_ns, resolved_at_ns) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (fired_at_ns, rule, subject) DO UPDATE SET resolved_at_ns = excluded.resolved_at_ns";
        let sql = Sql::new(SQL)
            .bind(alert.rule.as_str())
            .bind(alert.subject.as_str())
            .bind(alert.value)
            .bind(alert.detail.as_str())
            .bind(to_ns(alert.since))
            .bind(to_ns(alert.fired_at))
            .bind(alert.resolved_at.map(to_ns));
        self.write(WRITE, sql).await.map(|_| ())
    }

    /// Alerts that are not over, or the latest that are; newest first.
    pub async fn alerts(&self, resolved: bool, limit: u32) -> Result<Vec<FiredAlert>, Error> {
        type Row = (String, String, f64, String, i64, i64, Option<i64>);
        const SQL: &str = "SELECT rule, subject, value, detail, since_ns, fired_at_ns, resolved_at_ns FROM alerts \
             WHERE (resolved_at_ns IS NOT NULL) = $1 ORDER BY fired_at_ns DESC LIMIT $2";
        let sql = Sql::new(SQL).bind(resolved).bind(limit);
        let alert = |(rule, subject, value, detail, since, fired, resolved): Row| {
            Ok(FiredAlert {
                rule,
                subject,
                value,
                detail,
                since: from_ns("since_ns", since)?,
                fired_at: from_ns("fired_at_ns", fired)?,
                resolved_at: resolved.map(|nanos| from_ns("resolved_at_ns", nanos)).transpose()?,
                silenced: false,
            })
        };
        self.read_all::<Row>(TELL, sql).await?.into_iter().map(alert).collect()
    }

    /// Keeps alerts from being told; returns the silence's id.
    pub async fn silence(&self, silence: &Silence, reason: &str) -> Result<i64, Error> {
        const SQL: &str =
            "INSERT INTO silences (rule, subject, reason, until_ns) VALUES ($1, $2, $3, $4) RETURNING id";
        let sql = Sql::new(SQL)
            .bind(silence.rule.as_deref())
            .bind(silence.subject.as_deref())
            .bind(reason)
            .bind(to_ns(silence.until));
        let mut writer = self.writer(WRITE).await?;
        let made = async { sql.optional::<(i64,)>(&mut writer.on()).await?.ok_or(sqlx::Error::RowNotFound) };
        let outcome = bounded(WRITE, WRITE_TIMEOUT, made).await.map(|(id,)| id);
        self.give_back(writer, outcome).await
    }

    /// Ends a silence; false if there is none of this id.
    pub async fn end_silence(&self, id: i64) -> Result<bool, Error> {
        let sql = Sql::new("DELETE FROM silences WHERE id = $1").bind(id);
        Ok(self.write(WRITE, sql).await? > 0)
    }

    /// The silences that hold at this instant.
    pub async fn silences(&self, now: Timestamp) -> Result<Vec<SilenceRow>, Error> {
        type Row = (i64, Option<String>, Option<String>, String, i64);
        const SQL: &str = "SELECT id, rule, subject, reason, until_ns FROM silences WHERE until_ns > $1 ORDER BY id LIMIT 1000";
        let sql = Sql::new(SQL).bind(to_ns(now));
        let row = |(id, rule, subject, reason, until): Row| {
            Ok(SilenceRow { id, rule, subject, reason, until: from_ns("until_ns", until)? })
        };
        self.read_all::<Row>(TELL, sql).await?.into_iter().map(row).collect()
    }

    /// What happened since this minute, by queue, kind and [`super::figures::What`].
    pub async fn happened(&self, since: Timestamp) -> Result<Vec<(String, String, String, u64)>, Error> {
        const SQL: &str = "SELECT queue, kind, what, CAST(SUM(count) AS BIGINT) FROM figures \
             WHERE minute >= $1 AND what NOT IN ('wait', 'run') GROUP BY queue, kind, what";
        let sql = Sql::new(SQL).bind(super::figures::minute(since));
        let rows: Vec<(String, String, String, i64)> = self.read_all("sum up what happened", sql).await?;
        Ok(rows
            .into_iter()
            .map(|(queue, kind, what, count)| (queue, kind, what, count.unsigned_abs()))
            .collect())
    }
}

/// As it stands in the database: it has fired, so how long it had to last is no matter any more.
pub(crate) fn resumed(alert: FiredAlert) -> Alert {
    let FiredAlert { rule, subject, value, detail, since, fired_at, .. } = alert;
    Alert {
        breach: Breach { rule, subject, value, detail, lasts: Duration::ZERO },
        since,
        fired_at: Some(fired_at),
    }
}
