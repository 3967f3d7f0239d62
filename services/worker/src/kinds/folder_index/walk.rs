//! Finding the files below a folder, with memory for its depth only.

use std::fs::{DirEntry, File, ReadDir};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use crate::kinds::failing::Failing;
use crate::kinds::file_digest::classify;

/// A regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundFile {
    /// The folder's path and what follows.
    pub(super) path: PathBuf,
    /// Below the folder, with `/` between the parts.
    pub(super) relative: String,
    /// Its size when it was found.
    pub(super) bytes: u64,
}

/// What a walk passed by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Repositories' and caches'.
    pub(super) folders: u64,
    /// Links, pipes, sockets and devices.
    pub(super) other: u64,
    /// Entries whose names are not UTF-8.
    pub(super) not_utf8: u64,
}

/// A folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is none.
    #[error("{} is not a folder", path.display())]
    NotAFolder {
        /// Its path.
        path: PathBuf,
    },
    /// Or something in it.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Of what cannot be read.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What a cache's tag begins with (the Cache Directory Tagging Specification, <https://bford.info/cachedir/>).
const CACHE_SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Sends every file, in no particular order, until all are sent or nobody receives. What vanishes meanwhile is passed
/// by: it is not there any more.
pub(super) fn walk(root: &Path, found: &mpsc::Sender<FoundFile>) -> Result<LeftOut, Error> {
    let mut left_out = LeftOut::default();
    let metadata = std::fs::metadata(root).map_err(unreadable(root))?;
    if !metadata.is_dir() {
        return Err(Error::NotAFolder { path: root.to_owned() });
    }
    let mut open: Vec<(PathBuf, ReadDir)> =
        vec![(root.to_owned(), std::fs::read_dir(root).map_err(unreadable(root))?)];
    while let Some((folder, entries)) = open.last_mut() {
        if found.is_closed() {
            return Ok(left_out);
        }
        let Some(entry) = entries.next() else {
            open.pop();
            continue;
        };
        let entry = entry.map_err(unreadable(folder))?;
        let path = entry.path();
        match look(&entry, root, &mut left_out) {
            Ok(Some(Entry::File(file))) => {
                if found.blocking_send(file).is_err() {
                    return Ok(left_out);
                }
            }
            Ok(Some(Entry::Folder(entries))) => open.push((path, entries)),
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&path)(error)),
        }
    }
    Ok(left_out)
}

/// What is to be done with an entry.
enum Entry {
    File(FoundFile),
    Folder(ReadDir),
}

fn look(entry: &DirEntry, root: &Path, left_out: &mut LeftOut) -> std::io::Result<Option<Entry>> {
    let (path, kind) = (entry.path(), entry.file_type()?);
    if !kind.is_file() && !kind.is_dir() {
        left_out.other += 1;
        return Ok(None);
    }
    let Some(relative) = path.strip_prefix(root).ok().and_then(Path::to_str).map(str::to_owned) else {
        left_out.not_utf8 += 1;
        return Ok(None);
    };
    if kind.is_file() {
        let bytes = entry.metadata()?.len();
        return Ok(Some(Entry::File(FoundFile { path, relative, bytes })));
    }
    if entry.file_name() == ".git" || is_cache(&path) {
        left_out.folders += 1;
        return Ok(None);
    }
    std::fs::read_dir(&path).map(|entries| Some(Entry::Folder(entries)))
}

fn is_cache(folder: &Path) -> bool {
    let tag = folder.join("CACHEDIR.TAG");
    // Not a link, and nothing that would block.
    let is_file = std::fs::symlink_metadata(&tag).is_ok_and(|metadata| metadata.is_file());
    let mut start = [0; CACHE_SIGNATURE.len()];
    is_file
        && File::open(tag).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && start == *CACHE_SIGNATURE
}

fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    |source| Error::Unreadable { path, source }
}

// === impl Error ===

impl Failing for Error {
    fn code(&self) -> String {
        let code = match self {
            Self::NotAFolder { .. } => "not_a_folder",
            Self::Unreadable { source, .. } => classify(source).0,
        };
        code.to_owned()
    }

    fn is_terminal(&self) -> bool {
        match self {
            Self::NotAFolder { .. } => true,
            Self::Unreadable { source, .. } => classify(source).1,
        }
    }
}
