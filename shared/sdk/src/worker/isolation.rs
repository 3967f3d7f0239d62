//! Running a job with no neighbour in this process.
//!
//! A job that lost its worker twice may be what killed it, or may have run beside what did. Alone, the next crash
//! tells. While a job runs alone, or waits to, this worker takes no other: what was on its way already goes back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, watch};

/// Who runs in this process.
#[derive(Debug)]
pub(crate) struct Isolation {
    process: Arc<RwLock<()>>,
    wanted: watch::Sender<bool>,
}

/// Somebody runs alone, or waits to, until this is dropped.
#[derive(Debug)]
pub(super) struct Alone<'a> {
    isolation: &'a Isolation,
}

/// A place in the process, kept while an attempt runs.
#[derive(Debug)]
pub(super) enum Place<'a> {
    AmongOthers { _place: OwnedRwLockReadGuard<()> },
    Alone { _place: OwnedRwLockWriteGuard<()>, _alone: Alone<'a> },
}

// === impl Isolation ===

impl Default for Isolation {
    fn default() -> Self {
        Self { process: Arc::default(), wanted: watch::Sender::new(false) }
    }
}

impl Isolation {
    /// A place among others; none while somebody runs alone, or waits to.
    pub(super) fn enter(&self) -> Option<Place<'_>> {
        if *self.wanted.borrow() {
            return None;
        }
        Arc::clone(&self.process).try_read_owned().ok().map(|place| Place::AmongOthers { _place: place })
    }

    /// Keeps others out from now on; none if somebody else does already.
    pub(super) fn begin(&self) -> Option<Alone<'_>> {
        let was = self.wanted.send_replace(true);
        (!was).then(|| Alone { isolation: self })
    }

    /// Whether this worker takes jobs now.
    pub(super) fn is_open(&self) -> bool {
        !*self.wanted.borrow()
    }

    /// Whether somebody runs alone, or waits to, as it changes.
    pub(super) fn wanted(&self) -> watch::Receiver<bool> {
        self.wanted.subscribe()
    }

    /// Waits until this worker takes jobs.
    pub(super) async fn opened(&self) {
        // Fails only when the sender is gone, which is ours.
        let _ = self.wanted.subscribe().wait_for(|wanted| !wanted).await;
    }
}

// === impl Alone ===

impl<'a> Alone<'a> {
    /// Waits until the neighbours have ended; none if that takes longer than this.
    pub(super) async fn acquire(self, patience: Duration) -> Option<Place<'a>> {
        let process = Arc::clone(&self.isolation.process);
        let place = tokio::time::timeout(patience, process.write_owned()).await.ok()?;
        Some(Place::Alone { _place: place, _alone: self })
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.isolation.wanted.send_replace(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_runs_alone_has_no_neighbour() {
        let isolation = Isolation::default();
        let neighbour = isolation.enter();
        assert!(neighbour.is_some());
        let alone = isolation.begin().unwrap();
        assert!(isolation.begin().is_none() && isolation.enter().is_none() && !isolation.is_open());
        assert!(alone.acquire(Duration::from_millis(1)).await.is_none(), "the neighbour still runs");
        assert!(isolation.is_open());
        let alone = isolation.begin().unwrap();
        drop(neighbour);
        let place = alone.acquire(Duration::from_secs(5)).await;
        assert!(place.is_some() && isolation.enter().is_none());
        drop(place);
        isolation.opened().await;
        assert!(isolation.enter().is_some());
    }
}
