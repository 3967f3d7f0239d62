//! What an attempt came to, on its way out: a result is compressed, sealed, and put into Object Store if it is large; an
//! error's message is sealed.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use windlass_broker::objects::Objects;
use windlass_core::{Form, JobError};

use super::held::Held;
use super::shared::Shared;
use super::{lease, settle};
use crate::client::payload::encode_bytes;
use crate::codec::Field;
use crate::failure::{Failure, chain};

/// For storing one.
const STORE_TIMEOUT: Duration = Duration::from_secs(60);

/// A result as the record of an end has it.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    pub(super) bytes: Bytes,
    pub(super) form: Form,
}

impl From<Bytes> for Recorded {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, form: Form::default() }
    }
}

/// Makes a result ready for the record of its job's end. The lease is kept meanwhile.
pub(super) async fn store(shared: &Shared, held: &Held, value: Bytes) -> Result<Recorded, Failure> {
    let (bytes, limit) = (value.len(), shared.options.max_result_bytes);
    if bytes > limit {
        let message = format!("the result has {bytes} bytes: expected at most {limit}");
        return Err(Failure::new(message).code("result_too_large").terminal().in_clear());
    }
    let id = held.address.job_id;
    let (bytes, encoding) = encode_bytes(&shared.options.codec, id, Field::Result, value)
        .await
        .map_err(|e| Failure::new(format!("result: {}", chain(&e))).code("result_not_stored").in_clear())?;
    if bytes.len() <= settle::RESULT_INLINE_BYTES {
        return Ok(Recorded { bytes, form: Form { encoding, object: None } });
    }
    let objects = Objects::results(&shared.broker, &shared.options.pool);
    let deadline = Instant::now() + STORE_TIMEOUT;
    let stored = tokio::select! {
        stored = Box::pin(objects.put(&held.address.queue, id, &bytes, deadline)) => stored.map_err(|e| chain(&e)),
        // Whoever has the job now settles it; what we write is refused.
        () = Box::pin(lease::keep(held, &shared.jobs)) => Err("the lease was lost meanwhile".to_owned()),
    };
    match stored {
        Ok(object) => Ok(Recorded { bytes: Bytes::new(), form: Form { encoding, object: Some(object) } }),
        Err(reason) => {
            let message = format!("the result was not stored: {reason}");
            Err(Failure::new(message).code("result_not_stored").in_clear())
        }
    }
}

/// A failure as records, events and pages have it: sealed if there are keys, because what a handler says of its failure
/// may be what the payload said.
pub(super) fn error(shared: &Shared, held: &Held, failure: Failure) -> JobError {
    let in_clear = failure.is_in_clear();
    let error = failure.into_error();
    if in_clear {
        return error;
    }
    let message = shared
        .options
        .codec
        .seal_text(held.address.job_id, Field::Error, &error.message)
        .unwrap_or_else(|_| "its message could not be sealed".to_owned());
    JobError { message, ..error }
}
