//! Authenticated encryption: XChaCha20-Poly1305.
//!
//! Its nonce of 192 bits may be drawn at random for every message. With one of 96 bits, as AES-GCM has, a key must be
//! changed before 2^32 messages, which a busy fleet writes within weeks.

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use windlass_core::{Compression, JobId};

use super::{Error, Field, Key};

/// The first byte of sealed bytes.
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;

/// What sealed bytes belong to: they can be opened for nothing else.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) job_id: JobId,
    pub(super) field: Field,
    /// Else it could be changed on the way.
    pub(super) compression: Compression,
}

// === impl Place ===

impl Place {
    /// What is authenticated beside the bytes.
    fn associated_data(&self) -> String {
        format!("windlass:{VERSION}:{}:{}:{}", self.job_id, self.field.as_str(), self.compression)
    }
}

/// The version, a fresh nonce, then the ciphertext with its tag.
pub(super) fn seal(key: &Key, place: &Place, plain: &[u8]) -> Result<Vec<u8>, Error> {
    seal_with(key, place, plain, rand::random())
}

pub(super) fn seal_with(
    key: &Key,
    place: &Place,
    plain: &[u8],
    nonce: [u8; NONCE_BYTES],
) -> Result<Vec<u8>, Error> {
    let aad = place.associated_data();
    let payload = Payload { msg: plain, aad: aad.as_bytes() };
    let ciphertext = cipher(key).encrypt(XNonce::from_slice(&nonce), payload).map_err(|_| Error::Seal)?;
    let mut sealed = Vec::with_capacity(1 + NONCE_BYTES + ciphertext.len());
    sealed.push(VERSION);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&ciphertext);
    Ok(sealed)
}

pub(super) fn open(key: &Key, place: &Place, sealed: &[u8]) -> Result<Vec<u8>, Error> {
    let Some((&VERSION, rest)) = sealed.split_first() else { return Err(Error::Form) };
    let Some((nonce, ciphertext)) = rest.split_at_checked(NONCE_BYTES) else { return Err(Error::Form) };
    let aad = place.associated_data();
    let payload = Payload { msg: ciphertext, aad: aad.as_bytes() };
    cipher(key).decrypt(XNonce::from_slice(nonce), payload).map_err(|_| Error::Refused(key.id().clone()))
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.secret().into())
}
