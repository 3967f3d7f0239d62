//! Rows of jobs as they are, for a measurement.

use super::batch::Type;
use super::database::Pool;
use super::sql::{Row as Stored, Sql, Value};
use super::write::{COLUMNS, STORE_MOVED};
use super::{Error, Store};

const MEASURE: &str = "measure bare inserts";

/// A job, in the order in which its columns are written.
pub(crate) struct Row([Value; COLUMNS.len()]);

// === impl Row ===

impl Row {
    fn read(row: &Stored) -> Result<Self, sqlx::Error> {
        let mut values = COLUMNS.map(|_| Value::Bool(None));
        for (value, (name, of)) in values.iter_mut().zip(COLUMNS) {
            *value = match of {
                Type::Bool => Value::Bool(row.get(name)?),
                Type::Int => Value::Int(row.get(name)?),
                Type::Real => Value::Real(row.get(name)?),
                Type::Text => Value::Text(row.get(name)?),
                Type::Bytes => Value::Bytes(row.get(name)?),
            };
        }
        Ok(Self(values))
    }
}

// === impl Store ===

impl Store {
    /// The jobs after this one, at most so many, and the last of them.
    pub(crate) async fn bare_rows(&self, after: i64, limit: u32) -> Result<(Vec<Row>, i64), Error> {
        const SQL: &str = "SELECT * FROM jobs WHERE seq > $1 ORDER BY seq LIMIT $2";
        let failed = |source| Error::Statement(MEASURE, source);
        let rows = self.read_rows(MEASURE, Sql::new(SQL).bind(after).bind(limit)).await?;
        let last = rows.last().map_or(Ok(after), |row| row.get("seq")).map_err(failed)?;
        Ok((rows.iter().map(Row::read).collect::<Result<_, _>>().map_err(failed)?, last))
    }

    /// Inserts them in one transaction.
    pub(crate) async fn insert_bare(&self, rows: &[Row]) -> Result<(), Error> {
        let mut writer = self.writer(MEASURE).await?;
        let outcome = async {
            let mut transaction = writer.begin().await?;
            STORE_MOVED.execute(&mut transaction.on(), rows, |row| row.0.clone()).await?;
            transaction.commit().await
        };
        let outcome = super::bounded(MEASURE, super::WRITE_TIMEOUT, outcome).await;
        self.give_back(writer, outcome).await
    }

    /// What it takes on the disk, indexes included.
    pub(crate) async fn bytes(&self) -> Result<u64, Error> {
        let sql = match &self.readers {
            Pool::Sqlite(_) => "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
            Pool::Postgres(_) => "SELECT pg_database_size(current_database())",
        };
        let bytes: Option<(i64,)> = self.read_optional(MEASURE, Sql::new(sql)).await?;
        Ok(bytes.map_or(0, |(bytes,)| bytes.unsigned_abs()))
    }
}
