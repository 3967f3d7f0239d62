//! The dispatchers' signs of life, and for how long none was there: what decides whether an outcome may have been
//! forgotten (see `windlass_core::admission`).

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use windlass_core::admission::Absence;

use crate::connect::Broker;
use crate::kv::{Bucket, Error};

/// How old a sign of life may be.
pub const SLACK: Duration = Duration::from_secs(60);
/// Where any dispatcher says that it lives.
const SEEN: &str = "dispatchers.seen";
/// Where the first that is back says for how long none was there, for all that come after it.
const ABSENCE: &str = "dispatchers.absence";

/// What is known of dispatchers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signs {
    /// The latest sign of life.
    pub last_seen: Option<Timestamp>,
    /// The absence that was found last.
    pub absence: Option<Absence>,
}

// === impl Signs ===

impl Signs {
    /// Reads them.
    pub async fn read(broker: &Broker) -> Result<Self, Error> {
        let bucket = bucket(broker);
        let absence = bucket.get(ABSENCE).await?.and_then(|entry| parse(&entry.value));
        let last_seen = bucket.get(SEEN).await?;
        let last_seen = last_seen.and_then(|e| std::str::from_utf8(&e.value).ok()?.parse().ok());
        Ok(Self { last_seen, absence })
    }

    /// The absence that lasts up to now.
    pub fn present(&self, now: Timestamp) -> Option<Absence> {
        let absence = Absence { last_seen: self.last_seen?, back: now };
        (absence.length() > SLACK).then_some(absence)
    }
}

/// Keeps an absence for all.
pub async fn keep(broker: &Broker, absence: Absence) -> Result<(), Error> {
    let text = format!("{} {}", absence.last_seen, absence.back);
    bucket(broker).put(ABSENCE, Bytes::from(text), None).await.map(|_| ())
}

/// Gives a sign of life.
pub async fn give_sign(broker: &Broker, now: Timestamp) -> Result<(), Error> {
    bucket(broker).put(SEEN, Bytes::from(now.to_string()), None).await.map(|_| ())
}

fn bucket(broker: &Broker) -> Bucket {
    broker.bucket(broker.names().control_bucket())
}

fn parse(value: &[u8]) -> Option<Absence> {
    let (last_seen, back) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    Some(Absence { last_seen: last_seen.parse().ok()?, back: back.parse().ok()? })
}
