//! The dispatchers' signs of life, and for how long none was there: what decides whether an outcome may have been
//! forgotten (see `windlass_core::admission`).
//!
//! When a sign was given is the time at which the broker stored it, and an absence lies between two times of the
//! broker's. What the clock of a dispatcher shows decides nothing: one that is an hour ahead would find an absence of an
//! hour, and keep it for all others.

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
/// Where the first that is back says for how long none was there, for all that come after it. Not the key of earlier
/// versions, `dispatchers.absence`: they wrote times of their own clocks.
const AWAY: &str = "dispatchers.away";

/// What is known of dispatchers, by the broker's clock.
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
        let absence = bucket.get(AWAY).await?.and_then(|entry| parse(&entry.value));
        let last_seen = bucket.get(SEEN).await?.map(|entry| entry.stored_at);
        Ok(Self { last_seen, absence })
    }

    /// The absence that lasts up to now, by the broker's clock.
    pub fn present(&self, now: Timestamp) -> Option<Absence> {
        let absence = Absence { last_seen: self.last_seen?, back: now };
        (absence.length() > SLACK).then_some(absence)
    }
}

/// Keeps an absence for all.
pub async fn keep(broker: &Broker, absence: Absence) -> Result<(), Error> {
    let text = format!("{} {}", absence.last_seen, absence.back);
    bucket(broker).put(AWAY, Bytes::from(text), None).await.map(|_| ())
}

/// Gives a sign of life. Its text is for people, and for earlier versions, which read it as the time of the sign.
pub async fn give_sign(broker: &Broker) -> Result<(), Error> {
    bucket(broker).put(SEEN, Bytes::from(broker.now().to_string()), None).await.map(|_| ())
}

fn bucket(broker: &Broker) -> Bucket {
    broker.bucket(broker.names().control_bucket())
}

fn parse(value: &[u8]) -> Option<Absence> {
    let (last_seen, back) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    Some(Absence { last_seen: last_seen.parse().ok()?, back: back.parse().ok()? })
}
