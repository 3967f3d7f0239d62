//! Which database, and how it is opened.

use std::fmt::{self, Display};
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, Postgres};
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::{Error, READ_TIMEOUT, WAIT, WRITE_TIMEOUT};

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("./migrations/postgres");

const READERS: u32 = 4;
/// What the cache of the writing connection may take: the inner pages of all indexes of some millions of jobs.
const WRITER_CACHE_KIB: u32 = 32 * 1024;
/// And that of each reading one.
const READER_CACHE_KIB: u32 = 4 * 1024;
/// Pages in the write-ahead log after which it is merged into the file: pages that are written again and again are
/// merged once.
const CHECKPOINT_PAGES: u32 = 8000;
/// For another monitor that brings the same database up to date.
const MIGRATION_WAIT: Duration = Duration::from_mins(2);
/// A transaction of a monitor that was cut off ends after this.
const IDLE: Duration = Duration::from_secs(30);

/// A database, as configured.
#[derive(Debug, Clone)]
pub struct Database(Options);

#[derive(Debug, Clone)]
enum Options {
    Sqlite(Box<SqliteConnectOptions>),
    Postgres(Box<PgConnectOptions>),
}

/// Connections that are used again.
#[derive(Debug, Clone)]
pub(super) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A connection of a pool.
pub(super) enum Pooled {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

/// Undone unless it is committed.
pub(super) enum Transaction<'c> {
    Sqlite(sqlx::Transaction<'c, Sqlite>),
    Postgres(sqlx::Transaction<'c, Postgres>),
}

/// Where statements are carried out.
pub(super) enum Connection<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

// === impl Database ===

impl Database {
    /// Reads the setting `database`; nothing is opened.
    pub fn parse(database: &str) -> Result<Self, Error> {
        let scheme = database.split_once(':').map(|(scheme, _)| scheme);
        if let Some(scheme @ ("postgres" | "postgresql")) = scheme {
            // It may have a password, which no message may show.
            let options = PgConnectOptions::from_str(database)
                .map_err(|_| Error::Url(format!("a URL that begins with {scheme}:")))?;
            return Ok(Self(Options::Postgres(Box::new(options.application_name("windlass-monitor")))));
        }
        let url = || Error::Url(format!("`{database}`"));
        // A database in memory has no second connection to read by, and forgets what was acknowledged.
        if database.trim().is_empty() || database.contains(":memory:") || database.contains("mode=memory") {
            return Err(url());
        }
        let options = if scheme == Some("sqlite") {
            SqliteConnectOptions::from_str(database).map_err(|_| url())?
        } else if database.contains("://") {
            return Err(Error::Url(format!("a URL that begins with {}:", scheme.unwrap_or_default())));
        } else {
            SqliteConnectOptions::new().filename(database)
        };
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
            .busy_timeout(WAIT);
        Ok(Self(Options::Sqlite(Box::new(options))))
    }

    /// With this password, where it is a server's.
    #[must_use]
    pub fn with_password(self, password: &str) -> Self {
        Self(match self.0 {
            Options::Postgres(options) => Options::Postgres(Box::new(options.password(password))),
            other @ Options::Sqlite(_) => other,
        })
    }

    /// Whether it is a server's, and no file.
    pub fn is_postgres(&self) -> bool {
        matches!(self.0, Options::Postgres(_))
    }

    /// Makes another database on its server; returns its URL, the password included.
    pub(crate) async fn create_beside(&self, name: &str) -> Result<String, Error> {
        let options = self.administer(format!("CREATE DATABASE {name}")).await?;
        Ok(options.database(name).to_url_lossy().to_string())
    }

    /// Removes such a database, whoever is connected to it.
    pub(crate) async fn drop_beside(&self, name: &str) -> Result<(), Error> {
        self.administer(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.map(|_| ())
    }

    async fn administer(&self, sql: String) -> Result<PgConnectOptions, Error> {
        let Options::Postgres(options) = &self.0 else {
            return Err(Error::Url(format!("{self}, which is no server,")));
        };
        let failed = |source| Error::Open { database: self.to_string(), source };
        let mut connection = Box::pin(options.connect()).await.map_err(failed)?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.map_err(failed)?;
        connection.close().await.map_err(failed)?;
        Ok(PgConnectOptions::clone(options))
    }

    /// Brings its form up to date, and makes it if there is none; returns the pools of who writes and of who reads.
    pub(super) async fn open(self) -> Result<(Pool, Pool), Error> {
        let shown = self.to_string();
        let open = |source| Error::Open { database: shown.clone(), source };
        match self.0 {
            Options::Sqlite(options) => {
                let cached =
                    |kib: u32| SqliteConnectOptions::clone(&options).pragma("cache_size", format!("-{kib}"));
                let writer = SqlitePoolOptions::new().max_connections(1).acquire_timeout(WAIT);
                let writer = writer.connect_with(cached(WRITER_CACHE_KIB)).await.map_err(open)?;
                SQLITE_MIGRATIONS.run(&writer).await.map_err(migrated)?;
                let readers = SqlitePoolOptions::new().max_connections(READERS).acquire_timeout(WAIT);
                let options = cached(READER_CACHE_KIB).read_only(true).create_if_missing(false);
                let readers = readers.connect_with(options).await.map_err(open)?;
                Ok((Pool::Sqlite(writer), Pool::Sqlite(readers)))
            }
            Options::Postgres(options) => {
                // One monitor at a time: others that start meanwhile wait, and find it done.
                let patient =
                    PgConnectOptions::clone(&options).options([("lock_timeout", ms(MIGRATION_WAIT))]);
                let migrator = PgPoolOptions::new().max_connections(1).acquire_timeout(WAIT);
                let migrator = Box::pin(migrator.connect_with(patient)).await.map_err(open)?;
                let outcome = POSTGRES_MIGRATIONS.run(&migrator).await.map_err(migrated);
                migrator.close().await;
                outcome?;
                let with =
                    |settings: &[(&'static str, String)]| options.clone().options(settings.iter().cloned());
                let writer = PgPoolOptions::new().max_connections(1).acquire_timeout(WAIT);
                let writer = Box::pin(writer.connect_with(with(&writing()))).await.map_err(open)?;
                let readers = PgPoolOptions::new().max_connections(READERS).acquire_timeout(WAIT);
                let readers = Box::pin(readers.connect_with(with(&reading()))).await.map_err(open)?;
                Ok((Pool::Postgres(writer), Pool::Postgres(readers)))
            }
        }
    }
}

/// Without a password.
impl Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Options::Sqlite(options) => write!(f, "{}", options.get_filename().display()),
            Options::Postgres(options) => {
                let database = options.get_database().unwrap_or_else(|| options.get_username());
                let (user, port) = (options.get_username(), options.get_port());
                match options.get_socket() {
                    Some(socket) => write!(f, "postgres://{user}@/{database}?host={}", socket.display()),
                    None => write!(f, "postgres://{user}@{}:{port}/{database}", options.get_host()),
                }
            }
        }
    }
}

fn migrated(error: MigrateError) -> Error {
    match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => {
            Error::Newer { version }
        }
        other => Error::Migrate(other),
    }
}

/// What every session of Postgres is told: plans are made for the values at hand, as tables grow by millions within
/// the life of a session, and for disks that seek fast.
fn session() -> [(&'static str, String); 3] {
    let custom = ("plan_cache_mode", "force_custom_plan".to_owned());
    [custom, ("random_page_cost", "1.1".to_owned()), ("jit", "off".to_owned())]
}

/// Of the session that writes: a commit is on the disk before it is told.
fn writing() -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("synchronous_commit", "on".to_owned()),
        ("statement_timeout", ms(WRITE_TIMEOUT)),
        ("lock_timeout", ms(WAIT)),
        ("idle_in_transaction_session_timeout", ms(IDLE)),
    ];
    all.extend(session());
    all
}

fn reading() -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("default_transaction_read_only", "on".to_owned()),
        ("statement_timeout", ms(READ_TIMEOUT)),
        ("lock_timeout", ms(WAIT)),
    ];
    all.extend(session());
    all
}

fn ms(duration: Duration) -> String {
    duration.as_millis().to_string()
}

// === impl Pool ===

impl Pool {
    pub(super) async fn acquire(&self) -> Result<Pooled, sqlx::Error> {
        match self {
            // To make a connection is a large future, and rare.
            Self::Sqlite(pool) => Box::pin(pool.acquire()).await.map(Pooled::Sqlite),
            Self::Postgres(pool) => Box::pin(pool.acquire()).await.map(Pooled::Postgres),
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }

    /// A word for the planner of SQLite, which knows nothing of how many rows there are; nothing for Postgres.
    pub(super) fn hint(&self, text: &'static str) -> &'static str {
        if matches!(self, Self::Sqlite(_)) { text } else { "" }
    }
}

// === impl Pooled ===

impl Pooled {
    pub(super) fn on(&mut self) -> Connection<'_> {
        match self {
            Self::Sqlite(connection) => Connection::Sqlite(connection),
            Self::Postgres(connection) => Connection::Postgres(connection),
        }
    }

    /// Begins to write: nobody else does until it ends, so what it reads stays as it is.
    pub(super) async fn begin(&mut self) -> Result<Transaction<'_>, sqlx::Error> {
        // The key says nothing but "the monitor's writer": the bytes of `windlass`.
        const POSTGRES: &str = "BEGIN; SELECT pg_advisory_xact_lock(8604529940662154099)";
        match self {
            Self::Sqlite(connection) => {
                connection.begin_with("BEGIN IMMEDIATE").await.map(Transaction::Sqlite)
            }
            Self::Postgres(connection) => connection.begin_with(POSTGRES).await.map(Transaction::Postgres),
        }
    }

    /// Begins to read: what is read until it ends is of one moment.
    pub(super) async fn snapshot(&mut self) -> Result<Transaction<'_>, sqlx::Error> {
        match self {
            Self::Sqlite(connection) => connection.begin().await.map(Transaction::Sqlite),
            Self::Postgres(connection) => connection
                .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ")
                .await
                .map(Transaction::Postgres),
        }
    }

    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
        }
    }
}

// === impl Transaction ===

impl Transaction<'_> {
    pub(super) fn on(&mut self) -> Connection<'_> {
        match self {
            Self::Sqlite(transaction) => Connection::Sqlite(transaction),
            Self::Postgres(transaction) => Connection::Postgres(transaction),
        }
    }

    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres(transaction) => transaction.commit().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_and_servers_are_databases() {
        for (good, shown) in [
            ("windlass-monitor.db", "windlass-monitor.db"),
            ("/var/lib/windlass/monitor.db", "/var/lib/windlass/monitor.db"),
            ("sqlite:m.db", "m.db"),
            ("sqlite://m.db?mode=rwc", "m.db"),
            ("postgres://me:secret@db.example.org/windlass", "postgres://me@db.example.org:5432/windlass"),
            (
                "postgresql://db:6000/jobs?user=me&password=secret&sslmode=verify-full",
                "postgres://me@db:6000/jobs",
            ),
            ("postgres:///jobs?host=/run/postgresql&user=me", "postgres://me@/jobs?host=/run/postgresql"),
        ] {
            assert_eq!(Database::parse(good).unwrap().to_string(), shown);
        }
        for bad in ["", " ", ":memory:", "sqlite::memory:", "sqlite:x?mode=memory", "mysql://localhost/x"] {
            assert!(matches!(Database::parse(bad), Err(Error::Url(_))), "{bad}");
        }
    }
}
