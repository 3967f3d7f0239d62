//! `file.digest`: the SHA-256 of a file.
//!
//! Takes `{"path": "…"}`, a regular file or a link to one; a relative path starts at the worker's working directory.
//! Gives `{"sha256": "<64 hexadecimal digits>", "bytes": n}`, of what was read. A file that does not exist, is none or
//! may not be read fails the job at once; other errors are tried again.

use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use windlass::worker::context::Context;
use windlass::{Failure, Job};

use super::failing::{Failing, failure};

/// The payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// Of the file.
    pub path: PathBuf,
}

/// The result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digested {
    /// 64 hexadecimal digits in lower case.
    pub sha256: String,
    /// How many were read.
    pub bytes: u64,
}

/// A file has no digest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is a folder, a pipe or a device.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// Its path.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The attempt was told to stop.
    #[error("stopped while reading {}", path.display())]
    Stopped {
        /// Of the file.
        path: PathBuf,
    },
    /// The thread that read it is gone.
    #[error("the thread that read {} is gone", path.display())]
    Gone {
        /// Of the file.
        path: PathBuf,
        /// Why.
        source: tokio::task::JoinError,
    },
}

/// How much is read at a time, and so how soon a cancellation is noticed.
const CHUNK_BYTES: usize = 128 * 1024;

impl Job for FileDigest {
    const KIND: &'static str = "file.digest";
}

pub(crate) async fn handle(job: FileDigest, context: Context) -> Result<Digested, Failure> {
    run(job.path, context.cancelled()).await.map_err(failure)
}

/// Reads on a thread of its own, until told to stop.
async fn run(path: PathBuf, stopped: impl Future<Output = ()>) -> Result<Digested, Error> {
    let stop = CancellationToken::new();
    // Also where this future is dropped.
    let _stop_on_drop = stop.clone().drop_guard();
    let mut reading = tokio::task::spawn_blocking({
        let (path, stop) = (path.clone(), stop.clone());
        move || digest(&path, &stop)
    });
    let read = tokio::select! {
        read = &mut reading => read,
        () = stopped => {
            stop.cancel();
            reading.await
        }
    };
    read.unwrap_or_else(|source| Err(Error::Gone { path, source }))
}

fn digest(path: &Path, stop: &CancellationToken) -> Result<Digested, Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    let check = |metadata: Metadata| {
        if metadata.is_file() { Ok(()) } else { Err(Error::NotAFile { path: path.to_owned() }) }
    };
    // Before it is opened: to open a pipe would wait for its other end.
    check(std::fs::metadata(path).map_err(unreadable)?)?;
    let mut file = File::open(path).map_err(unreadable)?;
    check(file.metadata().map_err(unreadable)?)?;
    let mut hasher = Sha256::new();
    let mut bytes = 0;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        if stop.is_cancelled() {
            return Err(Error::Stopped { path: path.to_owned() });
        }
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&chunk[..count]);
                bytes += count as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
    let sha256 = hasher.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    Ok(Digested { sha256, bytes })
}

/// The word for an error of the file system, and whether it will be the same next time.
pub(super) fn classify(error: &std::io::Error) -> (&'static str, bool) {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => ("not_found", true),
        ErrorKind::PermissionDenied => ("permission_denied", true),
        ErrorKind::InvalidInput | ErrorKind::InvalidFilename => ("invalid_path", true),
        _ => ("io", false),
    }
}

// === impl Error ===

impl Failing for Error {
    fn code(&self) -> String {
        let code = match self {
            Self::NotAFile { .. } => "not_a_file",
            Self::Unreadable { source, .. } => classify(source).0,
            Self::Stopped { .. } => "stopped",
            Self::Gone { .. } => "panic",
        };
        code.to_owned()
    }

    fn is_terminal(&self) -> bool {
        match self {
            Self::NotAFile { .. } => true,
            Self::Unreadable { source, .. } => classify(source).1,
            Self::Stopped { .. } | Self::Gone { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    async fn digest_of(content: &[u8]) -> Digested {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, content).unwrap();
        run(path, pending()).await.unwrap()
    }

    async fn failure_of(path: PathBuf) -> (String, bool) {
        let error = run(path, pending()).await.unwrap_err();
        (error.code(), error.is_terminal())
    }

    #[tokio::test]
    async fn known_digests() {
        // FIPS 180-4, the examples of the standard and the empty message.
        for (content, sha256) in [
            (&b""[..], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
            (&vec![b'a'; 1_000_000], "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
        ] {
            let expected = Digested { sha256: sha256.to_owned(), bytes: content.len() as u64 };
            assert_eq!(digest_of(content).await, expected);
        }
    }

    #[tokio::test]
    async fn what_has_no_digest_fails_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let terminal = |code: &str| (code.to_owned(), true);
        assert_eq!(failure_of(folder.path().join("absent")).await, terminal("not_found"));
        assert_eq!(failure_of(folder.path().to_owned()).await, terminal("not_a_file"));
        assert_eq!(failure_of(PathBuf::new()).await, terminal("not_found"));
        assert_eq!(failure_of(PathBuf::from("a\0b")).await, terminal("invalid_path"));
        assert_eq!(failure_of(PathBuf::from("x".repeat(5000))).await, terminal("invalid_path"));
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(failure_of(file.join("below")).await, terminal("not_found"));
        // Opening it would wait for a writer.
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(failure_of(pipe).await, terminal("not_a_file"));
    }

    #[test]
    fn errors_of_the_disk_are_tried_again() {
        assert_eq!(classify(&std::io::Error::other("disk")), ("io", false));
        assert_eq!(classify(&ErrorKind::PermissionDenied.into()), ("permission_denied", true));
    }

    #[tokio::test]
    async fn stops_between_chunks() {
        let error = run(PathBuf::from("/dev/null"), ready(())).await.unwrap_err();
        assert!(matches!(error, Error::NotAFile { .. }), "{error:?}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        assert!(matches!(digest(&path, &stop), Err(Error::Stopped { .. })));
    }

    #[test]
    fn a_misspelt_field_is_named() {
        let error = serde_json::from_str::<FileDigest>(r#"{"pth": "/etc/hosts"}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `pth`, expected `path`"), "{error}");
    }
}
