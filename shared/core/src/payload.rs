//! How a payload or a result travels: as it is, compressed, sealed, or as an object beside its message.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::KeyId;

/// How bytes were made smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 8878.
    Zstd,
}

/// What was done to bytes, in this order: compressed, then sealed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Encoding {
    /// First.
    pub compression: Compression,
    /// The key that they were sealed with, if they were.
    pub key_id: Option<KeyId>,
}

/// Bytes in Object Store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// In its bucket; begins with the job's queue and id.
    pub name: String,
    /// As stored, so after their encoding.
    pub bytes: u64,
    /// Of the stored bytes.
    #[serde(with = "hex")]
    pub sha256: [u8; 32],
}

/// What was done to the bytes of a payload or a result, and where they are: in the message itself if no object is
/// named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Form {
    /// What was done to them.
    pub encoding: Encoding,
    /// Where they are.
    pub object: Option<ObjectRef>,
}

/// The word for bytes that were sealed.
const SEALED: &str = "sealed";

/// The key that a text was sealed with, as the text itself says (`windlass-sealed:1:<key id>:…`); none if it is not
/// sealed. For who has no keys and shows it to people.
pub fn sealed_text_key(text: &str) -> Option<&str> {
    text.strip_prefix("windlass-sealed:")?.split(':').nth(1)
}

/// A text as people without keys see it.
pub fn readable(text: &str) -> std::borrow::Cow<'_, str> {
    match sealed_text_key(text) {
        Some(key_id) => format!("sealed with the key `{key_id}`").into(),
        None => text.into(),
    }
}

/// Whether a payload has this text in it, in whatever case, as it stands in its message: of JSON, as it is written. What
/// is compressed, sealed, an object of its own or no text has none.
pub fn has_text(bytes: &[u8], form: &Form, text: &str) -> bool {
    let readable = std::str::from_utf8(bytes).ok().filter(|_| form.is_plain());
    readable.is_some_and(|payload| payload.to_lowercase().contains(&text.to_lowercase()))
}

// === impl Compression ===

impl Compression {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Encoding ===

impl Encoding {
    /// Whether nothing was done.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// As the header `Windlass-Encoding` has it: `zstd`, `sealed` or `zstd+sealed`; empty if nothing was done.
    pub fn words(&self) -> &'static str {
        match (self.compression, self.key_id.is_some()) {
            (Compression::None, false) => "",
            (Compression::None, true) => SEALED,
            (Compression::Zstd, false) => "zstd",
            (Compression::Zstd, true) => "zstd+sealed",
        }
    }

    /// Reads [`Encoding::words`]. The reason says what was expected.
    pub fn from_words(words: &str, key_id: Option<KeyId>) -> Result<Self, &'static str> {
        let (compression, sealed) = match words {
            "" => (Compression::None, false),
            "sealed" => (Compression::None, true),
            "zstd" => (Compression::Zstd, false),
            "zstd+sealed" => (Compression::Zstd, true),
            _ => return Err("expected `zstd`, `sealed` or `zstd+sealed`"),
        };
        match (sealed, key_id.is_some()) {
            (true, false) => Err("says `sealed`, but no key's id is given"),
            (false, true) => Err("does not say `sealed`, but a key's id is given"),
            _ => Ok(Self { compression, key_id }),
        }
    }
}

// === impl Form ===

impl Form {
    /// Whether the bytes are as they were made, and in the message itself.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// A digest as hexadecimal digits.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}", super::Hex(bytes)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let expected = || D::Error::custom("expected 64 hexadecimal digits");
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(expected());
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| expected())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| expected())?;
        }
        Ok(bytes)
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        let key: KeyId = "k-1".parse().unwrap();
        for compression in [Compression::None, Compression::Zstd] {
            for key_id in [None, Some(key.clone())] {
                let encoding = Encoding { compression, key_id: key_id.clone() };
                assert_eq!(Encoding::from_words(encoding.words(), key_id), Ok(encoding));
            }
        }
        for (words, key_id) in
            [("gzip", None), ("sealed+zstd", Some(&key)), ("sealed", None), ("zstd", Some(&key))]
        {
            assert!(Encoding::from_words(words, key_id.cloned()).is_err(), "{words}");
        }
    }

    #[test]
    fn sealed_texts_are_told_apart() {
        assert_eq!(readable("windlass-sealed:1:k.2:AAAA"), "sealed with the key `k.2`");
        assert_eq!(readable("it broke: windlass-sealed:1:k"), "it broke: windlass-sealed:1:k");
    }

    #[test]
    fn a_form_reads_back_from_json() {
        let object = ObjectRef { name: "a/b/c".into(), bytes: 7, sha256: [0xab; 32] };
        let encoding = Encoding { compression: Compression::Zstd, key_id: "k".parse().ok() };
        let form = Form { encoding, object: Some(object) };
        let text = serde_json::to_string(&form).unwrap();
        assert!(text.contains(&"ab".repeat(32)), "{text}");
        assert_eq!(serde_json::from_str::<Form>(&text).unwrap(), form);
        assert!(serde_json::from_str::<Form>(&text.replace("abab", "xy")).is_err());
    }
}
