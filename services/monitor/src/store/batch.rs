//! Many rows in one statement.
//!
//! SQLite prepares a few statements of fixed sizes once; Postgres gets an array for each column, which is one round trip
//! however many rows there are.

use std::sync::Arc;

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use windlass_core::JobId;

use super::database::Connection;
use super::sql::{Row, Value, add, without_nul};

/// Rows in one statement of SQLite: as many as there are of the largest, and the rest by the smaller ones. The largest, of
/// the widest table, is far from the 32,766 values that SQLite takes.
const SIZES: [usize; 5] = [256, 64, 16, 4, 1];
/// Rows in one statement of Postgres: some MB at most.
const ROWS: usize = 2000;
/// Ids in one look of SQLite; what is left over is filled with the nil id, so that one statement is prepared and no more.
const IDS: usize = 200;

/// What a column holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Type {
    Bool,
    Int,
    Real,
    Text,
    Bytes,
}

/// Inserts rows of these columns.
pub(super) struct Insert<const N: usize> {
    columns: [(&'static str, Type); N],
    sqlite: [Arc<str>; SIZES.len()],
    postgres: Arc<str>,
}

/// The values of one column.
enum Array {
    Bool(Vec<Option<bool>>),
    Int(Vec<Option<i64>>),
    Real(Vec<Option<f64>>),
    Text(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

// === impl Insert ===

impl<const N: usize> Insert<N> {
    /// Into which table, and what stands after the rows. The table may have no two of them under one key.
    pub(super) fn new(table: &str, columns: [(&'static str, Type); N], after: &str) -> Self {
        let names = columns.map(|(name, _)| name).join(", ");
        let row = format!("({})", ["?"; N].join(", "));
        let sqlite = SIZES.map(|rows| {
            let rows = vec![row.as_str(); rows].join(", ");
            format!("INSERT INTO {table} ({names}) VALUES {rows} {after}").into()
        });
        let arrays: Vec<_> =
            (1..).zip(columns).map(|(place, (_, of))| format!("${place}::{}[]", of.name())).collect();
        // In this order: it is the one in which rows are numbered.
        let postgres = format!(
            "INSERT INTO {table} ({names}) SELECT {names} FROM UNNEST({}) WITH ORDINALITY AS given ({names}, place) \
             ORDER BY place {after}",
            arrays.join(", ")
        );
        Self { columns, sqlite, postgres: postgres.into() }
    }

    pub(super) async fn execute<T>(
        &self,
        on: &mut Connection<'_>,
        rows: &[T],
        values: impl Fn(&T) -> [Value; N],
    ) -> Result<(), sqlx::Error> {
        match on {
            Connection::Sqlite(connection) => self.by_sizes(connection, rows, values).await,
            Connection::Postgres(connection) => self.by_arrays(connection, rows, values).await,
        }
    }

    async fn by_sizes<T>(
        &self,
        connection: &mut SqliteConnection,
        mut rows: &[T],
        values: impl Fn(&T) -> [Value; N],
    ) -> Result<(), sqlx::Error> {
        for (size, text) in SIZES.iter().zip(&self.sqlite) {
            while rows.len() >= *size {
                let (these, others) = rows.split_at(*size);
                let mut arguments = SqliteArguments::default();
                sqlx::Arguments::reserve(&mut arguments, size * N, 0);
                for value in these.iter().flat_map(&values) {
                    value.add_to_sqlite(&mut arguments)?;
                }
                let query = sqlx::query_with(AssertSqlSafe(Arc::clone(text)), arguments);
                query.execute(&mut *connection).await?;
                rows = others;
            }
        }
        Ok(())
    }

    async fn by_arrays<T>(
        &self,
        connection: &mut PgConnection,
        rows: &[T],
        values: impl Fn(&T) -> [Value; N],
    ) -> Result<(), sqlx::Error> {
        for these in rows.chunks(ROWS) {
            let mut arrays = self.columns.map(|(_, of)| Array::new(of, these.len()));
            for row in these {
                for (array, value) in arrays.iter_mut().zip(values(row)) {
                    array.push(value)?;
                }
            }
            let mut arguments = PgArguments::default();
            arrays.into_iter().try_for_each(|array| array.add_to(&mut arguments))?;
            let query = sqlx::query_with(AssertSqlSafe(Arc::clone(&self.postgres)), arguments);
            query.execute(&mut *connection).await?;
        }
        Ok(())
    }
}

// === impl Type ===

impl Type {
    /// In Postgres.
    fn name(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Int => "bigint",
            Self::Real => "double precision",
            Self::Text => "text",
            Self::Bytes => "bytea",
        }
    }
}

// === impl Array ===

impl Array {
    fn new(of: Type, rows: usize) -> Self {
        match of {
            Type::Bool => Self::Bool(Vec::with_capacity(rows)),
            Type::Int => Self::Int(Vec::with_capacity(rows)),
            Type::Real => Self::Real(Vec::with_capacity(rows)),
            Type::Text => Self::Text(Vec::with_capacity(rows)),
            Type::Bytes => Self::Bytes(Vec::with_capacity(rows)),
        }
    }

    fn push(&mut self, value: Value) -> Result<(), sqlx::Error> {
        match (self, value) {
            (Self::Bool(all), Value::Bool(value)) => all.push(value),
            (Self::Int(all), Value::Int(value)) => all.push(value),
            (Self::Real(all), Value::Real(value)) => all.push(value),
            (Self::Text(all), Value::Text(value)) => all.push(value.map(without_nul)),
            (Self::Bytes(all), Value::Bytes(value)) => all.push(value),
            (_, value) => return Err(sqlx::Error::Encode(format!("{value:?} is not of its column").into())),
        }
        Ok(())
    }

    fn add_to(self, arguments: &mut PgArguments) -> Result<(), sqlx::Error> {
        match self {
            Self::Bool(all) => add(arguments, all),
            Self::Int(all) => add(arguments, all),
            Self::Real(all) => add(arguments, all),
            Self::Text(all) => add(arguments, all),
            Self::Bytes(all) => add(arguments, all),
        }
    }
}

/// How many ids [`rows_of`] takes.
pub(super) fn most_ids(on: &Connection<'_>) -> usize {
    match on {
        Connection::Sqlite(_) => IDS,
        Connection::Postgres(_) => ROWS,
    }
}

/// The rows of these ids, [`most_ids`] at most; `text` ends before the ids.
pub(super) async fn rows_of(
    on: &mut Connection<'_>,
    text: &str,
    ids: &[JobId],
) -> Result<Vec<Row>, sqlx::Error> {
    match on {
        Connection::Sqlite(connection) => {
            let text = format!("{text} IN ({})", ["?"; IDS].join(", "));
            let mut arguments = SqliteArguments::default();
            for place in 0..IDS {
                let id = ids.get(place).copied().unwrap_or(JobId::nil());
                Value::from(id).add_to_sqlite(&mut arguments)?;
            }
            let rows = sqlx::query_with(AssertSqlSafe(text), arguments).fetch_all(&mut **connection).await?;
            Ok(rows.into_iter().map(Row::Sqlite).collect())
        }
        Connection::Postgres(connection) => {
            let mut arguments = PgArguments::default();
            let ids: Vec<Vec<u8>> = ids.iter().map(|id| id.as_uuid().as_bytes().to_vec()).collect();
            add(&mut arguments, ids)?;
            let text = AssertSqlSafe(format!("{text} = ANY($1)"));
            let rows = sqlx::query_with(text, arguments).fetch_all(&mut **connection).await?;
            Ok(rows.into_iter().map(Row::Postgres).collect())
        }
    }
}
