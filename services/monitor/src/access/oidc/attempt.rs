//! A sign-in that is under way: `STATE.EXPIRES.NEXT.SEAL` in a cookie, as nothing of it is stored here.
//!
//! What has to be secret follows from the state by the key: the nonce that the token must bear, and the verifier of PKCE
//! (RFC 7636). So the cookie alone is not enough to redeem a code, and a page of another site has no cookie.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use subtle::ConstantTimeEq as _;

use crate::access::session::{hex, seal};

const ATTEMPT: &str = "windlass oidc attempt";
const NONCE: &str = "windlass oidc nonce";
const VERIFIER: &str = "windlass oidc verifier";

/// How long somebody may take to sign in at the provider.
pub(super) const LASTS: Duration = Duration::from_mins(10);

/// A sign-in that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    state: String,
    expires_at: Timestamp,
    /// Where it leads.
    next: String,
}

// === impl Attempt ===

impl Attempt {
    /// Begins one; none only if the system has no random bytes.
    pub(super) fn begin(next: &str, now: Timestamp) -> Option<Self> {
        let mut random = [0; 32];
        SystemRandom::new().fill(&mut random).ok()?;
        let expires_at = now.checked_add(SignedDuration::try_from(LASTS).ok()?).ok()?;
        Some(Self { state: hex(&random), expires_at, next: next.to_owned() })
    }

    /// As the cookie holds it.
    pub(super) fn value(&self, key: &[u8]) -> String {
        let next = BASE64_URL_SAFE_NO_PAD.encode(&self.next);
        let body = format!("{}.{}.{next}", self.state, self.expires_at.as_second());
        format!("{body}.{}", seal(key, ATTEMPT, &body))
    }

    /// Opens one that was begun here, is not over, and has this state.
    pub(super) fn open(value: &str, key: &[u8], state: &str, now: Timestamp) -> Option<Self> {
        let (body, shown) = value.rsplit_once('.')?;
        if !bool::from(seal(key, ATTEMPT, body).as_bytes().ct_eq(shown.as_bytes())) {
            return None;
        }
        let mut parts = body.split('.');
        let found = parts.next()?.to_owned();
        let expires_at = Timestamp::from_second(parts.next()?.parse().ok()?).ok()?;
        let next = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok()?;
        let is_it = bool::from(found.as_bytes().ct_eq(state.as_bytes()));
        (is_it && expires_at > now).then_some(Self { state: found, expires_at, next })
    }

    pub(super) fn state(&self) -> &str {
        &self.state
    }

    pub(super) fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    pub(super) fn next(&self) -> &str {
        &self.next
    }

    /// What its ID token must bear.
    pub(super) fn nonce(&self, key: &[u8]) -> String {
        seal(key, NONCE, &self.state)
    }

    /// What its code is redeemed with.
    pub(super) fn verifier(&self, key: &[u8]) -> String {
        seal(key, VERIFIER, &self.state)
    }

    /// What the provider is told of the verifier: its SHA-256.
    pub(super) fn challenge(&self, key: &[u8]) -> String {
        let verifier = self.verifier(key);
        BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"a key";

    #[test]
    fn an_attempt_opens_with_its_state_until_it_is_over() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let attempt = Attempt::begin("/jobs?q=a%20b", now).unwrap();
        let (value, state) = (attempt.value(KEY), attempt.state().to_owned());
        assert_eq!(Attempt::open(&value, KEY, &state, now), Some(attempt.clone()));
        let other = Attempt::begin("/", now).unwrap();
        assert_ne!(other.state(), state);
        let late = now + jiff::SignedDuration::from_mins(11);
        let elsewhere = BASE64_URL_SAFE_NO_PAD.encode("//evil.example");
        let forged = value.replace(value.split('.').nth(2).unwrap(), &elsewhere);
        for (value, key, state, at) in [
            (&value, KEY, other.state(), now),
            (&value, KEY, "", now),
            (&value, b"another", &state, now),
            (&value, KEY, &state, late),
            (&forged, KEY, &state, now),
            (&other.value(KEY), KEY, &state, now),
        ] {
            assert_eq!(Attempt::open(value, key, state, at), None, "{value} {state} {at}");
        }
        for secret in [attempt.nonce(KEY), attempt.verifier(KEY)] {
            assert!(secret.len() >= 43 && !value.contains(&secret), "RFC 7636, section 4.1");
        }
        assert_ne!(attempt.nonce(KEY), attempt.verifier(KEY));
        assert_eq!(attempt.challenge(KEY).len(), 43);
    }
}
