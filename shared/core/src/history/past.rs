//! A history as it was at an earlier instant.

use jiff::Timestamp;

use super::History;
use crate::{Event, Transition};

// === impl History ===

impl History {
    /// What had happened by this instant. Before a job was accepted nothing had; clocks of several machines may differ.
    #[must_use]
    pub fn as_of(&self, at: Timestamp) -> Self {
        if self.accepted_at().is_some_and(|accepted| accepted > at) {
            return Self::default();
        }
        // An acceptance is said with the instant that it holds from.
        let since = |event: &Event| match event.transition {
            Transition::Accepted => event.accepted_at.unwrap_or(event.at),
            _ => event.at,
        };
        self.events().filter(|event| since(event) <= at).cloned().collect()
    }
}
