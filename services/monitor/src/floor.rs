//! For the benchmark of the projection: databases that are made for it, and what bare inserts of the rows take that the
//! projection has written, to compare it with.

use std::time::{Duration, Instant};

use crate::store::{Database, Error, Store};

/// Rows in one transaction.
const ROWS: u32 = 10_000;

/// Databases on a server, made for a measurement.
#[derive(Debug, Clone)]
pub struct Scratch {
    server: Database,
    names: Vec<String>,
}

// === impl Scratch ===

impl Scratch {
    /// Databases of these names, beside the one that the URL names.
    pub fn beside(url: &str, names: Vec<String>) -> Result<Self, Error> {
        Ok(Self { server: Database::parse(url)?, names })
    }

    /// Makes them, by the right of the URL's user; returns their URLs, the password included.
    pub async fn create(&self) -> Result<Vec<String>, Error> {
        let mut urls = Vec::new();
        for name in &self.names {
            urls.push(self.server.create_beside(name).await?);
        }
        Ok(urls)
    }

    /// Removes them, whoever is connected.
    pub async fn remove(&self) -> Result<(), Error> {
        for name in &self.names {
            self.server.drop_beside(name).await?;
        }
        Ok(())
    }
}

/// Inserts every row of the jobs of one database into another, which is made for it, in batches and in order; nothing is
/// read, decoded or folded meanwhile. Returns how many there were, and how long it took.
pub async fn bare_inserts(from: &str, into: &str) -> Result<(u64, Duration), Error> {
    let (source, target) = (Store::open(from).await?, Store::open(into).await?);
    let (mut took, mut count, mut last) = (Duration::ZERO, 0, 0);
    loop {
        let (rows, newest) = source.bare_rows(last, ROWS).await?;
        if rows.is_empty() {
            break;
        }
        last = newest;
        count += rows.len() as u64;
        let began = Instant::now();
        target.insert_bare(&rows).await?;
        took += began.elapsed();
    }
    source.close().await;
    target.close().await;
    Ok((count, took))
}

/// How many bytes a database takes, its indexes included.
pub async fn bytes(database: &str) -> Result<u64, Error> {
    let store = Store::open(database).await?;
    let bytes = store.bytes().await;
    store.close().await;
    bytes
}
