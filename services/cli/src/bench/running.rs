//! The processes of a measurement and their folder: both go, however the measurement ends.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;

use super::Error;
use super::error::start_error;
use crate::dev::fleet::Fleet;

/// Processes, and the folder that they write to. Dropped, they are left to [`Leftovers::stop`].
#[derive(Debug)]
pub(super) struct Running {
    pub(super) fleet: Fleet,
    /// None once they are stopped.
    folder: Option<TempDir>,
    leftovers: Leftovers,
}

/// What a measurement that failed, or was interrupted, has not stopped. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Leftovers(Arc<Mutex<Vec<(Fleet, TempDir)>>>);

// === impl Running ===

impl Running {
    /// A folder, and nothing that runs yet.
    pub(super) fn open(leftovers: &Leftovers) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(|error| start_error(error.into()))?;
        Ok(Self { fleet: Fleet::default(), folder: Some(folder), leftovers: leftovers.clone() })
    }

    /// Where they write.
    pub(super) fn folder(&self) -> &Path {
        self.folder.as_ref().map_or(Path::new(""), TempDir::path)
    }

    /// Drains and stops all, and removes the folder.
    pub(super) async fn stop(mut self) {
        self.fleet.stop().await;
        self.folder = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(folder) = self.folder.take() {
            let mut left = self.leftovers.0.lock().unwrap_or_else(PoisonError::into_inner);
            left.push((std::mem::take(&mut self.fleet), folder));
        }
    }
}

// === impl Leftovers ===

impl Leftovers {
    /// Kills the services and stops the brokers. Before they are gone they would write to their folder again.
    pub(super) async fn stop(&self) {
        let left = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for (mut fleet, folder) in left {
            fleet.killer()();
            fleet.stop().await;
            drop(folder);
        }
    }
}
