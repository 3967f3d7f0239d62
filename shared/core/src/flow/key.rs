//! The names that publishers give to what is limited, ordered or shared out: keys and tenants.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest, in bytes.
const MAX_BYTES: usize = 256;
/// What is expected, for an error.
const EXPECTED: &str = "1 to 256 bytes of UTF-8 without control characters";
/// Of a text that is refused, so many characters are shown.
const SHOWN: usize = 80;
/// Hexadecimal digits of a token.
const TOKEN_DIGITS: usize = 24;
/// Apart from all other uses of UUID version 5, whose SHA-1 is the hash here.
const NAMESPACE: Uuid = Uuid::from_u128(0x5e0c_41b7_93da_5a2f_8c16_666c_6f77_6b65);

/// A concurrency key, an ordering key or a tenant, as the publisher names it.
///
/// It is the publisher's own text, so it is never a part of a subject itself: [`FlowKey::token`] is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FlowKey(Arc<str>);

/// The text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` ({bytes} bytes) is not a key: expected {EXPECTED}")]
pub struct InvalidFlowKey {
    text: String,
    bytes: usize,
}

// === impl FlowKey ===

impl FlowKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The token of a subject that stands for it: the first 96 bits of its UUID version 5, as 24 lower-case
    /// hexadecimal digits.
    ///
    /// It must not change from one version to the next, as jobs wait under it. Six of the bits say that it is a UUID;
    /// by the other 90, two of a billion keys share a token with a probability below 10^-9.
    pub fn token(&self) -> String {
        let mut token = Uuid::new_v5(&NAMESPACE, self.0.as_bytes()).simple().to_string();
        token.truncate(TOKEN_DIGITS);
        token
    }
}

impl FromStr for FlowKey {
    type Err = InvalidFlowKey;

    fn from_str(text: &str) -> Result<Self, InvalidFlowKey> {
        if (1..=MAX_BYTES).contains(&text.len()) && !text.contains(char::is_control) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidFlowKey { text: shown(text), bytes: text.len() })
        }
    }
}

impl TryFrom<String> for FlowKey {
    type Error = InvalidFlowKey;

    fn try_from(text: String) -> Result<Self, InvalidFlowKey> {
        text.parse()
    }
}

impl From<FlowKey> for String {
    fn from(key: FlowKey) -> Self {
        key.0.as_ref().into()
    }
}

impl Borrow<str> for FlowKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Enough of a text to be recognised, whatever was sent, and safe to print.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_bounds() {
        let (long, longer) = ("k".repeat(256), "k".repeat(257));
        // Bytes count, not characters: 128 of two bytes each fit.
        let (wide, wider) = ("ä".repeat(128), "ä".repeat(129));
        for good in ["a", "account/42 *.>", "Zoë", &long, &wide] {
            assert_eq!(good.parse::<FlowKey>().unwrap().as_str(), good);
        }
        for bad in ["", "a\nb", "a\0", "\u{85}", &longer, &wider] {
            assert!(bad.parse::<FlowKey>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_refusal_shows_little_of_the_text_and_no_control_characters() {
        let error = "x\x1b".repeat(5000).parse::<FlowKey>().unwrap_err().to_string();
        assert_eq!(error.matches(['x', char::REPLACEMENT_CHARACTER]).count(), 81, "{error}");
        assert!(
            error.contains("10000 bytes") && error.contains(EXPECTED) && !error.contains('\x1b'),
            "{error}"
        );
    }

    /// The first digits of what another implementation of UUID version 5 makes of them.
    #[test]
    fn tokens_never_change() {
        for (key, token) in [("account-42", "508a57e3586252a7b418470b"), ("Zoë", "dd194e10c4c1510a88c04cf0")]
        {
            assert_eq!(key.parse::<FlowKey>().unwrap().token(), token);
        }
    }

    #[test]
    fn it_is_text_in_json() {
        let key: FlowKey = serde_json::from_str(r#""a b""#).unwrap();
        assert_eq!(serde_json::to_string(&key).unwrap(), r#""a b""#);
        assert!(serde_json::from_str::<FlowKey>(r#""""#).is_err());
    }
}
