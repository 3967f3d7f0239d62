//! Histories as bytes: the wire form of their events.

use prost::Message as _;
use prost::bytes::Bytes;
use windlass_core::QueueName;
use windlass_core::history::History;
use windlass_proto::v1;

use super::Error;

/// What is stored of a history.
pub(super) fn encode(history: &History) -> Vec<u8> {
    let events = history.events().cloned().map(v1::Event::from).collect();
    v1::EventBatch { events, ..v1::EventBatch::default() }.encode_to_vec()
}

/// Reads what is stored of a job of this queue.
pub(super) fn decode(queue: &QueueName, bytes: Vec<u8>) -> Result<History, Error> {
    let unread = |error: &dyn std::fmt::Display| Error::Row { what: "history", text: error.to_string() };
    let batch = v1::EventBatch::decode(Bytes::from(bytes)).map_err(|error| unread(&error))?;
    let mut history = History::default();
    for event in batch.events {
        history.record(event.into_domain(queue).map_err(|error| unread(&error))?);
    }
    Ok(history)
}
