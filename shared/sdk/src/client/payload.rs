//! A payload on its way out: compressed and sealed by the codec, and put into Object Store if it is large.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use windlass_broker::Broker;
use windlass_broker::objects::{self, Objects};
use windlass_core::{Form, InvalidTask, JobId, PoolName, QueueName, Task};

use super::{Client, Error};
use crate::codec::{self, Codec, Field};

/// What is larger is encoded beside the asynchronous threads, which it would hold up.
const BLOCKING_BYTES: usize = 256 * 1024;

/// Which payloads are accepted, and which of them go to Object Store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payloads {
    /// What has more bytes, once it is encoded, goes to Object Store; less than the dispatchers' `max_payload_bytes`.
    pub inline_bytes: usize,
    /// What has more bytes is refused before anything is sent. Workers refuse what is larger than theirs.
    pub max_bytes: usize,
    /// For storing one.
    pub upload_timeout: Duration,
}

// === impl Payloads ===

impl Default for Payloads {
    fn default() -> Self {
        Self {
            inline_bytes: 128 * 1024,
            max_bytes: 64 * 1024 * 1024,
            upload_timeout: Duration::from_secs(60),
        }
    }
}

/// Refuses what is too large.
pub(super) fn check(client: &Client, task: &Task<Bytes>) -> Result<(), InvalidTask> {
    let (bytes, limit) = (task.payload.len(), client.payloads.max_bytes);
    if bytes > limit {
        return Err(InvalidTask::new("payload", format!("has {bytes} bytes: expected at most {limit}")));
    }
    Ok(())
}

/// Encodes the payload. What is too large for the task is taken out of it and returned, to be stored.
pub(super) async fn encode(client: &Client, task: &mut Task<Bytes>) -> Result<Option<Bytes>, Error> {
    let id = task.id;
    let plain = std::mem::take(&mut task.payload);
    let (bytes, encoding) = encode_bytes(&client.codec, id, Field::Payload, plain)
        .await
        .map_err(|source| Error::Codec { id, source })?;
    task.form = Form { encoding, object: None };
    if bytes.len() > client.payloads.inline_bytes {
        return Ok(Some(bytes));
    }
    task.payload = bytes;
    Ok(None)
}

/// Stores what was taken out of a task, and names it there.
pub(super) async fn upload(
    client: &Client,
    broker: &Broker,
    pool: &PoolName,
    queue: &QueueName,
    task: &mut Task<Bytes>,
    bytes: Bytes,
) -> Result<(), Error> {
    let objects = Objects::payloads(broker, pool);
    let deadline = Instant::now() + client.payloads.upload_timeout;
    let stored = objects.put(queue, task.id, &bytes, deadline).await;
    task.form.object =
        Some(stored.map_err(|source: objects::Error| Error::NotStored { id: task.id, source })?);
    Ok(())
}

/// Encodes without holding up other tasks.
pub(crate) async fn encode_bytes(
    codec: &Codec,
    id: JobId,
    field: Field,
    plain: Bytes,
) -> Result<(Bytes, windlass_core::Encoding), codec::Error> {
    if plain.len() <= BLOCKING_BYTES {
        return codec.encode(id, field, plain);
    }
    let codec = codec.clone();
    let encoding = tokio::task::spawn_blocking(move || codec.encode(id, field, plain));
    encoding.await.unwrap_or(Err(codec::Error::Seal))
}

/// Decodes without holding up other tasks.
pub(crate) async fn decode_bytes(
    codec: &Codec,
    id: JobId,
    field: Field,
    bytes: Bytes,
    encoding: &windlass_core::Encoding,
    limit: usize,
) -> Result<Bytes, codec::Error> {
    // A little that is compressed may be much.
    let is_small = bytes.len() <= BLOCKING_BYTES / 16 || limit <= BLOCKING_BYTES;
    if is_small || encoding.is_plain() {
        return codec.decode(id, field, bytes, encoding, limit);
    }
    let (codec, encoding) = (codec.clone(), encoding.clone());
    let decoding = tokio::task::spawn_blocking(move || codec.decode(id, field, bytes, &encoding, limit));
    decoding.await.unwrap_or(Err(codec::Error::Form))
}
