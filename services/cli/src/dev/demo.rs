//! `windlass dev --demo`: every file of a folder is indexed by a job of its own.
//!
//! What became of the jobs is asked of the monitor, as an operator would: so the way from the publisher to the
//! dashboard is walked whole.

mod history;
mod summary;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass::client::Submitted;
use windlass::{Client, JobId, JobState, Options};
use windlass_worker::kinds::folder_index::FolderIndex;

use super::screen::Screen;
use history::{History, Seen};
use summary::Summary;

/// What to do, and with what.
#[derive(Debug)]
pub(super) struct Demo {
    /// Who publishes.
    pub(super) options: Options,
    /// The monitor's address.
    pub(super) http_url: String,
    /// The folder.
    pub(super) root: PathBuf,
    /// For all of it.
    pub(super) timeout: Duration,
}

/// The demonstration did not go as it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is nothing to index.
    #[error("cannot index {}: {reason}", path.display())]
    Folder {
        /// What was given.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The task was not accepted.
    #[error("the demonstration's first task cannot be submitted")]
    Submit(#[from] windlass::client::Error),
    /// The monitor does not answer.
    #[error("the monitor does not tell what became of the jobs")]
    Monitor(#[from] history::Error),
    /// It takes too long.
    #[error(
        "after {} s, {ended} of {} jobs had ended: --timeout gives them longer, and the dashboard shows where they are",
        timeout.as_secs(), all.map_or_else(|| "an unknown number of".to_owned(), |all| all.to_string())
    )]
    TimedOut {
        /// The bound.
        timeout: Duration,
        /// So many had.
        ended: u64,
        /// Of so many, once it is known.
        all: Option<u64>,
    },
    /// The first job did not succeed.
    #[error("the job {id} that lists the files ended as {state}: {reason}")]
    NotListed {
        /// Which.
        id: JobId,
        /// How.
        state: JobState,
        /// Why.
        reason: String,
    },
    /// Some did not succeed.
    #[error("{failed} of {all} jobs did not succeed")]
    NotAllSucceeded {
        /// So many.
        failed: u64,
        /// Of so many.
        all: u64,
    },
    /// It was told to stop before.
    #[error("told to stop before all jobs had ended")]
    Interrupted,
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
/// Asking takes at most a fifth of the time, however many jobs there are.
const PAUSE_FACTOR: u32 = 4;
/// A monitor that starts again is away for a while.
const MONITOR_AWAY: Duration = Duration::from_secs(30);

/// The folder to index. Our own data, if it is in there, changes all the time: it is marked to be left out.
pub(super) fn root(path: Option<&Path>, data_dir: &Path) -> Result<PathBuf, Error> {
    let path = path.unwrap_or(Path::new("."));
    let folder = |reason: String| Error::Folder { path: path.to_owned(), reason };
    let root = path.canonicalize().map_err(|error| folder(error.to_string()))?;
    if !root.is_dir() {
        return Err(folder("it is no folder".to_owned()));
    }
    if root.to_str().is_none() {
        return Err(folder("its name is not UTF-8, and a payload is JSON".to_owned()));
    }
    if data_dir.starts_with(&root) {
        // Cache Directory Tagging Specification, as Cargo does for its target folder.
        let tag = "Signature: 8a477f597d28d172789f06886806bc55\n# The data of `windlass dev`.\n";
        std::fs::write(data_dir.join("CACHEDIR.TAG"), tag).map_err(|error| {
            folder(format!("{} lies in it, and cannot be marked: {error}", data_dir.display()))
        })?;
    }
    Ok(root)
}

// === impl Demo ===

impl Demo {
    /// Does it, and shows what became of it.
    pub(super) async fn run(self, screen: &Screen) -> Result<(), Error> {
        screen.busy("indexing");
        let client = Client::connect_with(self.options.clone()).await?;
        let submitted = client.submit(&FolderIndex { path: self.root.clone() }).await;
        if let Some(broker) = client.broker() {
            broker.drain().await;
        }
        let seen = self.follow(&submitted?, screen).await?;
        screen.idle();
        let summary = Summary::new(&seen);
        screen.show(&summary.text(&self.root, &self.http_url));
        screen.answer(&summary.json(&self.root, &self.http_url));
        match summary.failed() {
            0 => Ok(()),
            failed => Err(Error::NotAllSucceeded { failed, all: summary.all() }),
        }
    }

    /// Waits until all jobs have ended.
    async fn follow(&self, first: &Submitted, screen: &Screen) -> Result<Seen, Error> {
        let history = History::new(&self.http_url, first)?;
        let deadline = Instant::now() + self.timeout;
        let (mut answered_at, mut ended, mut all) = (Instant::now(), 0, None);
        loop {
            let asked_at = Instant::now();
            match history.look().await {
                Ok(seen) => {
                    answered_at = Instant::now();
                    (ended, all) = (seen.ended(), seen.all());
                    if let Some(root) = seen.first.as_ref().filter(|job| job.state.is_terminal())
                        && root.state != JobState::Succeeded
                    {
                        let reason = root.error.as_ref().map_or("no cause is known", |error| &error.message);
                        return Err(Error::NotListed {
                            id: root.id,
                            state: root.state,
                            reason: reason.to_owned(),
                        });
                    }
                    match all {
                        // More than were listed last, where a second attempt found fewer files.
                        Some(all) if ended >= all.max(seen.jobs.len() as u64) => return Ok(seen),
                        Some(all) => screen.progress(ended, all),
                        None => screen.busy(&format!("indexing: {ended} jobs have ended")),
                    }
                }
                Err(error) if answered_at.elapsed() > MONITOR_AWAY => return Err(error.into()),
                Err(error) => tracing::debug!(%error, "the monitor does not answer"),
            }
            if Instant::now() >= deadline {
                return Err(Error::TimedOut { timeout: self.timeout, ended, all });
            }
            sleep(SHORTEST_PAUSE.max(asked_at.elapsed() * PAUSE_FACTOR)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_data_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().canonicalize().unwrap().join("data");
        std::fs::create_dir(&inside).unwrap();
        let outside = tempfile::tempdir().unwrap();
        assert_eq!(root(Some(folder.path()), outside.path()).unwrap(), inside.parent().unwrap());
        assert!(!outside.path().join("CACHEDIR.TAG").exists());
        root(Some(folder.path()), &inside).unwrap();
        assert!(
            std::fs::read_to_string(inside.join("CACHEDIR.TAG")).unwrap().starts_with("Signature: 8a477f59")
        );
        assert!(matches!(root(Some(Path::new("/nowhere")), &inside), Err(Error::Folder { .. })));
    }
}
