//! What bare inserts of the rows take that a projection has written: for the benchmark to compare it with.

use std::time::{Duration, Instant};

use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};

use crate::store::{Error, Store, bare, connect_options};

/// Rows in one transaction.
const ROWS: usize = 10_000;

/// Inserts every row of the jobs of one database into another, which is made for it, in batches and in order; nothing is
/// read, decoded or folded meanwhile. Returns how many there were, and how long it took.
pub async fn bare_inserts(from: &str, into: &str) -> Result<(u64, Duration), Error> {
    let failed = |source| Error::Statement("measure bare inserts", source);
    let mut source = connect_options(from)?.connect().await.map_err(failed)?;
    Store::open(into).await?.close().await;
    let mut target = connect_options(into)?.connect().await.map_err(failed)?;
    let (mut took, mut count, mut last) = (Duration::ZERO, 0, 0);
    loop {
        let rows = bare::read(&mut source, last, ROWS).await.map_err(failed)?;
        let Some(newest) = rows.last() else { break };
        last = newest.try_get("seq").map_err(failed)?;
        count += rows.len() as u64;
        let rows = rows.iter().map(bare::Row::read).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        took += insert(&mut target, &rows).await.map_err(failed)?;
    }
    source.close().await.map_err(failed)?;
    target.close().await.map_err(failed)?;
    Ok((count, took))
}

async fn insert(target: &mut SqliteConnection, rows: &[bare::Row]) -> Result<Duration, sqlx::Error> {
    let began = Instant::now();
    let mut transaction = target.begin_with("BEGIN IMMEDIATE").await?;
    bare::insert(&mut transaction, rows).await?;
    transaction.commit().await?;
    Ok(began.elapsed())
}
