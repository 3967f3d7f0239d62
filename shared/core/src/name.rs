//! Names that become parts of subjects, consumers and labels, checked once where they enter.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The text is no such name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: expected {expected}")]
pub struct InvalidName {
    what: &'static str,
    expected: &'static str,
    text: String,
}

/// Letters, digits, `_` and `-`, a letter or digit first.
fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.into()))
                } else {
                    // Enough of it to be recognised, whatever was sent.
                    Err(InvalidName { what: $what, expected: $expected, text: text.chars().take(80).collect() })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of a queue: one token of a subject.
    QueueName, "queue name", "1 to 64 letters, digits, `_` and `-`, a letter or digit first",
    |text| text.len() <= 64 && is_word(text)
}

name! {
    /// The name of a worker pool: the trust domain that shares a stream.
    PoolName, "pool name", "1 to 32 letters, digits, `_` and `-`, a letter or digit first",
    |text| text.len() <= 32 && is_word(text)
}

name! {
    /// The id of a schedule.
    ScheduleId, "schedule id", "1 to 64 letters, digits, `_` and `-`, a letter or digit first",
    |text| text.len() <= 64 && is_word(text)
}

name! {
    /// What a task asks for, as `file.digest`: it chooses the handler.
    Kind, "kind", "1 to 128 bytes: words of letters, digits, `_` and `-`, with dots between them",
    |text| text.len() <= 128 && text.split('.').all(is_word)
}

name! {
    /// Names a key of whoever seals and opens payloads. It is no secret.
    KeyId, "key id", "1 to 64 letters, digits, `_`, `-` and `.`",
    |text| {
        (1..=64).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
    }
}

// === impl QueueName ===

impl Default for QueueName {
    fn default() -> Self {
        Self("default".into())
    }
}

// === impl PoolName ===

impl Default for PoolName {
    fn default() -> Self {
        Self("default".into())
    }
}

impl PoolName {
    /// Whether it is the pool that queues belong to unless told otherwise.
    pub fn is_default(&self) -> bool {
        self.as_str() == "default"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: FromStr>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(text.parse::<T>().is_ok(), "{text}");
        }
        for text in bad {
            assert!(text.parse::<T>().is_err(), "{text}");
        }
    }

    #[test]
    fn queue_names() {
        let (long, longer) = ("q".repeat(64), "q".repeat(65));
        check::<QueueName>(
            &["a", "default", "Mail-2_x", &long],
            &["", &longer, "a.b", "a b", "*", ">", "-a", "ä", "a\0"],
        );
    }

    #[test]
    fn kinds() {
        let (long, longer) = ("k".repeat(128), "k".repeat(129));
        check::<Kind>(
            &["a", "file.digest", "a-b.c_d", &long],
            &["", &longer, ".a", "a.", "a..b", "a b", "a/b", "*"],
        );
    }

    #[test]
    fn key_ids() {
        let (long, longer) = ("k".repeat(64), "k".repeat(65));
        check::<KeyId>(&["k", "2026-11.b_2", &long], &["", &longer, "a:b", "a b", "ä"]);
    }
}
