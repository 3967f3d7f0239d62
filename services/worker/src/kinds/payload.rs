//! Payloads that are JSON of the right form and still not what they must be.

use std::fmt::Display;

use super::failing::Failing;

/// A field of a payload is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("payload: {field}: {reason}")]
pub struct Invalid {
    field: &'static str,
    reason: String,
}

// === impl Invalid ===

impl Invalid {
    pub(crate) fn new(field: &'static str, reason: impl Display) -> Self {
        Self { field, reason: reason.to_string() }
    }
}

impl Failing for Invalid {
    fn code(&self) -> String {
        "invalid_payload".to_owned()
    }

    fn is_terminal(&self) -> bool {
        true
    }
}
