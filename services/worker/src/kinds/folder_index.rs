//! `folder.index`: one `file.digest` for each file of a folder.
//!
//! Takes `{"path": "…"}`, and submits a `file.digest` for each regular file below it, hidden ones too. Left out are
//! `.git` folders and folders that a `CACHEDIR.TAG` marks as caches, as build output is; links are not followed. The
//! path itself may be a link to a folder, and is taken whatever its name.
//!
//! Gives `{"files": n, "bytes": n, "skipped": n, "other": n, "not_utf8": n, "queue": "…"}`: files submitted and the
//! sum of their sizes, folders left out, links and other entries that are neither file nor folder, entries whose names
//! JSON cannot carry, and the queue of the submitted jobs. That is the parent's queue; they have its priority and
//! belong to its trace.
//!
//! The id of a child is [`JobId::of_child`] of the parent's id and the file's path relative to the folder, so another
//! attempt submits the same jobs again, and makes no duplicates for as long as ends are remembered.

mod walk;

use std::path::{Path, PathBuf};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use windlass::worker::context::Context;
use windlass::{Failure, Job, JobId, client};

use super::failing::{Failing, failure};
use super::file_digest::FileDigest;
use walk::{FoundFile, LeftOut, walk};

/// The payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderIndex {
    /// Of the folder.
    pub path: PathBuf,
}

/// The result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Indexed {
    /// Submitted.
    pub files: u64,
    /// Of these files, when they were found.
    pub bytes: u64,
    /// Folders left out.
    pub skipped: u64,
    /// Entries that are neither regular files nor folders.
    pub other: u64,
    /// Entries left out because their names are not UTF-8.
    pub not_utf8: u64,
    /// Of the submitted jobs.
    pub queue: String,
}

/// A folder was not indexed in full.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something below it cannot be read.
    #[error(transparent)]
    Walk(#[from] walk::Error),
    /// A job was not submitted.
    #[error("cannot submit the job of {}", path.display())]
    Submit {
        /// Of the file.
        path: PathBuf,
        /// Why.
        source: client::Error,
    },
    /// The attempt was told to stop.
    #[error("stopped while indexing")]
    Stopped,
    /// The thread that read the folders is gone.
    #[error("the thread that read the folders is gone")]
    Gone(#[source] tokio::task::JoinError),
}

/// What an index comes to, but for its queue.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    files: u64,
    bytes: u64,
    left_out: LeftOut,
}

/// How many submissions may wait for their answers.
const MAX_IN_FLIGHT: usize = 64;

impl Job for FolderIndex {
    const KIND: &'static str = "folder.index";
}

pub(crate) async fn handle(job: FolderIndex, context: Context) -> Result<Indexed, Failure> {
    let (client, parent, priority) = (context.client(), context.job_id(), context.priority());
    let queue = context.queue().to_string();
    let submit = |found: FoundFile| {
        let id = child_id(parent, &found);
        let FoundFile { path, bytes, .. } = found;
        let task = client.task(&FileDigest { path: path.clone() }).queue(&queue).id(id).priority(priority);
        async move { task.submit().await.map(|_| bytes).map_err(|source| Error::Submit { path, source }) }
    };
    let Totals { files, bytes, left_out } =
        index(job.path, submit, context.cancelled()).await.map_err(failure)?;
    let LeftOut { folders, other, not_utf8 } = left_out;
    Ok(Indexed { files, bytes, skipped: folders, other, not_utf8, queue })
}

fn child_id(parent: JobId, found: &FoundFile) -> JobId {
    JobId::of_child(parent, &found.relative)
}

/// Submits what the walk finds, a bounded number at a time. `submit` gives the size that it was given.
async fn index<F: Future<Output = Result<u64, Error>>>(
    root: PathBuf,
    submit: impl Fn(FoundFile) -> F,
    stopped: impl Future<Output = ()>,
) -> Result<Totals, Error> {
    let (sender, mut found) = mpsc::channel(MAX_IN_FLIGHT);
    // Ends by itself once nobody receives any more, also where this future is dropped.
    let walking = tokio::task::spawn_blocking(move || walk(Path::new(&root), &sender));
    let submitting = stream::poll_fn(|context| found.poll_recv(context))
        .map(submit)
        .buffer_unordered(MAX_IN_FLIGHT)
        .try_fold((0, 0), async |(files, total), bytes| Ok((files + 1, total + bytes)));
    let (files, bytes) = tokio::select! {
        submitted = submitting => submitted?,
        () = stopped => return Err(Error::Stopped),
    };
    let left_out = walking.await.map_err(Error::Gone)??;
    Ok(Totals { files, bytes, left_out })
}

// === impl Error ===

impl Failing for Error {
    fn code(&self) -> String {
        match self {
            Self::Walk(error) => error.code(),
            Self::Submit { .. } => "submit".to_owned(),
            Self::Stopped => "stopped".to_owned(),
            Self::Gone(_) => "panic".to_owned(),
        }
    }

    fn is_terminal(&self) -> bool {
        match self {
            Self::Walk(error) => error.is_terminal(),
            Self::Submit { source, .. } => matches!(source, client::Error::Invalid(_)),
            Self::Stopped | Self::Gone(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Mutex;

    use super::*;

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        let tag = "Signature: 8a477f597d28d172789f06886806bc55\n# made by a test\n";
        write("a", "12345");
        write(".hidden/b", "123");
        write("sub/.git/config", "x");
        write("target/CACHEDIR.TAG", tag);
        write("target/c", "x");
        write("tagged-by-mistake/CACHEDIR.TAG", "not the signature");
        write("submodule/.git", "gitdir: ..");
        std::os::unix::fs::symlink("a", folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink("..", folder.path().join("sub/loop")).unwrap();
        folder
    }

    #[tokio::test]
    async fn every_file_but_those_of_caches_and_repositories() {
        let folder = tree();
        let seen = Mutex::new(Vec::new());
        let submit = |found: FoundFile| {
            assert_eq!(found.path, folder.path().join(&found.relative));
            seen.lock().unwrap().push(found.relative);
            ready(Ok(found.bytes))
        };
        let totals = index(folder.path().to_owned(), submit, pending()).await.unwrap();
        let mut seen = seen.into_inner().unwrap();
        seen.sort();
        assert_eq!(seen, [".hidden/b", "a", "submodule/.git", "tagged-by-mistake/CACHEDIR.TAG"]);
        let left_out = LeftOut { folders: 2, other: 2, not_utf8: 0 };
        assert_eq!(totals, Totals { files: 4, bytes: 5 + 3 + 10 + 17, left_out });
    }

    #[tokio::test]
    async fn the_folder_itself_may_have_any_name() {
        let folder = tree();
        for (root, files) in [("target", 2), ("sub/.git", 1), ("link-to-folder", 1)] {
            if root == "link-to-folder" {
                std::os::unix::fs::symlink(".hidden", folder.path().join(root)).unwrap();
            }
            let submit = |found: FoundFile| ready(Ok(found.bytes));
            let totals = index(folder.path().join(root), submit, pending()).await.unwrap();
            assert_eq!(totals.files, files, "{root}");
        }
    }

    #[tokio::test]
    async fn names_that_json_cannot_carry_are_counted() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = tempfile::tempdir().unwrap();
        let name = std::ffi::OsStr::from_bytes(b"\xff");
        if std::fs::write(folder.path().join(name), "").is_err() {
            return; // This file system has no such names.
        }
        let totals =
            index(folder.path().to_owned(), |found| ready(Ok(found.bytes)), pending()).await.unwrap();
        assert_eq!((totals.files, totals.left_out.not_utf8), (0, 1));
    }

    #[tokio::test]
    async fn a_failed_submission_ends_the_index() {
        let folder = tree();
        let parent: JobId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let submit = |found: FoundFile| {
            let (id, waited) = (child_id(parent, &found), std::time::Duration::ZERO);
            ready(Err(Error::Submit { path: found.path, source: client::Error::TimedOut { id, waited } }))
        };
        let error = index(folder.path().to_owned(), submit, pending()).await.unwrap_err();
        assert_eq!((error.code().as_str(), error.is_terminal()), ("submit", false));
    }

    #[tokio::test]
    async fn what_is_no_folder_fails_for_good() {
        let folder = tree();
        for (path, code) in [("absent", "not_found"), ("a", "not_a_folder")] {
            let submit = |found: FoundFile| ready(Ok(found.bytes));
            let error = index(folder.path().join(path), submit, pending()).await.unwrap_err();
            assert_eq!((error.code().as_str(), error.is_terminal()), (code, true));
        }
    }

    #[tokio::test]
    async fn stops_while_submissions_wait() {
        let folder = tree();
        let submit = |_| pending();
        let error = index(folder.path().to_owned(), submit, ready(())).await.unwrap_err();
        assert!(matches!(error, Error::Stopped), "{error:?}");
    }
}
