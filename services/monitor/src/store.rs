//! The monitor's database.
//!
//! SQLite, or Postgres: one set of statements (`sql`), and few places that know which it is (`database`, `batch`, the
//! migrations). One connection writes, so that load, fold and store of a batch see no other writer's half; others only
//! read, beside it. A commit is on the disk before the events are acknowledged: what the database forgets, nobody tells
//! again.

mod actions;
mod alerts;
pub(crate) mod bare;
mod batch;
mod carry;
mod children;
mod conservation;
mod course;
mod database;
mod failures;
pub mod figures;
mod filter;
mod find;
mod history;
mod list;
mod past;
mod project;
mod report;
mod reports;
mod retain;
mod rows;
mod sequences;
mod sql;
mod told;
mod write;

use std::time::Duration;

use sqlx::migrate::MigrateError;

pub use actions::Action;
pub(crate) use alerts::resumed;
pub use alerts::{FiredAlert, SilenceRow};
pub use conservation::{LostJob, Totals};
pub use course::{Buckets, Part, Parts};
pub use database::Database;
pub use failures::Failure;
pub use filter::Filter;
pub use list::{Cursor, JobRow, Page, QueueCounts};
pub use past::{Past, PastFilter, PastQueue};
pub use project::{Applied, Message};
pub use report::{Course, KindReport, Report, Spans, Summary};
pub use reports::{StoredReport, report_id};
pub use sequences::Gap;

use self::database::{Pool, Pooled};
use self::sql::{Columns, Row, Sql};

/// For a connection, and for a lock that another process holds.
const WAIT: Duration = Duration::from_secs(5);
/// For one reading statement: a page waits no longer.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// For one transaction that writes; it takes some tens of milliseconds.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    writer: Pool,
    readers: Pool,
}

/// The database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The setting names none.
    #[error(
        "{0} is not a database: expected a path, a URL as `sqlite:windlass-monitor.db`, or one as \
         `postgres://USER@HOST/DATABASE`"
    )]
    Url(String),
    /// It cannot be opened.
    #[error("the database {database} cannot be opened")]
    Open {
        /// As configured, without its password.
        database: String,
        /// Why.
        source: sqlx::Error,
    },
    /// A later program has changed its form.
    #[error(
        "the database has the schema version {version}, which this program does not know: use a newer one"
    )]
    Newer {
        /// The version that is not known.
        version: i64,
    },
    /// Its form could not be brought up to date.
    #[error("the database cannot be migrated")]
    Migrate(#[source] MigrateError),
    /// A statement failed.
    #[error("the database did not {0}")]
    Statement(&'static str, #[source] sqlx::Error),
    /// A statement took too long.
    #[error("the database did not {0} in time")]
    TimedOut(&'static str),
    /// A row is not what this program wrote.
    #[error("the database holds {what} that cannot be read: {text}")]
    Row {
        /// Which column or word.
        what: &'static str,
        /// What stands there.
        text: String,
    },
}

// === impl Store ===

impl Store {
    /// Opens the database that a path or a URL names.
    pub async fn open(database: &str) -> Result<Self, Error> {
        Self::of(Database::parse(database)?).await
    }

    /// Opens a database, makes the file if there is none, and brings its form up to date.
    pub async fn of(database: Database) -> Result<Self, Error> {
        let shown = database.to_string();
        let (writer, readers) = database.open().await?;
        let mut connection =
            writer.acquire().await.map_err(|source| Error::Open { database: shown, source })?;
        carry::over(&mut connection).await?;
        drop(connection);
        Ok(Self { writer, readers })
    }

    /// The writing connection, for one transaction.
    async fn writer(&self, what: &'static str) -> Result<Pooled, Error> {
        self.writer.acquire().await.map_err(|source| Error::Statement(what, source))
    }

    /// Gives the writing connection back. After a failure it is ended, and the next transaction gets a new one: a full
    /// disk has SQLite roll back by itself, of which the connection's count of open transactions knows nothing.
    async fn give_back<T>(&self, connection: Pooled, outcome: Result<T, Error>) -> Result<T, Error> {
        if outcome.is_err() {
            // Late or not, it is not used again; the failure that led here is the one to tell.
            let _ = tokio::time::timeout(WAIT, connection.close()).await;
        }
        outcome
    }

    /// Carries out one statement that writes; returns how many rows it touched.
    async fn write(&self, what: &'static str, sql: Sql) -> Result<u64, Error> {
        let mut writer = self.writer(what).await?;
        let outcome = bounded(what, WRITE_TIMEOUT, sql.execute(&mut writer.on())).await;
        self.give_back(writer, outcome).await
    }

    async fn read_all<T: Columns>(&self, what: &'static str, sql: Sql) -> Result<Vec<T>, Error> {
        let all = async { sql.all(&mut self.readers.acquire().await?.on()).await };
        bounded(what, READ_TIMEOUT, all).await
    }

    async fn read_optional<T: Columns>(&self, what: &'static str, sql: Sql) -> Result<Option<T>, Error> {
        Ok(self.read_all(what, sql).await?.into_iter().next())
    }

    async fn read_rows(&self, what: &'static str, sql: Sql) -> Result<Vec<Row>, Error> {
        let rows = async { sql.rows(&mut self.readers.acquire().await?.on()).await };
        bounded(what, READ_TIMEOUT, rows).await
    }

    /// Ends all connections; the write-ahead log of SQLite is merged into its file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Bounds a statement.
async fn bounded<T>(
    what: &'static str,
    limit: Duration,
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Error> {
    let outcome = async { statement.await.map_err(|source| Error::Statement(what, source)) };
    in_time(what, limit, outcome).await
}

/// Bounds more than one.
async fn in_time<T>(
    what: &'static str,
    limit: Duration,
    outcome: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(limit, outcome).await.map_err(|_| Error::TimedOut(what))?
}
