//! Reports that are made on a schedule: who makes which, and those that are made.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rows::{from_ns, to_ns};
use super::sql::Sql;
use super::{Error, Store};
use crate::report::{Bundle, What};

const WRITE: &str = "store a report";
const TELL: &str = "tell the reports";

/// A report that is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredReport {
    /// As `daily-20260131T060000Z`.
    pub id: String,
    /// Of what.
    pub what: What,
    /// The instant that it was made for: it tells what happened up to then.
    #[schema(value_type = String, format = DateTime)]
    pub due_at: Timestamp,
    /// When it was made: later, where no monitor ran at the instant.
    #[schema(value_type = String, format = DateTime)]
    pub made_at: Timestamp,
    /// What came of sending it, `delivered` or why not; null where it is sent nowhere, or not yet.
    #[schema(required)]
    pub delivery: Option<String>,
}

/// The id of a report for an instant.
pub fn report_id(what: What, due_at: Timestamp) -> String {
    format!("{what}-{}", due_at.strftime("%Y%m%dT%H%M%SZ"))
}

type Row = (String, String, i64, i64, Option<String>);

// === impl Store ===

impl Store {
    /// Whether a report has been made for this instant, and there is nothing left to do about it.
    pub async fn is_report_done(&self, id: &str) -> Result<bool, Error> {
        const SQL: &str = "SELECT 1 FROM reports WHERE id = $1 AND done_ns IS NOT NULL";
        let rows: Vec<(i32,)> = self.read_all(TELL, Sql::new(SQL).bind(id)).await?;
        Ok(!rows.is_empty())
    }

    /// Takes it upon the caller to make and send a report until then; false if another has done so, or does.
    pub async fn claim_report(
        &self,
        id: &str,
        what: What,
        due_at: Timestamp,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, Error> {
        const SQL: &str = "INSERT INTO reports (id, what, due_ns, claimed_until_ns) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (id) DO UPDATE SET claimed_until_ns = excluded.claimed_until_ns \
             WHERE reports.done_ns IS NULL AND reports.claimed_until_ns <= $5";
        let sql = Sql::new(SQL).bind(id).bind(what.as_str()).bind(to_ns(due_at)).bind(to_ns(until));
        Ok(self.write(WRITE, sql.bind(to_ns(now))).await? == 1)
    }

    /// Lets others try at once what could not be made.
    pub async fn release_report(&self, id: &str) -> Result<(), Error> {
        const SQL: &str = "UPDATE reports SET claimed_until_ns = 0 WHERE id = $1 AND done_ns IS NULL";
        self.write(WRITE, Sql::new(SQL).bind(id)).await.map(|_| ())
    }

    /// Stores what a report says, if nobody has yet.
    pub async fn store_report(&self, id: &str, content: &Bundle) -> Result<(), Error> {
        const SQL: &str = "UPDATE reports SET content = $1, made_ns = $2 WHERE id = $3 AND content IS NULL";
        let text = serde_json::to_string(content).unwrap_or_default();
        let sql = Sql::new(SQL).bind(text).bind(to_ns(content.made_at)).bind(id);
        self.write(WRITE, sql).await.map(|_| ())
    }

    /// There is nothing left to do about it.
    pub async fn end_report(&self, id: &str, delivery: Option<&str>, now: Timestamp) -> Result<(), Error> {
        const SQL: &str = "UPDATE reports SET done_ns = $1, delivery = $2 WHERE id = $3";
        let sql = Sql::new(SQL).bind(to_ns(now)).bind(delivery.map(str::to_owned)).bind(id);
        self.write(WRITE, sql).await.map(|_| ())
    }

    /// The reports that are made, the latest instant first.
    pub async fn reports(&self, what: Option<What>, limit: u32) -> Result<Vec<StoredReport>, Error> {
        const SQL: &str = "SELECT id, what, due_ns, made_ns, delivery FROM reports \
             WHERE made_ns IS NOT NULL AND ($1 = '' OR what = $1) ORDER BY due_ns DESC, id LIMIT $2";
        let what = what.map_or("", What::as_str);
        let rows: Vec<Row> = self.read_all(TELL, Sql::new(SQL).bind(what).bind(limit)).await?;
        rows.into_iter().map(stored).collect()
    }

    /// One that is made, and what it says.
    pub async fn stored_report(&self, id: &str) -> Result<Option<(StoredReport, Bundle)>, Error> {
        type Whole = (String, String, i64, i64, Option<String>, String);
        const SQL: &str = "SELECT id, what, due_ns, made_ns, delivery, content FROM reports \
             WHERE id = $1 AND made_ns IS NOT NULL AND content IS NOT NULL";
        let mut rows: Vec<Whole> = self.read_all(TELL, Sql::new(SQL).bind(id)).await?;
        let Some((id, what, due, made, delivery, content)) = rows.pop() else { return Ok(None) };
        let bundle = serde_json::from_str(&content).map_err(|error| {
            tracing::warn!(id, %error, "a stored report cannot be read");
            Error::Row { what: "content", text: id.clone() }
        })?;
        Ok(Some((stored((id, what, due, made, delivery))?, bundle)))
    }

    /// Removes all but the latest so many of one sort; returns their ids.
    pub async fn remove_reports(&self, what: What, keep: u32) -> Result<Vec<String>, Error> {
        const OLD: &str = "SELECT id FROM reports WHERE what = $1 AND id NOT IN \
             (SELECT id FROM reports WHERE what = $1 ORDER BY due_ns DESC LIMIT $2) ORDER BY id";
        let sql = Sql::new(OLD).bind(what.as_str()).bind(keep);
        let old: Vec<(String,)> = self.read_all(TELL, sql).await?;
        let mut removed = Vec::new();
        for (id,) in old {
            self.write(WRITE, Sql::new("DELETE FROM reports WHERE id = $1").bind(id.as_str())).await?;
            removed.push(id);
        }
        Ok(removed)
    }
}

fn stored((id, what, due, made, delivery): Row) -> Result<StoredReport, Error> {
    let what = what.parse().map_err(|_| Error::Row { what: "what", text: what })?;
    Ok(StoredReport {
        id,
        what,
        due_at: from_ns("due_ns", due)?,
        made_at: from_ns("made_ns", made)?,
        delivery,
    })
}
