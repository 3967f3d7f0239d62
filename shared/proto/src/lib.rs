//! The wire types of Windlass, generated from `proto/`, and the only conversions between them and the domain.
//!
//! A conversion from the wire checks: what it returns is valid, and what it refuses it names, as [`Error`].

mod envelope;
mod event;
mod flow;
mod form;
mod job;
#[cfg(test)]
mod later_version;
mod letter;
mod plain;
mod schedule;
mod task;
mod teller;
mod time;
mod told;
mod unique;
mod unread;

pub use envelope::{DEFAULT_CONTENT_TYPE, Incoming, claimed_id, headers, read_task};
pub use flow::{Waiting, flow_owner, flow_owner_of, held_until, hold_notice, slot_taken};
pub use job::{Claim, Done, Job, RecordBody, attempts_to_wire};
pub use letter::{LetterPlace, read_letter};
pub use plain::headers as unique_headers;
pub use task::decode_task;
pub use teller::Teller;
pub use time::{optional as read_instant, to_wire as instant};
pub use unique::{KeyMarker, read_replaced, replaced};
pub use unread::HandBack;

/// Generated from `proto/windlass/v1`.
#[allow(missing_docs, clippy::pedantic)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/windlass.v1.rs"));
}

/// A message is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Error {
    /// Which part of it, as the schema or the headers name it.
    pub field: String,
    /// What it was, and what was expected.
    pub reason: String,
    /// No value that this version knows: in what the fleet itself has written, a newer one's. Such a message is left to
    /// those who understand it.
    pub is_unknown: bool,
}

// === impl Error ===

impl Error {
    /// What is wrong with a field.
    pub fn new(field: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self { field: field.into(), reason: reason.to_string(), is_unknown: false }
    }

    /// A number that is none of the values of an enumeration.
    pub(crate) fn unknown(field: impl Into<String>, number: i32, expected: &str) -> Self {
        let reason = format!("{number} is not a known value: expected {expected}");
        Self { is_unknown: true, ..Self::new(field, reason) }
    }

    pub(crate) fn missing(field: &str) -> Self {
        Self::new(field, "is missing")
    }
}

impl From<windlass_core::InvalidTask> for Error {
    fn from(invalid: windlass_core::InvalidTask) -> Self {
        Self::new(invalid.field, invalid.reason)
    }
}

impl From<prost::DecodeError> for Error {
    fn from(error: prost::DecodeError) -> Self {
        Self::new("body", format!("is not the expected protobuf message: {error}"))
    }
}
