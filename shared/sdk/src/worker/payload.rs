//! A payload on its way in: fetched if it is in Object Store, then opened and decompressed; and its object's removal.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use windlass_broker::objects::{self, Objects};
use windlass_core::{Encoding, JobId, JobState, ObjectRef};

use super::held::Held;
use super::shared::Shared;
use crate::client::payload::decode_bytes;
use crate::codec::{self, Codec, Field};
use crate::failure::{Failure, chain};

/// For fetching one. An attempt that allows itself less time is stopped before.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);

/// All that loading needs, so that it can be part of the attempt: the lease is kept, and its time counts.
pub(super) struct Loading {
    job_id: JobId,
    stored: Stored,
    encoding: Encoding,
    codec: Codec,
    limit: usize,
}

/// Where a payload is.
enum Stored {
    InMessage(Bytes),
    InObject(Objects, ObjectRef),
}

// === impl Loading ===

impl Loading {
    /// The payload of a job that is about to run.
    pub(super) fn of(shared: &Shared, held: &Held) -> Self {
        let task = &held.job.task;
        let objects = || Objects::payloads(&shared.broker, &shared.options.pool);
        Self {
            // A job of a dead letter has the payload of the job that died.
            job_id: task.origin.unwrap_or(held.address.job_id),
            stored: match &task.form.object {
                None => Stored::InMessage(task.payload.clone()),
                Some(object) => Stored::InObject(objects(), object.clone()),
            },
            encoding: task.form.encoding.clone(),
            codec: shared.options.codec.clone(),
            limit: shared.options.max_payload_bytes,
        }
    }

    /// The bytes that the publisher gave.
    pub(super) async fn load(self) -> Result<Bytes, Failure> {
        let bytes = match self.stored {
            Stored::InMessage(bytes) => bytes,
            // A seal, and compression that was given up, add a little.
            Stored::InObject(_, object) if object.bytes > self.limit as u64 + 1024 => {
                return Err(too_large(object.bytes, self.limit));
            }
            Stored::InObject(objects, object) => {
                let deadline = Instant::now() + FETCH_TIMEOUT;
                objects.get(&object, deadline).await.map_err(|error| not_fetched(&error))?
            }
        };
        decode_bytes(&self.codec, self.job_id, Field::Payload, bytes, &self.encoding, self.limit)
            .await
            .map_err(|error| not_opened(&error, self.limit))
    }
}

fn too_large(bytes: u64, limit: usize) -> Failure {
    Failure::new(format!("payload: has {bytes} bytes: expected at most {limit}"))
        .code("payload_too_large")
        .terminal()
        .in_clear()
}

fn not_fetched(error: &objects::Error) -> Failure {
    let failure = Failure::new(format!("payload: {}", chain(error))).in_clear();
    match error {
        objects::Error::Missing { .. } => failure.code("payload_missing").terminal(),
        objects::Error::Changed { .. } | objects::Error::Malformed { .. } => {
            failure.code("payload_changed").terminal()
        }
        objects::Error::Broker { .. } => failure.code("payload_unavailable"),
    }
}

fn not_opened(error: &codec::Error, limit: usize) -> Failure {
    match error {
        codec::Error::TooLarge { .. } => {
            Failure::new(format!("payload: has more than {limit} bytes: expected at most {limit}"))
                .code("payload_too_large")
                .terminal()
                .in_clear()
        }
        // The key may come with the next restart.
        codec::Error::UnknownKey(_) => {
            Failure::new(format!("payload: {error}")).code("payload_unknown_key").in_clear()
        }
        _ => Failure::new(format!("payload: {}", chain(error))).code("payload_refused").terminal().in_clear(),
    }
}

/// Removes the object of a job that this worker has ended. What is missed the dispatchers collect; a dead job's is kept
/// for as long as its letter, so that it can be run again.
pub(super) async fn collect(shared: &Shared, held: &Held, state: JobState) {
    let Some(object) = held.job.task.form.object.as_ref().filter(|_| state != JobState::Dead) else { return };
    let objects = Objects::payloads(&shared.broker, &shared.options.pool);
    if let Err(error) = Box::pin(objects.remove(&object.name)).await {
        tracing::debug!(job_id = %held.address.job_id, %error, "a payload was not removed; it is collected later");
    }
}
