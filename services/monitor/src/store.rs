//! The monitor's database.
//!
//! One connection writes, so that load, fold and store of a batch see no other writer's half; others only read, beside
//! it (write-ahead log). A commit is on the disk before the events are acknowledged (`synchronous = FULL`): what the
//! database forgets, nobody tells again.

mod actions;
mod alerts;
pub(crate) mod bare;
mod carry;
mod conservation;
mod course;
pub mod figures;
mod find;
mod history;
mod list;
mod project;
mod report;
mod retain;
mod rows;
mod sequences;
mod told;
mod write;

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

pub use actions::Action;
pub(crate) use alerts::resumed;
pub use alerts::{FiredAlert, SilenceRow};
pub use conservation::{LostJob, Totals};
pub use course::{Buckets, Part, Parts};
pub use list::{Cursor, Filter, JobRow, Page, QueueCounts};
pub use project::{Applied, Message};
pub use report::{Course, Failure, KindReport, Report, Spans};
pub use sequences::Gap;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");
/// For a connection, and for a lock that another process holds.
const WAIT: Duration = Duration::from_secs(5);
/// For one reading statement: a page waits no longer.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
}

/// The database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The setting names no file.
    #[error("`{0}` is not a database: expected a path, or a URL as `sqlite:windlass-monitor.db`")]
    Url(String),
    /// It cannot be opened.
    #[error("the database {database} cannot be opened")]
    Open {
        /// As configured.
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
    /// Opens the database, makes it if there is none, and brings its form up to date.
    pub async fn open(database: &str) -> Result<Self, Error> {
        let options = connect_options(database)?;
        let open = |source| Error::Open { database: database.to_owned(), source };
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(WAIT)
            .connect_with(cached(options.clone(), WRITER_CACHE_KIB))
            .await
            .map_err(open)?;
        MIGRATIONS.run(&writer).await.map_err(|error| match error {
            MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => {
                Error::Newer { version }
            }
            other => Error::Migrate(other),
        })?;
        carry::over(&mut *writer.acquire().await.map_err(open)?).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(WAIT)
            .connect_with(cached(options, READER_CACHE_KIB).read_only(true).create_if_missing(false))
            .await
            .map_err(open)?;
        Ok(Self { writer, readers })
    }

    /// The writing connection, for one transaction.
    async fn writer(&self, what: &'static str) -> Result<PoolConnection<Sqlite>, Error> {
        self.writer.acquire().await.map_err(|source| Error::Statement(what, source))
    }

    /// Gives the writing connection back. After a failure it is ended, and the next transaction gets a new one: a full
    /// disk has SQLite roll back by itself, of which the connection's count of open transactions knows nothing.
    async fn give_back<T>(
        &self,
        connection: PoolConnection<Sqlite>,
        outcome: Result<T, Error>,
    ) -> Result<T, Error> {
        if outcome.is_err() {
            // Late or not, it is not used again; the failure that led here is the one to tell.
            let _ = tokio::time::timeout(WAIT, connection.close()).await;
        }
        outcome
    }

    /// Ends all connections, the write-ahead log merged into the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// What the cache of the writing connection may take: the inner pages of all indexes of some millions of jobs.
const WRITER_CACHE_KIB: u32 = 32 * 1024;
/// And that of each reading one.
const READER_CACHE_KIB: u32 = 4 * 1024;
/// Pages in the write-ahead log after which it is merged into the file: pages that are written again and again are
/// merged once.
const CHECKPOINT_PAGES: u32 = 8000;

/// Reads the setting `database`; nothing is opened.
pub fn connect_options(database: &str) -> Result<SqliteConnectOptions, Error> {
    let url = || Error::Url(database.to_owned());
    // A database in memory has no second connection to read by, and forgets what was acknowledged.
    if database.trim().is_empty() || database.contains(":memory:") || database.contains("mode=memory") {
        return Err(url());
    }
    let options = if database.starts_with("sqlite:") {
        SqliteConnectOptions::from_str(database).map_err(|_| url())?
    } else if database.contains("://") {
        return Err(url());
    } else {
        SqliteConnectOptions::new().filename(database)
    };
    Ok(options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
        .busy_timeout(WAIT))
}

fn cached(options: SqliteConnectOptions, kib: u32) -> SqliteConnectOptions {
    options.pragma("cache_size", format!("-{kib}"))
}

/// Bounds a reading statement.
async fn read<T>(
    what: &'static str,
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(READ_TIMEOUT, statement)
        .await
        .map_err(|_| Error::TimedOut(what))?
        .map_err(|source| Error::Statement(what, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_are_databases() {
        for good in
            ["windlass-monitor.db", "/var/lib/windlass/monitor.db", "sqlite:m.db", "sqlite://m.db?mode=rwc"]
        {
            assert!(connect_options(good).is_ok(), "{good}");
        }
        for bad in ["", " ", ":memory:", "sqlite::memory:", "sqlite:x?mode=memory", "postgres://localhost/x"]
        {
            assert!(matches!(connect_options(bad), Err(Error::Url(_))), "{bad}");
        }
    }
}
