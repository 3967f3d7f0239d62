//! Tasks of one key in this process: dealt with one after the other, and those that wait meanwhile together.
//!
//! Rivals here would only refuse each other's writes. Nothing rests on it: other dispatchers have lines of their own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use windlass_broker::names::MarkerOf;
use windlass_core::QueueName;

use super::{Entrant, Outcome, group, key};
use crate::shared::Shared;

/// Dealt with together.
const MOST: usize = 256;
/// The broker takes fifty unfinished batches a stream, from all dispatchers, and refuses the next.
const WRITES: usize = 12;

/// A queue, and what stands for a key or a group there.
pub(super) type Place = (QueueName, MarkerOf);

/// The lines in which somebody stands. Bounded by the tasks that are worked on at one time.
#[derive(Debug)]
pub(crate) struct Lines {
    open: Mutex<HashMap<Place, Arc<Line>>>,
    /// Batches that may be on their way at one time.
    writes: Semaphore,
}

#[derive(Debug, Default)]
struct Line {
    waiting: Mutex<Vec<(Entrant, oneshot::Sender<Option<Outcome>>)>>,
    turn: tokio::sync::Mutex<()>,
}

// === impl Lines ===

impl Lines {
    /// Leave to write a batch. Never refused.
    pub(super) async fn may_write(&self) -> Option<SemaphorePermit<'_>> {
        self.writes.acquire().await.ok()
    }

    /// Waits for the task's turn and deals with it; none if it stays open.
    pub(super) async fn enter(
        &self,
        shared: &Shared,
        queue: &QueueName,
        of: MarkerOf,
        entrant: Entrant,
    ) -> Option<Outcome> {
        let place = (queue.clone(), of);
        let (tell, told) = oneshot::channel();
        let line = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let line = Arc::clone(open.entry(place.clone()).or_default());
            line.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((entrant, tell));
            line
        };
        let turn = line.turn.lock().await;
        let (entrants, tells): (Vec<_>, Vec<_>) = {
            let mut waiting = line.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let count = waiting.len().min(MOST);
            waiting.drain(..count).unzip()
        };
        // Whoever had the turn before may have dealt with all of them.
        if !entrants.is_empty() {
            let outcomes = match &place.1 {
                MarkerOf::Unique(_) => Box::pin(key::deal_with(shared, &place, &entrants)).await,
                MarkerOf::Group(_) => Box::pin(group::deal_with(shared, &place, &entrants)).await,
            };
            for (tell, outcome) in tells.into_iter().zip(outcomes) {
                // Nobody is told whose task was given up.
                let _ = tell.send(outcome);
            }
        }
        drop(turn);
        self.leave(&place, &line);
        told.await.ok().flatten()
    }

    fn leave(&self, place: &Place, line: &Arc<Line>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Here and in the map: lines are joined under this lock only.
        if Arc::strong_count(line) == 2 {
            open.remove(place);
        }
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self { open: Mutex::default(), writes: Semaphore::new(WRITES) }
    }
}
