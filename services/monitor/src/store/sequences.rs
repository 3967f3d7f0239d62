//! Which messages of EVENTS the database knows.

use std::ops::RangeInclusive;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::database::{Connection, Pooled};
use super::rows::{from_ns, to_ns};
use super::sql::Sql;
use super::{Error, READ_TIMEOUT, Store, WRITE_TIMEOUT, bounded, in_time};
use crate::ranges::Ranges;

const RECORD: &str = "record a gap";
const FOLLOW: &str = "follow the stream";
const TELL: &str = "tell the processed sequences";

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
        let outcome = in_time(RECORD, WRITE_TIMEOUT, record_gaps(&mut writer, first_sequence, now)).await;
        self.give_back(writer, outcome).await
    }

    /// Says which stream the sequences are of, and how far it goes. Those of another stream, or beyond its end (it was
    /// restored from an earlier copy), say nothing of this one and are forgotten; what was told of jobs stays. Returns
    /// whether any were.
    pub async fn follow(&self, created: &str, last_sequence: u64) -> Result<bool, Error> {
        let mut writer = self.writer(FOLLOW).await?;
        let outcome = in_time(FOLLOW, WRITE_TIMEOUT, follow(&mut writer, created, last_sequence)).await;
        self.give_back(writer, outcome).await
    }

    /// Which messages were processed, or are known to be gone.
    pub async fn processed(&self) -> Result<Ranges, Error> {
        let ranges = async { load_ranges(&mut self.readers.acquire().await?.on()).await };
        bounded(TELL, READ_TIMEOUT, ranges).await
    }

    /// The latest gaps, newest first.
    pub async fn gaps(&self, limit: u32) -> Result<Vec<Gap>, Error> {
        const SQL: &str = "SELECT first_sequence, last_sequence, found_at_ns FROM gaps ORDER BY found_at_ns DESC, \
             first_sequence DESC LIMIT $1";
        let rows: Vec<(i64, i64, i64)> = self.read_all("tell the gaps", Sql::new(SQL).bind(limit)).await?;
        let gap = |(first, last, found): (i64, i64, i64)| {
            let (first_sequence, last_sequence) = (first.unsigned_abs(), last.unsigned_abs());
            Ok(Gap { first_sequence, last_sequence, found_at: from_ns("found_at_ns", found)? })
        };
        rows.into_iter().map(gap).collect()
    }
}

async fn record_gaps(writer: &mut Pooled, first_sequence: u64, now: Timestamp) -> Result<Vec<Gap>, Error> {
    const SQL: &str = "INSERT INTO gaps (first_sequence, last_sequence, found_at_ns) VALUES ($1, $2, $3)";
    let write = |source| Error::Statement(RECORD, source);
    let mut transaction = writer.begin().await.map_err(write)?;
    let mut ranges = load_ranges(&mut transaction.on()).await.map_err(write)?;
    let missing = ranges.missing_before(first_sequence);
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let mut gaps = Vec::new();
    for range in missing {
        let gap = Gap { first_sequence: *range.start(), last_sequence: *range.end(), found_at: now };
        let (first, last) = (column(gap.first_sequence), column(gap.last_sequence));
        let insert = Sql::new(SQL).bind(first).bind(last).bind(to_ns(now));
        insert.execute(&mut transaction.on()).await.map_err(write)?;
        ranges.insert(range);
        gaps.push(gap);
    }
    store_ranges(&mut transaction.on(), &ranges).await.map_err(write)?;
    transaction.commit().await.map_err(write)?;
    Ok(gaps)
}

async fn follow(writer: &mut Pooled, created: &str, last_sequence: u64) -> Result<bool, Error> {
    const SQL: &str = "INSERT INTO source (only_row, created) VALUES (1, $1) \
         ON CONFLICT (only_row) DO UPDATE SET created = excluded.created";
    let write = |source| Error::Statement(FOLLOW, source);
    let mut transaction = writer.begin().await.map_err(write)?;
    let known: Option<(String,)> =
        Sql::new("SELECT created FROM source").optional(&mut transaction.on()).await.map_err(write)?;
    let known = known.map(|(created,)| created);
    let before = load_ranges(&mut transaction.on()).await.map_err(write)?;
    let mut ranges = before.clone();
    ranges.truncate(if known.as_deref().is_none_or(|known| known == created) { last_sequence } else { 0 });
    if known.as_deref() == Some(created) && ranges == before {
        return Ok(false);
    }
    Sql::new(SQL).bind(created).execute(&mut transaction.on()).await.map_err(write)?;
    store_ranges(&mut transaction.on(), &ranges).await.map_err(write)?;
    transaction.commit().await.map_err(write)?;
    Ok(ranges != before)
}

/// A sequence as a column; no stream counts beyond what fits.
fn column(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

pub(super) async fn load_ranges(on: &mut Connection<'_>) -> Result<Ranges, sqlx::Error> {
    let rows: Vec<(i64, i64)> =
        Sql::new("SELECT first_sequence, last_sequence FROM processed").all(on).await?;
    let mut ranges = Ranges::default();
    for (first, last) in rows {
        ranges.insert(RangeInclusive::new(first.unsigned_abs(), last.unsigned_abs()));
    }
    Ok(ranges)
}

pub(super) async fn store_ranges(on: &mut Connection<'_>, ranges: &Ranges) -> Result<(), sqlx::Error> {
    const SQL: &str = "INSERT INTO processed (first_sequence, last_sequence) VALUES ($1, $2)";
    Sql::new("DELETE FROM processed").execute(on).await?;
    for range in ranges.iter() {
        Sql::new(SQL).bind(column(*range.start())).bind(column(*range.end())).execute(on).await?;
    }
    Ok(())
}
