//! Payloads and results that are too large for a message, in NATS Object Store (ADR-20): any NATS client can read them.
//!
//! Written and read by plain requests instead of the client library's own calls: those make a consumer for each read,
//! a right that reads whole streams; roll up on each write, a right that removes them; and wait without a bound.
//!
//! An object's `nuid`, which is a client's to choose, is its encoded name. So all of an object stands under
//! `$O.<bucket>.*.<nuid>` and is removed by one call, and chunks whose upload was left tell whose they are.

mod list;
mod meta;
mod name;

use std::time::Duration;

use async_nats::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use windlass_core::{JobId, ObjectRef, PoolName, QueueName};

pub use self::list::Stored;
use self::meta::Meta;
pub use self::name::{Owner, owner};
use crate::connect::{self, Broker};
use crate::names::Names;
use crate::publish::{self, header};
use crate::retry::Waits;

/// For one call; a leader's loss takes several.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// As other clients have it. Read, it comes in base64 and still fits into a message.
const CHUNK_BYTES: usize = 128 * 1024;
/// JetStream: no message found.
const NOT_FOUND: u64 = 10037;

/// A bucket of objects.
#[derive(Debug, Clone)]
pub struct Objects {
    broker: Broker,
    bucket: String,
}

/// An object could not be stored, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there, or not all of it.
    #[error("the object {name} is not in the bucket {bucket}")]
    Missing {
        /// Where.
        bucket: String,
        /// Which.
        name: String,
    },
    /// It is not what was stored.
    #[error("the object {name} of the bucket {bucket} is not the one that was stored: its {what} differs")]
    Changed {
        /// Where.
        bucket: String,
        /// Which.
        name: String,
        /// By what that shows.
        what: &'static str,
    },
    /// The broker did not do it in time.
    #[error("the bucket {bucket} cannot be used")]
    Broker {
        /// Which.
        bucket: String,
        /// Why.
        source: connect::Error,
    },
    /// What stands there is no object.
    #[error("the object {name} of the bucket {bucket} cannot be read: {reason}")]
    Malformed {
        /// Where.
        bucket: String,
        /// Which.
        name: String,
        /// Why.
        reason: String,
    },
}

/// What `STREAM.MSG.GET` answers.
#[derive(serde::Deserialize)]
struct Answer {
    message: Message,
}

#[derive(serde::Deserialize)]
struct Message {
    seq: u64,
    #[serde(default)]
    data: String,
    time: Timestamp,
}

// === impl Error ===

impl Error {
    /// Whether it may be otherwise later: the object is not known to be missing or changed.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Broker { .. })
    }
}

// === impl Objects ===

impl Objects {
    /// The payloads of a pool.
    pub fn payloads(broker: &Broker, pool: &PoolName) -> Self {
        Self { broker: broker.clone(), bucket: broker.names().payloads_bucket(pool) }
    }

    /// The results of a pool.
    pub fn results(broker: &Broker, pool: &PoolName) -> Self {
        Self { broker: broker.clone(), bucket: broker.names().results_bucket(pool) }
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Stores bytes under a new name of this job, within a bound. What was stored in vain is collected later.
    pub async fn put(
        &self,
        queue: &QueueName,
        job_id: JobId,
        bytes: &Bytes,
        deadline: Instant,
    ) -> Result<ObjectRef, Error> {
        let name = name::fresh(queue, job_id);
        let nuid = name::encode(&name);
        let subject = Names::object_subject(&self.bucket, "C", &nuid);
        let chunk_bytes = CHUNK_BYTES.min(self.broker.max_payload_bytes() / 2).max(1);
        let mut digest = Sha256::new();
        let mut chunks = 0;
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            let chunk = rest.split_to(rest.len().min(chunk_bytes));
            digest.update(&chunk);
            // In their order: each is stored before the next is sent, and not twice if its answer is lost.
            self.publish(subject.clone(), &format!("{nuid}.{chunks}"), chunk, deadline).await?;
            chunks += 1;
        }
        let object = ObjectRef { name, bytes: bytes.len() as u64, sha256: digest.finalize().into() };
        let meta = Meta::new(&self.bucket, &nuid, &object, chunks, chunk_bytes).encode();
        let subject = Names::object_subject(&self.bucket, "M", &nuid);
        self.publish(subject, &format!("{nuid}.meta"), meta, deadline).await?;
        Ok(object)
    }

    /// Reads an object, within a bound: all of it as it was stored, or an error. Takes as much memory as the object is
    /// said to have; who asks knows how much that may be.
    pub async fn get(&self, object: &ObjectRef, deadline: Instant) -> Result<Bytes, Error> {
        self.check(object, deadline).await?;
        let subject = Names::object_subject(&self.bucket, "C", &name::encode(&object.name));
        let size = usize::try_from(object.bytes).unwrap_or(usize::MAX);
        let mut bytes = BytesMut::new();
        let mut digest = Sha256::new();
        let mut from = 0;
        while bytes.len() < size {
            let request = json!({ "seq": from, "next_by_subj": subject });
            let Some(message) = self.read(&request, deadline).await? else {
                return Err(self.missing(object));
            };
            let chunk = self.decode(&object.name, &message)?;
            digest.update(&chunk);
            bytes.extend_from_slice(&chunk);
            from = message.seq + 1;
        }
        if bytes.len() > size {
            return Err(self.changed(object, "size"));
        }
        if digest.finalize()[..] != object.sha256 {
            return Err(self.changed(object, "digest"));
        }
        Ok(bytes.freeze())
    }

    /// Whether an object is there, and says of itself what is said of it.
    pub async fn check(&self, object: &ObjectRef, deadline: Instant) -> Result<(), Error> {
        let subject = Names::object_subject(&self.bucket, "M", &name::encode(&object.name));
        let found = self.read(&json!({ "last_by_subj": subject }), deadline).await?;
        let message = found.ok_or_else(|| self.missing(object))?;
        let meta = Meta::decode(&self.decode(&object.name, &message)?)
            .map_err(|e| self.malformed(&object.name, e))?;
        if meta.deleted {
            return Err(self.missing(object));
        }
        if meta.size != object.bytes {
            return Err(self.changed(object, "size"));
        }
        if meta.digest != meta::digest(object) {
            return Err(self.changed(object, "digest"));
        }
        Ok(())
    }

    /// Removes an object; one that is gone already counts as removed.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        self.purge(&name::encode(name)).await
    }

    async fn purge(&self, nuid: &str) -> Result<(), Error> {
        let call = format!("STREAM.PURGE.{}", Names::object_stream(&self.bucket));
        let request = json!({ "filter": Names::object_subject(&self.bucket, "*", nuid) });
        self.broker
            .api::<serde_json::Value>(&call, &request, CALL_TIMEOUT)
            .await
            .map(|_| ())
            .map_err(|source| self.broken(source))
    }

    async fn publish(
        &self,
        subject: String,
        message_id: &str,
        body: Bytes,
        deadline: Instant,
    ) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        headers.insert(header::MESSAGE_ID, message_id);
        let left = deadline.saturating_duration_since(Instant::now());
        let stored = publish::publish_until(&self.broker, subject, headers, body, left).await;
        stored.map(|_| ()).map_err(|source| self.broken(source))
    }

    /// One message, from the stream's leader, as a replica may not have it yet; none if there is none. Tries again for
    /// as long as the time lasts.
    async fn read(&self, request: &serde_json::Value, deadline: Instant) -> Result<Option<Message>, Error> {
        let call = format!("STREAM.MSG.GET.{}", Names::object_stream(&self.bucket));
        let mut waits = Waits::until(deadline);
        loop {
            let left = waits.left().min(CALL_TIMEOUT);
            match self.broker.api::<Answer>(&call, request, left).await {
                Ok(answer) => return Ok(Some(answer.message)),
                Err(connect::Error::Refused { code: NOT_FOUND, .. }) => return Ok(None),
                Err(source) if publish::is_transient(&source) => {
                    if !waits.wait().await {
                        return Err(self.broken(source));
                    }
                }
                Err(source) => return Err(self.broken(source)),
            }
        }
    }

    fn decode(&self, name: &str, message: &Message) -> Result<Vec<u8>, Error> {
        STANDARD.decode(&message.data).map_err(|e| self.malformed(name, e))
    }

    fn broken(&self, source: connect::Error) -> Error {
        Error::Broker { bucket: self.bucket.clone(), source }
    }

    fn missing(&self, object: &ObjectRef) -> Error {
        Error::Missing { bucket: self.bucket.clone(), name: object.name.clone() }
    }

    fn changed(&self, object: &ObjectRef, what: &'static str) -> Error {
        Error::Changed { bucket: self.bucket.clone(), name: object.name.clone(), what }
    }

    fn malformed(&self, name: &str, reason: impl std::fmt::Display) -> Error {
        Error::Malformed { bucket: self.bucket.clone(), name: name.to_owned(), reason: reason.to_string() }
    }
}
