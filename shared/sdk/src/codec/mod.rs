//! Payloads, results and texts on their way: compressed, then sealed, so that nobody in between can read or change
//! them. Publishers and workers have a codec, and the same keys; dispatchers, schedulers and monitors have none.
//!
//! The wire form is specified in `proto/windlass/v1/task.proto`.
//!
//! ```
//! use windlass::codec::{Codec, Field, Keyring};
//! use windlass::JobId;
//!
//! let keys: Keyring = "k2:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".parse()?;
//! let codec = Codec::default().with_keys(keys).with_compression();
//! let id: JobId = "01890a5d-ac96-774b-bcce-b302099a8057".parse()?;
//! let (sealed, encoding) = codec.encode(id, Field::Payload, "a secret".into())?;
//! assert_eq!(encoding.words(), "sealed");
//! assert_eq!(codec.decode(id, Field::Payload, sealed.clone(), &encoding, 1024)?, "a secret");
//! assert!(codec.decode(id, Field::Result, sealed, &encoding, 1024).is_err(), "it was sealed for another field");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compress;
mod key;
mod seal;
#[cfg(test)]
mod tests;
mod text;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use windlass_core::{Compression, Encoding, JobId};

pub use self::key::{Error as KeyError, Key, Keyring};
pub use self::text::is_sealed as is_sealed_text;
pub use windlass_core::KeyId;

/// Compresses, seals and opens. Clones share their keys. By default it does neither to what it writes, reads what was
/// compressed, and has no keys.
#[derive(Debug, Clone, Default)]
pub struct Codec {
    keys: Option<Arc<Keyring>>,
    compresses: bool,
    only_sealed: bool,
}

/// What of a job is sealed: what was sealed as one cannot be opened as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// What the handler works on.
    Payload,
    /// What the handler returned.
    Result,
    /// Why an attempt failed.
    Error,
    /// A line of an attempt's log.
    Log,
    /// A note of an attempt.
    Note,
    /// What an attempt left for the next.
    Checkpoint,
}

/// Bytes or a text cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key is missing here.
    #[error("it is sealed with the key `{0}`, which is not among the keys here")]
    UnknownKey(KeyId),
    /// They were changed, or belong elsewhere.
    #[error("it cannot be opened with the key `{0}`: it was changed, or sealed for another job or field")]
    Refused(KeyId),
    /// Of a later version, or no seal at all.
    #[error("it is not sealed in a form that is known here: expected version 1")]
    Form,
    /// Plain, where only sealed is taken.
    #[error("it is not sealed, and only what is sealed is taken here")]
    NotSealed,
    /// Compressed bytes that are none.
    #[error("it cannot be decompressed")]
    Decompress(#[source] io::Error),
    /// Compression failed, for lack of memory.
    #[error("it cannot be compressed")]
    Compress(#[source] io::Error),
    /// Larger than it may be, or than it is said to be.
    #[error("it has more than {limit} bytes once it is decompressed")]
    TooLarge {
        /// Of the plain bytes.
        limit: usize,
    },
    /// Nothing can be sealed: more bytes than the cipher takes.
    #[error("it is too large to be sealed")]
    Seal,
}

// === impl Codec ===

impl Codec {
    /// Compresses what gets smaller by it.
    #[must_use]
    pub fn with_compression(mut self) -> Self {
        self.compresses = true;
        self
    }

    /// Seals with the active key of these, and opens with any.
    #[must_use]
    pub fn with_keys(mut self, keys: Keyring) -> Self {
        self.keys = Some(Arc::new(keys));
        self
    }

    /// Refuses payloads and results that are not sealed, so that who has no key cannot slip one in. For when all
    /// publishers seal.
    #[must_use]
    pub fn only_sealed(mut self) -> Self {
        self.only_sealed = true;
        self
    }

    /// Whether what it writes is sealed.
    pub fn seals(&self) -> bool {
        self.keys.is_some()
    }

    /// Makes bytes ready for their way, and says what was done.
    pub fn encode(&self, job_id: JobId, field: Field, plain: Bytes) -> Result<(Bytes, Encoding), Error> {
        let smaller =
            if self.compresses { compress::smaller(&plain).map_err(Error::Compress)? } else { None };
        let (bytes, compression) = match smaller {
            Some(smaller) => (smaller, Compression::Zstd),
            None => (plain, Compression::None),
        };
        let Some(keys) = &self.keys else { return Ok((bytes, Encoding { compression, key_id: None })) };
        let place = seal::Place { job_id, field, compression };
        let sealed = seal::seal(keys.active(), &place, &bytes)?;
        Ok((sealed.into(), Encoding { compression, key_id: Some(keys.active().id().clone()) }))
    }

    /// What [`Codec::encode`] was given. Never makes more than `limit` bytes of what is small.
    pub fn decode(
        &self,
        job_id: JobId,
        field: Field,
        bytes: Bytes,
        encoding: &Encoding,
        limit: usize,
    ) -> Result<Bytes, Error> {
        let compression = encoding.compression;
        let bytes = match &encoding.key_id {
            None if self.only_sealed => return Err(Error::NotSealed),
            None => bytes,
            Some(id) => {
                let place = seal::Place { job_id, field, compression };
                seal::open(self.key(id)?, &place, &bytes)?.into()
            }
        };
        match compression {
            Compression::Zstd => compress::expand(&bytes, limit).map(Bytes::from),
            Compression::None if bytes.len() > limit => Err(Error::TooLarge { limit }),
            Compression::None => Ok(bytes),
        }
    }

    /// A text that says of itself how to open it, so that it passes through databases and pages unchanged; the text as
    /// it is, if there are no keys.
    pub fn seal_text(&self, job_id: JobId, field: Field, text: &str) -> Result<String, Error> {
        let Some(keys) = &self.keys else { return Ok(text.to_owned()) };
        text::seal(keys.active(), job_id, field, text)
    }

    /// What [`Codec::seal_text`] was given; a text that is not sealed, as it is.
    pub fn open_text(&self, job_id: JobId, field: Field, text: &str) -> Result<String, Error> {
        match text::split(text) {
            None => Ok(text.to_owned()),
            Some(sealed) => {
                let sealed = sealed?;
                text::open(self.key(&sealed.key_id)?, job_id, field, &sealed)
            }
        }
    }

    fn key(&self, id: &KeyId) -> Result<&Key, Error> {
        let found = self.keys.as_ref().and_then(|keys| keys.find(id));
        found.ok_or_else(|| Error::UnknownKey(id.clone()))
    }
}

// === impl Field ===

impl Field {
    /// The word for it in what is authenticated.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Payload => "payload",
            Self::Result => "result",
            Self::Error => "error",
            Self::Log => "log",
            Self::Note => "note",
            Self::Checkpoint => "checkpoint",
        }
    }
}
