//! Which messages of EVENTS the database knows.

use std::ops::RangeInclusive;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, SqliteConnection};
use utoipa::ToSchema;

use super::rows::{from_ns, to_ns};
use super::{Error, Store};
use crate::ranges::Ranges;

const RECORD: &str = "record a gap";
const FOLLOW: &str = "follow the stream";

/// Messages that were gone from EVENTS before the monitor read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Gap {
    /// The first that is missing.
    pub first_sequence: u64,
    /// The last.
    pub last_sequence: u64,
    /// When the monitor saw it.
    #[schema(value_type = String, format = DateTime)]
    pub found_at: Timestamp,
}

// === impl Store ===

impl Store {
    /// Records what the stream no longer holds and the monitor never saw; returns what is new of it.
    pub async fn record_gaps(&self, first_sequence: u64, now: Timestamp) -> Result<Vec<Gap>, Error> {
        let mut writer = self.writer(RECORD).await?;
        let outcome = record_gaps(&mut writer, first_sequence, now).await;
        self.give_back(writer, outcome).await
    }

    /// Says which stream the sequences are of, and how far it goes. Those of another stream, or beyond its end (it was
    /// restored from an earlier copy), say nothing of this one and are forgotten; what was told of jobs stays. Returns
    /// whether any were.
    pub async fn follow(&self, created: &str, last_sequence: u64) -> Result<bool, Error> {
        let mut writer = self.writer(FOLLOW).await?;
        let outcome = follow(&mut writer, created, last_sequence).await;
        self.give_back(writer, outcome).await
    }

    /// Which messages were processed, or are known to be gone.
    pub async fn processed(&self) -> Result<Ranges, Error> {
        let read = |source| Error::Statement("tell the processed sequences", source);
        let mut connection = self.readers.acquire().await.map_err(read)?;
        load_ranges(&mut connection).await
    }

    /// The latest gaps, newest first.
    pub async fn gaps(&self, limit: u32) -> Result<Vec<Gap>, Error> {
        const SQL: &str = "SELECT first_sequence, last_sequence, found_at_ns FROM gaps ORDER BY found_at_ns DESC, \
             first_sequence DESC LIMIT ?";
        let rows: Vec<(i64, i64, i64)> =
            super::read("tell the gaps", sqlx::query_as(SQL).bind(limit).fetch_all(&self.readers)).await?;
        let gap = |(first, last, found): (i64, i64, i64)| {
            let (first_sequence, last_sequence) = (first.unsigned_abs(), last.unsigned_abs());
            Ok(Gap { first_sequence, last_sequence, found_at: from_ns("found_at_ns", found)? })
        };
        rows.into_iter().map(gap).collect()
    }
}

async fn record_gaps(
    writer: &mut SqliteConnection,
    first_sequence: u64,
    now: Timestamp,
) -> Result<Vec<Gap>, Error> {
    let write = |source| Error::Statement(RECORD, source);
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(write)?;
    let mut ranges = load_ranges(&mut transaction).await?;
    let missing = ranges.missing_before(first_sequence);
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let mut gaps = Vec::new();
    for range in missing {
        let gap = Gap { first_sequence: *range.start(), last_sequence: *range.end(), found_at: now };
        sqlx::query("INSERT INTO gaps (first_sequence, last_sequence, found_at_ns) VALUES (?, ?, ?)")
            .bind(column(gap.first_sequence))
            .bind(column(gap.last_sequence))
            .bind(to_ns(now))
            .execute(&mut *transaction)
            .await
            .map_err(write)?;
        ranges.insert(range);
        gaps.push(gap);
    }
    store_ranges(&mut transaction, &ranges).await.map_err(write)?;
    transaction.commit().await.map_err(write)?;
    Ok(gaps)
}

async fn follow(writer: &mut SqliteConnection, created: &str, last_sequence: u64) -> Result<bool, Error> {
    let write = |source| Error::Statement(FOLLOW, source);
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(write)?;
    let known: Option<String> = sqlx::query_scalar("SELECT created FROM source")
        .fetch_optional(&mut *transaction)
        .await
        .map_err(write)?;
    let before = load_ranges(&mut transaction).await?;
    let mut ranges = before.clone();
    ranges.truncate(if known.as_deref().is_none_or(|known| known == created) { last_sequence } else { 0 });
    if known.as_deref() == Some(created) && ranges == before {
        return Ok(false);
    }
    sqlx::query("INSERT OR REPLACE INTO source (only_row, created) VALUES (1, ?)")
        .bind(created)
        .execute(&mut *transaction)
        .await
        .map_err(write)?;
    store_ranges(&mut transaction, &ranges).await.map_err(write)?;
    transaction.commit().await.map_err(write)?;
    Ok(ranges != before)
}

/// A sequence as a column; no stream counts beyond what fits.
fn column(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

pub(super) async fn load_ranges(connection: &mut SqliteConnection) -> Result<Ranges, Error> {
    let rows: Vec<(i64, i64)> = sqlx::query_as("SELECT first_sequence, last_sequence FROM processed")
        .fetch_all(connection)
        .await
        .map_err(|source| Error::Statement("tell the processed sequences", source))?;
    let mut ranges = Ranges::default();
    for (first, last) in rows {
        ranges.insert(RangeInclusive::new(first.unsigned_abs(), last.unsigned_abs()));
    }
    Ok(ranges)
}

pub(super) async fn store_ranges(
    connection: &mut SqliteConnection,
    ranges: &Ranges,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM processed").execute(&mut *connection).await?;
    for range in ranges.iter() {
        sqlx::query("INSERT INTO processed (first_sequence, last_sequence) VALUES (?, ?)")
            .bind(column(*range.start()))
            .bind(column(*range.end()))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
