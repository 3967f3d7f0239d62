//! Statements for both databases.
//!
//! Both read the same SQL, with `$1` for the first value, so a statement is written once. What differs is here, in
//! `batch` and in `database`; and where SQLite's planner needs a word, [`Pool::hint`](super::database::Pool::hint).

use std::borrow::Cow;

use futures::TryStreamExt as _;
use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, ColumnIndex, Decode, Encode, FromRow, Row as _, Type};
use windlass_core::JobId;

use super::database::Connection;

/// A value of a statement.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Bool(Option<bool>),
    Int(Option<i64>),
    Real(Option<f64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// A statement with its values.
pub(super) struct Sql {
    text: Cow<'static, str>,
    values: Vec<Value>,
}

/// A row, to be read by the names of its columns.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What can be read from one column.
pub(super) trait Column:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}
impl<T> Column for T where
    T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

/// What can be read from a row by the order of its columns.
pub(super) trait Columns:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}
impl<T> Columns for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

// === impl Value ===

macro_rules! values {
    ($($from:ty => $to:ident),* $(,)?) => {
        $(
            impl From<$from> for Value {
                fn from(value: $from) -> Self {
                    Self::$to(Some(value.into()))
                }
            }
            impl From<Option<$from>> for Value {
                fn from(value: Option<$from>) -> Self {
                    Self::$to(value.map(Into::into))
                }
            }
        )*
    };
}

values! {
    bool => Bool,
    i64 => Int,
    u32 => Int,
    f64 => Real,
    String => Text,
    &str => Text,
    Vec<u8> => Bytes,
}

/// The 16 bytes of the UUID.
impl From<JobId> for Value {
    fn from(id: JobId) -> Self {
        Self::Bytes(Some(id.as_uuid().as_bytes().to_vec()))
    }
}

impl From<Option<JobId>> for Value {
    fn from(id: Option<JobId>) -> Self {
        id.map_or(Self::Bytes(None), Self::from)
    }
}

impl Value {
    pub(super) fn add_to_sqlite(self, arguments: &mut SqliteArguments) -> Result<(), sqlx::Error> {
        match self {
            Self::Bool(value) => add(arguments, value),
            Self::Int(value) => add(arguments, value),
            Self::Real(value) => add(arguments, value),
            Self::Text(value) => add(arguments, value),
            Self::Bytes(value) => add(arguments, value),
        }
    }

    fn add_to_postgres(self, arguments: &mut PgArguments) -> Result<(), sqlx::Error> {
        match self {
            Self::Bool(value) => add(arguments, value),
            Self::Int(value) => add(arguments, value),
            Self::Real(value) => add(arguments, value),
            Self::Text(value) => add(arguments, value.map(without_nul)),
            Self::Bytes(value) => add(arguments, value),
        }
    }
}

pub(super) fn add<'t, A: Arguments, T>(arguments: &mut A, value: T) -> Result<(), sqlx::Error>
where
    T: Encode<'t, A::Database> + Type<A::Database>,
{
    arguments.add(value).map_err(sqlx::Error::Encode)
}

/// Postgres has no text with U+0000 in it. What a handler says may have; its history keeps it as it was said.
pub(super) fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

// === impl Sql ===

impl Sql {
    pub(super) fn new(text: &'static str) -> Self {
        Self { text: Cow::Borrowed(text), values: Vec::new() }
    }

    /// Sets the next value of those that the text names.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Adds words: of the program, never of anybody else.
    pub(super) fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.to_mut().push_str(text);
        self
    }

    /// Adds a value, and its name to the text.
    pub(super) fn push_bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        let name = format!("${}", self.values.len());
        self.text.to_mut().push_str(&name);
        self
    }

    /// Carries it out; returns how many rows it touched.
    pub(super) async fn execute(self, on: &mut Connection<'_>) -> Result<u64, sqlx::Error> {
        match on {
            Connection::Sqlite(connection) => {
                let (text, arguments) = self.for_sqlite()?;
                sqlx::query_with(text, arguments).execute(&mut **connection).await.map(|d| d.rows_affected())
            }
            Connection::Postgres(connection) => {
                let (text, arguments) = self.for_postgres()?;
                sqlx::query_with(text, arguments).execute(&mut **connection).await.map(|d| d.rows_affected())
            }
        }
    }

    /// Its rows, by the order of their columns.
    pub(super) async fn all<T: Columns>(self, on: &mut Connection<'_>) -> Result<Vec<T>, sqlx::Error> {
        match on {
            Connection::Sqlite(connection) => {
                let (text, arguments) = self.for_sqlite()?;
                sqlx::query_as_with(text, arguments).fetch_all(&mut **connection).await
            }
            Connection::Postgres(connection) => {
                let (text, arguments) = self.for_postgres()?;
                sqlx::query_as_with(text, arguments).fetch_all(&mut **connection).await
            }
        }
    }

    /// Its rows one by one, without holding them all.
    pub(super) async fn each<T: Columns>(
        self,
        on: &mut Connection<'_>,
        mut take: impl FnMut(T),
    ) -> Result<(), sqlx::Error> {
        match on {
            Connection::Sqlite(connection) => {
                let (text, arguments) = self.for_sqlite()?;
                let mut rows = sqlx::query_as_with(text, arguments).fetch(&mut **connection);
                while let Some(row) = rows.try_next().await? {
                    take(row);
                }
            }
            Connection::Postgres(connection) => {
                let (text, arguments) = self.for_postgres()?;
                let mut rows = sqlx::query_as_with(text, arguments).fetch(&mut **connection);
                while let Some(row) = rows.try_next().await? {
                    take(row);
                }
            }
        }
        Ok(())
    }

    /// Its first row, if there is any.
    pub(super) async fn optional<T: Columns>(
        self,
        on: &mut Connection<'_>,
    ) -> Result<Option<T>, sqlx::Error> {
        Ok(self.all(on).await?.into_iter().next())
    }

    /// Its rows, by the names of their columns.
    pub(super) async fn rows(self, on: &mut Connection<'_>) -> Result<Vec<Row>, sqlx::Error> {
        match on {
            Connection::Sqlite(connection) => {
                let (text, arguments) = self.for_sqlite()?;
                let rows = sqlx::query_with(text, arguments).fetch_all(&mut **connection).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Connection::Postgres(connection) => {
                let (text, arguments) = self.for_postgres()?;
                let rows = sqlx::query_with(text, arguments).fetch_all(&mut **connection).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    fn for_sqlite(self) -> Result<(AssertSqlSafe<Cow<'static, str>>, SqliteArguments), sqlx::Error> {
        let mut arguments = SqliteArguments::default();
        self.values.into_iter().try_for_each(|value| value.add_to_sqlite(&mut arguments))?;
        Ok((AssertSqlSafe(self.text), arguments))
    }

    fn for_postgres(self) -> Result<(AssertSqlSafe<Cow<'static, str>>, PgArguments), sqlx::Error> {
        let mut arguments = PgArguments::default();
        self.values.into_iter().try_for_each(|value| value.add_to_postgres(&mut arguments))?;
        Ok((AssertSqlSafe(self.text), arguments))
    }
}

// === impl Row ===

impl Row {
    pub(super) fn get<T: Column>(&self, name: &str) -> Result<T, sqlx::Error> {
        match self {
            Self::Sqlite(row) => get::<Sqlite, T>(row, name),
            Self::Postgres(row) => get::<Postgres, T>(row, name),
        }
    }
}

fn get<'r, DB: sqlx::Database, T: Decode<'r, DB> + Type<DB>>(
    row: &'r DB::Row,
    name: &'r str,
) -> Result<T, sqlx::Error>
where
    &'r str: ColumnIndex<DB::Row>,
{
    row.try_get(name)
}
