//! The payload that the command line names.

use std::io::Read as _;
use std::path::Path;

use windlass::client::Payloads;

use crate::commands::Error;

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

/// A payload and what it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) bytes: Vec<u8>,
    pub(super) content_type: String,
}

// === impl Payload ===

impl Payload {
    /// What the command line names: text, `@FILE`, `-`, or a file by its option.
    pub(super) fn read(
        text: Option<&str>,
        file: Option<&Path>,
        content_type: Option<&str>,
    ) -> Result<Self, Error> {
        match (text, file) {
            (None, Some(path)) => Self::of_file(path, content_type),
            (None, None) if content_type.is_none_or(is_json) => Self::json(b"null".to_vec(), content_type),
            (None, None) => Self::new(Vec::new(), content_type),
            (Some("-"), _) => Self::new(bounded(std::io::stdin().lock())?, content_type),
            (Some(text), _) => match text.strip_prefix('@') {
                Some(path) => Self::of_file(Path::new(path), content_type),
                None => Self::new(text.as_bytes().to_vec(), content_type),
            },
        }
    }

    /// Text or standard input: JSON, unless it is said to be something else.
    fn new(bytes: Vec<u8>, content_type: Option<&str>) -> Result<Self, Error> {
        match content_type {
            Some(other) if !is_json(other) => Ok(Self { bytes, content_type: media_type(other)? }),
            _ => Self::json(bytes, content_type),
        }
    }

    fn json(bytes: Vec<u8>, content_type: Option<&str>) -> Result<Self, Error> {
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes) {
            let reason = format!("is not JSON ({error}): expected JSON, or --content-type for anything else");
            return Err(Error::input("payload", reason));
        }
        Ok(Self { bytes, content_type: media_type(content_type.unwrap_or(JSON))? })
    }

    /// A file's bytes as they are.
    fn of_file(path: &Path, content_type: Option<&str>) -> Result<Self, Error> {
        let file = std::fs::File::open(path)
            .map_err(|error| Error::input("payload", format!("cannot read {}: {error}", path.display())))?;
        let bytes = bounded(file)?;
        let named_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        match content_type {
            Some(other) => Self::new(bytes, Some(other)),
            None if named_json => Self::json(bytes, None),
            None => Ok(Self { bytes, content_type: BYTES.to_owned() }),
        }
    }
}

fn is_json(content_type: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(JSON)
}

fn media_type(text: &str) -> Result<String, Error> {
    let valid = text.len() <= 128 && text.contains('/') && text.bytes().all(|b| (b' '..=b'~').contains(&b));
    if valid {
        Ok(text.to_owned())
    } else {
        Err(Error::input(
            "content_type",
            "is not a media type: expected as text/plain, at most 128 characters",
        ))
    }
}

/// Reads no more than a payload may have, and one byte to notice that there is more.
fn bounded(from: impl std::io::Read) -> Result<Vec<u8>, Error> {
    let limit = Payloads::default().max_bytes;
    let mut bytes = Vec::new();
    from.take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::input("payload", format!("cannot be read: {error}")))?;
    if bytes.len() > limit {
        return Err(Error::input(
            "payload",
            format!("is larger than {limit} bytes, the most that a task may have"),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[&str]) -> Result<Payload, Error> {
        Payload::read(text.first().copied(), None, text.get(1).copied())
    }

    fn payload(text: &[&str]) -> (Vec<u8>, String) {
        let Payload { bytes, content_type } = read(text).unwrap();
        (bytes, content_type)
    }

    #[test]
    fn payloads() {
        let is = |bytes: &[u8], content_type: &str| (bytes.to_vec(), content_type.to_owned());
        assert_eq!(payload(&[]), is(b"null", JSON));
        assert_eq!(payload(&["{\"a\": 1}"]), is(b"{\"a\": 1}", JSON));
        assert_eq!(payload(&["-1"]), is(b"-1", JSON));
        assert_eq!(payload(&["hello", "text/plain"]), is(b"hello", "text/plain"));
        assert_eq!(
            {
                let Payload { bytes, content_type } = Payload::read(None, None, Some("text/plain")).unwrap();
                (bytes, content_type)
            },
            is(b"", "text/plain")
        );
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            format!("@{}", path.display())
        };
        assert_eq!(payload(&[&file("a.bin", b"\0\xff")]), is(b"\0\xff", BYTES));
        assert_eq!(payload(&[&file("a.json", b"[1]")]), is(b"[1]", JSON));
        assert_eq!(read(&[&file("b.json", b"[")]).unwrap_err().field(), Some("payload"));
        let path = folder.path().join("a.json");
        assert_eq!(Payload::read(None, Some(&path), None).unwrap().content_type, JSON);
        let limit = Payloads::default().max_bytes;
        assert_eq!(payload(&[&file("full", &vec![0; limit])]).0.len(), limit);
        assert_eq!(read(&[&file("large", &vec![0; limit + 1])]).unwrap_err().field(), Some("payload"));
    }
}
