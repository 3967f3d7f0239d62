//! The session of a browser: `HOLDER.EXPIRES.NONCE.SEAL`, sealed with the token of who began it, or with the key of sign-ins
//! by OpenID Connect.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use subtle::ConstantTimeEq as _;

/// What a seal is for, so that none is taken for another.
const SESSION: &str = "windlass session";
const FORM: &str = "windlass form";

/// A session that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    value: String,
    nonce: String,
    expires_at: Timestamp,
    form_token: String,
}

// === impl Session ===

impl Session {
    /// Begins one; none only if the system has no random bytes.
    pub(super) fn begin(holder: &str, key: &[u8], lives: Duration, now: Timestamp) -> Option<Self> {
        let mut random = [0; 16];
        SystemRandom::new().fill(&mut random).ok()?;
        let expires_at = now.checked_add(SignedDuration::try_from(lives).ok()?).ok()?;
        let body = format!("{holder}.{}.{}", expires_at.as_second(), hex(&random));
        let seal = seal(key, SESSION, &body);
        Self::of(format!("{body}.{seal}"), key)
    }

    /// Whose a session claims to be.
    pub(super) fn holder_in(value: &str) -> Option<&str> {
        value.split('.').next()
    }

    /// Opens one that was begun with this key, and holds still.
    pub(super) fn open(value: &str, key: &[u8], now: Timestamp) -> Option<Self> {
        let (body, shown) = value.rsplit_once('.')?;
        if !bool::from(seal(key, SESSION, body).as_bytes().ct_eq(shown.as_bytes())) {
            return None;
        }
        Self::of(value.to_owned(), key).filter(|session| session.expires_at > now)
    }

    fn of(value: String, key: &[u8]) -> Option<Self> {
        let mut parts = value.split('.').skip(1);
        let expires_at = Timestamp::from_second(parts.next()?.parse().ok()?).ok()?;
        let nonce = parts.next()?.to_owned();
        let form_token = seal(key, FORM, &nonce);
        Some(Self { value, nonce, expires_at, form_token })
    }

    /// As the cookie holds it.
    pub(super) fn value(&self) -> &str {
        &self.value
    }

    /// Different in each.
    pub(super) fn nonce(&self) -> &str {
        &self.nonce
    }

    /// When it ends by itself.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// What its forms must show, which no other site knows.
    pub fn form_token(&self) -> &str {
        &self.form_token
    }

    /// Whether this is its form token.
    pub fn is_form_token(&self, shown: &str) -> bool {
        self.form_token.as_bytes().ct_eq(shown.as_bytes()).into()
    }
}

pub(super) fn seal(key: &[u8], what: &str, text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hex(hmac::sign(&key, format!("{what}\n{text}").as_bytes()).as_ref())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
