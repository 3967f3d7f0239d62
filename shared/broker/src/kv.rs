//! Key-value buckets: values with revisions, conditions and expiry.

mod page;

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::kv::{Operation, Store};
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream as JetStreamStream};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use tokio::time::timeout;

use crate::connect::{self, Broker};
use crate::names::Names;
use crate::publish::{self, header};

/// For each call.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A bucket, by name.
#[derive(Debug, Clone)]
pub struct Bucket {
    broker: Broker,
    name: String,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which.
    pub key: String,
    /// What.
    pub value: Bytes,
    /// The condition for changing it.
    pub revision: u64,
    /// When the broker stored it.
    pub stored_at: Timestamp,
}

/// A key was set or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub key: String,
    /// None: removed.
    pub value: Option<Bytes>,
    /// Of the change.
    pub revision: u64,
}

/// A bucket could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else was first.
    #[error("the key {0} has another revision than expected")]
    Conflict(String),
    /// The broker did not do it.
    #[error("the bucket {bucket} cannot be used")]
    Broker {
        /// Which.
        bucket: String,
        /// Why.
        source: connect::Error,
    },
    /// The bucket cannot be read.
    #[error("the bucket {bucket} cannot be read: {reason}")]
    Read {
        /// Which.
        bucket: String,
        /// Why.
        reason: String,
    },
}

// === impl Bucket ===

impl Bucket {
    pub(crate) fn new(broker: Broker, name: String) -> Self {
        Self { broker, name }
    }

    fn read_error(&self, reason: impl std::fmt::Display) -> Error {
        Error::Read { bucket: self.name.clone(), reason: reason.to_string() }
    }

    /// With a bound on its time, which a missing right does not use up.
    async fn within<T>(
        &self,
        most: Duration,
        calling: impl Future<Output = T>,
    ) -> Result<Result<T, tokio::time::error::Elapsed>, Error> {
        let denied = |source| Error::Broker { bucket: self.name.clone(), source };
        self.broker.unless_denied(&self.name, timeout(most, calling)).await.map_err(denied)
    }

    async fn stream(&self) -> Result<JetStreamStream<()>, Error> {
        let name = format!("KV_{}", self.name);
        self.broker.jetstream().get_stream_no_info(name).await.map_err(|e| self.read_error(e))
    }

    /// The value of a key; also whether it was removed, under which revision, and when.
    async fn last(&self, key: &str) -> Result<Option<(u64, Timestamp, Option<Bytes>)>, Error> {
        let stream = self.stream().await?;
        let subject = Names::key_subject(&self.name, key);
        match self.within(CALL_TIMEOUT, Box::pin(stream.direct_get_last_for_subject(subject))).await? {
            Err(_) => Err(self.read_error("no answer in time")),
            Ok(Err(error)) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Ok(Err(error)) => Err(self.read_error(error)),
            Ok(Ok(message)) => {
                let removed = message.headers.get("KV-Operation").is_some()
                    || message.headers.get("Nats-Marker-Reason").is_some();
                let at = Timestamp::from_nanosecond(message.time.unix_timestamp_nanos());
                let at = at.map_err(|e| self.read_error(e))?;
                Ok(Some((message.sequence, at, (!removed).then_some(message.payload))))
            }
        }
    }

    /// The value of a key.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let Some((revision, stored_at, Some(value))) = self.last(key).await? else { return Ok(None) };
        Ok(Some(Entry { key: key.to_owned(), value, revision, stored_at }))
    }

    /// Sets a key, whatever it was. Seconds are the unit of `ttl`; the least is one.
    pub async fn put(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<u64, Error> {
        self.write(key, value, ttl, None, None).await
    }

    /// Sets a key that does not exist.
    pub async fn create(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<u64, Error> {
        match self.write(key, value.clone(), ttl, Some(0), None).await {
            Err(Error::Conflict(_)) => match self.last(key).await? {
                // A marker of its removal stands in the way.
                Some((revision, _, None)) => self.write(key, value, ttl, Some(revision), None).await,
                _ => Err(Error::Conflict(key.to_owned())),
            },
            other => other,
        }
    }

    /// Sets a key that still has this revision.
    pub async fn update(
        &self,
        key: &str,
        value: Bytes,
        revision: u64,
        ttl: Option<Duration>,
    ) -> Result<u64, Error> {
        self.write(key, value, ttl, Some(revision), None).await
    }

    /// Removes a key.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        self.write(key, Bytes::new(), None, None, Some("DEL")).await.map(|_| ())
    }

    /// Removes a key that still has this revision.
    pub async fn delete_revision(&self, key: &str, revision: u64) -> Result<(), Error> {
        self.write(key, Bytes::new(), None, Some(revision), Some("DEL")).await.map(|_| ())
    }

    async fn write(
        &self,
        key: &str,
        value: Bytes,
        ttl: Option<Duration>,
        revision: Option<u64>,
        operation: Option<&'static str>,
    ) -> Result<u64, Error> {
        let mut headers = HeaderMap::new();
        if let Some(ttl) = ttl {
            headers.insert(header::TTL, ttl.as_secs().max(1).to_string());
        }
        if let Some(revision) = revision {
            headers.insert(header::EXPECTED_SEQUENCE, revision.to_string());
        }
        if let Some(operation) = operation {
            headers.insert("KV-Operation", operation);
        }
        let subject = Names::key_subject(&self.name, key);
        match publish::publish(&self.broker, subject, headers, value, CALL_TIMEOUT).await {
            Ok(stored) => Ok(stored.sequence),
            Err(connect::Error::Refused { code: 10071 | 10164, .. }) => Err(Error::Conflict(key.to_owned())),
            Err(source) => Err(Error::Broker { bucket: self.name.clone(), source }),
        }
    }

    async fn store(&self) -> Result<Store, Error> {
        self.within(CALL_TIMEOUT, Box::pin(self.broker.jetstream().get_key_value(&self.name)))
            .await?
            .map_err(|_| self.read_error("no answer in time"))?
            .map_err(|e| self.read_error(e))
    }

    /// Everything in it.
    pub async fn entries(&self) -> Result<Vec<Entry>, Error> {
        let store = self.store().await?;
        let read = async {
            let mut keys = store.keys().await.map_err(|e| self.read_error(e))?;
            let mut entries = Vec::new();
            while let Some(key) = keys.next().await {
                let key = key.map_err(|e| self.read_error(e))?;
                entries.extend(self.get(&key).await?);
            }
            Ok(entries)
        };
        self.within(CALL_TIMEOUT * 6, Box::pin(read))
            .await?
            .map_err(|_| self.read_error("no answer in time"))?
    }

    /// As [`Self::entries`], in one pass over the bucket: for one with many keys.
    pub async fn read_all(&self) -> Result<Vec<Entry>, Error> {
        let store = self.store().await?;
        let read = async {
            let mut entries = Vec::new();
            if store.status().await.map_err(|e| self.read_error(e))?.values() == 0 {
                return Ok(entries);
            }
            let mut current = store.watch_with_history(">").await.map_err(|e| self.read_error(e))?;
            while let Some(entry) = current.next().await {
                let entry = entry.map_err(|e| self.read_error(e))?;
                let is_last = entry.delta == 0;
                if matches!(entry.operation, Operation::Put) {
                    entries.push(Entry {
                        key: entry.key,
                        value: entry.value,
                        revision: entry.revision,
                        stored_at: Timestamp::from_nanosecond(entry.created.unix_timestamp_nanos())
                            .unwrap_or(Timestamp::MIN),
                    });
                }
                if is_last {
                    break;
                }
            }
            Ok(entries)
        };
        self.within(CALL_TIMEOUT * 6, Box::pin(read))
            .await?
            .map_err(|_| self.read_error("no answer in time"))?
    }

    /// The current values, then every change, for as long as it is read.
    pub async fn watch(
        &self,
    ) -> Result<impl Stream<Item = Result<Change, Error>> + Send + Unpin + use<>, Error> {
        let store = self.store().await?;
        let watch = self
            .within(CALL_TIMEOUT, Box::pin(store.watch_with_history(">")))
            .await?
            .map_err(|_| self.read_error("no answer in time"))?
            .map_err(|e| self.read_error(e))?;
        let bucket = self.clone();
        Ok(watch.map(move |change| {
            let entry = change.map_err(|e| bucket.read_error(e))?;
            let value = matches!(entry.operation, Operation::Put).then_some(entry.value);
            Ok(Change { key: entry.key, value, revision: entry.revision })
        }))
    }
}
