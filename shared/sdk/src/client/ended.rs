//! The end of a job, with its result fetched and opened.

use bytes::Bytes;
use tokio::time::Instant;
use windlass_broker::Broker;
use windlass_broker::objects::Objects;
use windlass_core::unique::Instead;
use windlass_core::{JobError, JobId, JobState, PoolName};
use windlass_proto::Done;

use super::payload::decode_bytes;
use super::{Client, Error};
use crate::codec::Field;

/// A job that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// A terminal one.
    pub state: JobState,
    /// The handler's value, as it was returned.
    pub result: Bytes,
    /// Why, where it did not succeed. A message that was sealed with a key that is missing here stays sealed.
    pub error: Option<JobError>,
}

/// Reads what the record of an end says, and fetches what it only names.
pub(super) async fn read(
    client: &Client,
    broker: &Broker,
    pool: &PoolName,
    id: JobId,
    done: Done,
    deadline: Instant,
) -> Result<Ended, Error> {
    let state = done.state;
    if let Some((instead, other)) = instead(&done) {
        return Err(Error::NoJob { id, instead, other });
    }
    let limit = client.max_result_bytes;
    let bytes = match &done.result_form.object {
        None => done.result,
        Some(object) if object.bytes > limit as u64 => {
            return Err(Error::ResultTooLarge { id, state, bytes: object.bytes, limit });
        }
        Some(object) => Objects::results(broker, pool)
            .get(object, deadline)
            .await
            .map_err(|source| Error::ResultGone { id, state, source })?,
    };
    let encoding = &done.result_form.encoding;
    // Where nothing was returned there is nothing to open.
    let result = if state == JobState::Succeeded {
        decode_bytes(&client.codec, id, Field::Result, bytes, encoding, limit)
            .await
            .map_err(|source| Error::ResultSealed { id, state, source })?
    } else {
        bytes
    };
    Ok(Ended { state, result, error: done.error.map(|error| open(client, id, error)) })
}

/// Whether a task ended for another's job, and for which.
pub(super) fn instead(done: &Done) -> Option<(Instead, JobId)> {
    let code = &done.error.as_ref()?.code;
    Some((Instead::from_code(code)?, done.other_id?))
}

fn open(client: &Client, id: JobId, error: JobError) -> JobError {
    match client.codec.open_text(id, Field::Error, &error.message) {
        Ok(message) => JobError { message, ..error },
        Err(_) => error,
    }
}
