//! What is said of an object, as ADR-20 has it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use windlass_core::ObjectRef;

/// The last message under an object's `M`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Meta {
    name: String,
    bucket: String,
    nuid: String,
    pub(super) size: u64,
    chunks: u64,
    mtime: Timestamp,
    #[serde(default)]
    pub(super) digest: String,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) deleted: bool,
    options: Option<Options>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Options {
    max_chunk_size: Option<usize>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(value: &bool) -> bool {
    !value
}

// === impl Meta ===

impl Meta {
    pub(super) fn new(bucket: &str, nuid: &str, object: &ObjectRef, chunks: u64, chunk_bytes: usize) -> Self {
        Self {
            name: object.name.clone(),
            bucket: bucket.to_owned(),
            nuid: nuid.to_owned(),
            size: object.bytes,
            chunks,
            // For people; whatever depends on an age takes the broker's own time.
            mtime: Timestamp::now(),
            digest: digest(object),
            deleted: false,
            options: Some(Options { max_chunk_size: Some(chunk_bytes) }),
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    pub(super) fn decode(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }
}

/// As it stands there.
pub(super) fn digest(object: &ObjectRef) -> String {
    format!("SHA-256={}", URL_SAFE.encode(object.sha256))
}
