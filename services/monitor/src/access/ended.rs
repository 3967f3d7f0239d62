//! What was ended before its time, until that time: sessions, and sign-ins that have been answered.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// So many are remembered; those that would have ended soonest are forgotten first.
const MOST: usize = 10_000;

/// What was ended before its time.
#[derive(Debug, Default)]
pub(super) struct Ended(Mutex<BTreeMap<String, Timestamp>>);

// === impl Ended ===

impl Ended {
    /// Ends it; false if it had been ended before.
    pub(super) fn end(&self, name: &str, until: Timestamp, now: Timestamp) -> bool {
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|_, until| *until > now);
        while ended.len() >= MOST {
            let soonest = ended.iter().min_by_key(|(_, until)| **until).map(|(name, _)| name.clone());
            soonest.and_then(|name| ended.remove(&name));
        }
        ended.insert(name.to_owned(), until).is_none()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(name)
    }
}
