//! Configuration values that are never shown.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What is shown in place of a secret.
const HIDDEN: &str = "***";

/// A secret: Debug and Serialize show `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The address of a server: a user and a password in it are shown as `***`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct ServerUrl(String);

/// Credentials found in an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UserInfo {
    /// `user:password@`.
    Password(String, Secret),
    /// `token@`.
    Token(Secret),
}

// === impl Secret ===

impl Secret {
    /// Keeps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself: for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Whatever stands there is not repeated in the message.
        String::deserialize(deserializer).map(Self).map_err(|_| serde::de::Error::custom("expected text"))
    }
}

// === impl ServerUrl ===

impl ServerUrl {
    /// Takes an address as it is.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The address without credentials, and the first user information in it.
    pub(crate) fn split(&self) -> (String, Option<UserInfo>) {
        let mut found = None;
        let mut bare = Vec::new();
        for url in self.0.split(',').map(str::trim) {
            let (scheme, rest) = split_scheme(url);
            match rest.rsplit_once('@') {
                Some((info, host)) => {
                    found = found.or_else(|| Some(UserInfo::parse(info)));
                    bare.push(format!("{scheme}{host}"));
                }
                None => bare.push(url.to_owned()),
            }
        }
        (bare.join(","), found)
    }

    /// The address as it may be shown.
    pub fn redacted(&self) -> String {
        self.0.split(',').map(redact).collect::<Vec<_>>().join(",")
    }
}

/// The scheme with its `://`, and what follows.
fn split_scheme(url: &str) -> (&str, &str) {
    url.split_at(url.find("://").map_or(0, |at| at + "://".len()))
}

/// Hides the user information (RFC 3986, section 3.2.1) of one address.
fn redact(url: &str) -> String {
    let (scheme, rest) = split_scheme(url);
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}{HIDDEN}@{host}"),
        None => url.to_owned(),
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl Serialize for ServerUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.redacted())
    }
}

// === impl UserInfo ===

impl UserInfo {
    fn parse(info: &str) -> Self {
        match info.split_once(':') {
            Some((user, password)) => Self::Password(percent_decode(user), Secret(percent_decode(password))),
            None => Self::Token(Secret(percent_decode(info))),
        }
    }
}

/// RFC 3986, section 2.1; what is no escape stays as it is.
fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%').then(|| tail.get(..2)).flatten();
        let byte = escaped.and_then(|hex| u8::from_str_radix(str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn credentials_in_an_address_are_hidden() {
        for (url, shown) in [
            ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
            ("nats://me:p@ss@host:4222", "nats://***@host:4222"),
            ("tls://token@a,tls://b:1", "tls://***@a,tls://b:1"),
            ("me:secret@host", "***@host"),
        ] {
            assert_eq!(format!("{:?}", ServerUrl::new(url)), shown);
        }
    }

    #[test]
    fn credentials_leave_an_address() {
        let password =
            |user: &str, secret: &str| Some(UserInfo::Password(user.to_owned(), Secret::new(secret)));
        for (url, bare, found) in [
            ("nats://a:4222", "nats://a:4222", None),
            ("nats://me:p%40ss%zz@a, tls://b", "nats://a,tls://b", password("me", "p@ss%zz")),
            ("nats://t0ken@a", "nats://a", Some(UserInfo::Token(Secret::new("t0ken")))),
        ] {
            assert_eq!(ServerUrl::new(url).split(), (bare.to_owned(), found));
        }
    }
}
