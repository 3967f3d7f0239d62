//! Sealed texts: `windlass-sealed:1:<key id>:<base64>`.
//!
//! The base64 is that of RFC 4648, section 5, without padding; the text is UTF-8 before it is sealed, and never
//! compressed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use windlass_core::{Compression, JobId, KeyId};

use super::{Error, Field, Key, seal};

const PREFIX: &str = "windlass-sealed:";
const VERSION: &str = "1";

/// A sealed text in its parts.
pub(super) struct SealedText {
    pub(super) key_id: KeyId,
    bytes: Vec<u8>,
}

/// Whether a text says that it is sealed.
pub fn is_sealed(text: &str) -> bool {
    text.starts_with(PREFIX)
}

pub(super) fn seal(key: &Key, job_id: JobId, field: Field, text: &str) -> Result<String, Error> {
    let sealed = seal::seal(key, &place(job_id, field), text.as_bytes())?;
    Ok(format!("{PREFIX}{VERSION}:{}:{}", key.id(), URL_SAFE_NO_PAD.encode(sealed)))
}

/// None if the text is not sealed.
pub(super) fn split(text: &str) -> Option<Result<SealedText, Error>> {
    let rest = text.strip_prefix(PREFIX)?;
    let parts = || {
        let (VERSION, rest) = rest.split_once(':')? else { return None };
        let (key_id, bytes) = rest.split_once(':')?;
        Some(SealedText { key_id: key_id.parse().ok()?, bytes: URL_SAFE_NO_PAD.decode(bytes).ok()? })
    };
    Some(parts().ok_or(Error::Form))
}

pub(super) fn open(key: &Key, job_id: JobId, field: Field, sealed: &SealedText) -> Result<String, Error> {
    let plain = seal::open(key, &place(job_id, field), &sealed.bytes)?;
    String::from_utf8(plain).map_err(|_| Error::Form)
}

fn place(job_id: JobId, field: Field) -> seal::Place {
    seal::Place { job_id, field, compression: Compression::None }
}
