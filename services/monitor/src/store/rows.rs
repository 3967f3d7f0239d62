//! What rows are made of.

use std::str::FromStr;

use jiff::Timestamp;
use windlass_core::{JobError, JobId};

use super::Error;
use super::sql::Row;

/// Instants outside of the years 1678 to 2262 are stored as the nearest that fits.
pub(super) fn to_ns(at: Timestamp) -> i64 {
    let nanos = at.as_nanosecond();
    i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
}

pub(super) fn from_ns(what: &'static str, nanos: i64) -> Result<Timestamp, Error> {
    Timestamp::from_nanosecond(i128::from(nanos)).map_err(|_| Error::Row { what, text: nanos.to_string() })
}

pub(super) fn id_of(bytes: &[u8]) -> Result<JobId, Error> {
    let id = uuid::Uuid::from_slice(bytes).map(JobId::from_uuid);
    id.map_err(|error| Error::Row { what: "id", text: error.to_string() })
}

pub(super) fn word<T: FromStr>(what: &'static str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Row { what, text: text.to_owned() })
}

/// The three columns of an error.
pub(super) fn error_columns(error: Option<&JobError>) -> (Option<&str>, Option<&str>, Option<bool>) {
    (error.map(|e| e.code.as_str()), error.map(|e| e.message.as_str()), error.map(|e| e.terminal))
}

pub(super) fn error_of(row: &Row) -> Result<Option<JobError>, sqlx::Error> {
    let Some(code) = row.get("error_code")? else { return Ok(None) };
    let message: Option<String> = row.get("error_message")?;
    let terminal: Option<bool> = row.get("error_terminal")?;
    Ok(Some(JobError { code, message: message.unwrap_or_default(), terminal: terminal.unwrap_or_default() }))
}
