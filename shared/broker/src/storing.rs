//! Whether what services owe the history can be stored: without it nothing is acknowledged, and all jobs wait.

use std::collections::BTreeMap;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::connect::{Broker, Error};

/// Events.
pub const EVENTS: &str = "history";
/// Letters of dead jobs.
pub const DEAD_LETTERS: &str = "dead_letters";

/// What cannot be stored.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// When the first try began that failed; all since then have.
    pub since: Instant,
    /// The last one.
    pub last: Instant,
    /// Why it failed.
    pub cause: String,
}

/// All that cannot be stored on a connection, by what it is.
#[derive(Debug, Default)]
pub(crate) struct Storing {
    troubles: watch::Sender<BTreeMap<&'static str, Trouble>>,
}

impl Broker {
    /// Notes how a try to store this has ended that began then.
    pub(crate) fn tried_to_store<T>(&self, what: &'static str, began: Instant, outcome: &Result<T, Error>) {
        let troubles = &self.storing().troubles;
        match outcome {
            Ok(_) if troubles.borrow().is_empty() => {}
            Ok(_) => {
                troubles.send_if_modified(|troubles| troubles.remove(what).is_some());
            }
            Err(error) => troubles.send_modify(|troubles| {
                let since = troubles.get(what).map_or(began, |trouble| trouble.since);
                troubles.insert(what, Trouble { since, last: Instant::now(), cause: error.to_string() });
            }),
        }
    }

    /// What cannot be stored now: [`EVENTS`], [`DEAD_LETTERS`].
    pub fn not_stored(&self) -> watch::Receiver<BTreeMap<&'static str, Trouble>> {
        self.storing().troubles.subscribe()
    }
}
