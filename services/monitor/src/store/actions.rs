//! The log of actions: who did what to which, and what came of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::rows::{from_ns, to_ns};
use super::sql::Sql;
use super::{Error, Store};

const WRITE: &str = "log an action";
const TELL: &str = "tell the actions";
/// Before anything came of it.
const ASKED: &str = "asked";

/// Something that was done, or asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Action {
    /// A UUIDv7.
    #[schema(value_type = String, format = "uuid")]
    pub id: Uuid,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who asked: the name of their token; `api` or `dashboard` where it is the shared one.
    pub who: String,
    /// What they may do: `viewer`, `operator` or `admin`.
    pub role: String,
    /// What was asked for, as `redrive`.
    pub action: String,
    /// To what: a job's id, a queue, a filter.
    pub target: BTreeMap<String, String>,
    /// Why, for people.
    pub reason: String,
    /// How many were meant; null where that is not known.
    #[schema(required)]
    pub count: Option<u64>,
    /// What came of it: `done`, or why not; `asked` where the monitor was stopped before it knew.
    pub result: String,
}

// === impl Action ===

impl Action {
    /// Asked for now.
    pub fn asked(
        who: &str,
        role: &str,
        action: &str,
        target: BTreeMap<String, String>,
        reason: &str,
    ) -> Self {
        Self {
            id: Uuid::now_v7(),
            at: Timestamp::now(),
            who: who.to_owned(),
            role: role.to_owned(),
            action: action.to_owned(),
            target,
            reason: reason.to_owned(),
            count: None,
            result: ASKED.to_owned(),
        }
    }
}

// === impl Store ===

impl Store {
    /// Logs that something was asked for.
    pub async fn log_action(&self, action: &Action) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO actions (id, at_ns, who, role, action, target, reason, count, result) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let sql = Sql::new(SQL)
            .bind(action.id.to_string())
            .bind(to_ns(action.at))
            .bind(action.who.as_str())
            .bind(action.role.as_str())
            .bind(action.action.as_str())
            .bind(serde_json::to_string(&action.target).unwrap_or_default())
            .bind(action.reason.as_str())
            .bind(action.count.map(|count| i64::try_from(count).unwrap_or(i64::MAX)))
            .bind(action.result.as_str());
        self.write(WRITE, sql).await.map(|_| ())
    }

    /// Logs what came of it.
    pub async fn end_action(&self, id: Uuid, count: Option<u64>, result: &str) -> Result<(), Error> {
        const SQL: &str = "UPDATE actions SET count = $1, result = $2 WHERE id = $3";
        let count = count.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        let sql = Sql::new(SQL).bind(count).bind(result).bind(id.to_string());
        self.write(WRITE, sql).await.map(|_| ())
    }

    /// The latest that were asked for before this one, or the latest of all; the newest first.
    pub async fn actions(&self, before: Option<Uuid>, limit: u32) -> Result<Vec<Action>, Error> {
        type Row = (String, i64, String, String, String, String, String, Option<i64>, String);
        const SQL: &str = "SELECT id, at_ns, who, role, action, target, reason, count, result FROM actions \
             WHERE id < $1 ORDER BY id DESC LIMIT $2";
        let before = before.unwrap_or(Uuid::max());
        let sql = Sql::new(SQL).bind(before.to_string()).bind(limit);
        let action = |(id, at, who, role, action, target, reason, count, result): Row| {
            Ok(Action {
                id: id.parse().map_err(|_| Error::Row { what: "id", text: id })?,
                at: from_ns("at_ns", at)?,
                who,
                role,
                action,
                target: serde_json::from_str(&target)
                    .map_err(|_| Error::Row { what: "target", text: target })?,
                reason,
                count: count.map(i64::unsigned_abs),
                result,
            })
        };
        self.read_all::<Row>(TELL, sql).await?.into_iter().map(action).collect()
    }

    /// Removes what was asked for before then, at most so many.
    pub async fn remove_actions(&self, before: Timestamp, limit: u32) -> Result<usize, Error> {
        const SQL: &str =
            "DELETE FROM actions WHERE id IN (SELECT id FROM actions WHERE at_ns < $1 ORDER BY id LIMIT $2)";
        let removed = self.write(WRITE, Sql::new(SQL).bind(to_ns(before)).bind(limit)).await?;
        Ok(usize::try_from(removed).unwrap_or(usize::MAX))
    }
}
