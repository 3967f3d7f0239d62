//! What a fleet has heard of its jobs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use jiff::Timestamp;
use windlass_core::history::{History, state_at};
use windlass_core::{Event, JobId, JobState, Kind, QueueName, Transition};

/// A job among all.
pub(crate) type Key = (QueueName, JobId);

/// All that was heard, for as long as the fleet lives.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The sequence in EVENTS up to which it was read.
    pub(crate) read: u64,
    /// Each as often as it was said.
    pub(crate) events: Vec<Event>,
    /// In the order in which they were accepted.
    pub(crate) accepted: Vec<(Key, Option<Kind>)>,
    /// In the order in which they ended.
    pub(crate) ended: Vec<Key>,
    /// What each was submitted with, or why that is not known.
    pub(crate) payloads: BTreeMap<Key, Result<Bytes, String>>,
    /// The kinds that its worker has handlers for.
    pub(crate) handled: Vec<Kind>,
    /// Why the fleet runs no more.
    pub(crate) failure: Option<String>,
    jobs: BTreeMap<Key, Standing>,
}

#[derive(Debug, Default)]
struct Standing {
    history: History,
    /// As the history says.
    now: Option<(JobState, Option<Timestamp>)>,
    accepted: bool,
}

/// How many jobs an error lists.
const SHOWN: usize = 20;

// === impl Known ===

impl Known {
    /// Takes an event in, and notes what it begins or ends.
    pub(crate) fn record(&mut self, event: Event) {
        let key = (event.queue.clone(), event.job_id);
        let standing = self.jobs.entry(key.clone()).or_default();
        let before = standing.now;
        standing.history.record(event.clone());
        standing.now = standing.history.view().map(|view| (view.state, view.due_at));
        // A message that is no valid task is told as dead, and is no job.
        let is_job = event.transition != Transition::Rejected;
        if event.transition == Transition::Accepted && !std::mem::replace(&mut standing.accepted, true) {
            self.accepted.push((key.clone(), event.kind.clone()));
        }
        let had_ended = before.is_some_and(|(state, _)| state.is_terminal());
        if is_job && !had_ended && standing.now.is_some_and(|(state, _)| state.is_terminal()) {
            self.ended.push(key);
        }
        self.events.push(event);
    }

    /// Whether a job waits for its time at an instant.
    pub(crate) fn waits(&self, key: &Key, now: Timestamp) -> bool {
        let state = self.jobs.get(key).and_then(|standing| standing.now);
        let state = state.map(|(state, due_at)| state_at(state, due_at, now));
        matches!(state, Some(JobState::Scheduled | JobState::Retrying))
    }

    /// Whether a job's wait ended after so many events; it may wait again by now.
    pub(crate) fn moved_since(&self, count: usize, key: &Key) -> bool {
        let later = self.events.iter().skip(count).filter(|e| e.queue == key.0 && e.job_id == key.1);
        later.into_iter().any(|event| {
            !matches!(
                event.transition,
                Transition::Accepted | Transition::Retried | Transition::Snoozed | Transition::Refused
            )
        })
    }

    /// The jobs that are queued or running at an instant: what waits for its time is not.
    pub(crate) fn busy(&self, now: Timestamp) -> Vec<Key> {
        let is_busy = |standing: &Standing| {
            let state = standing.now.map(|(state, due_at)| state_at(state, due_at, now));
            matches!(state, Some(JobState::Queued | JobState::Running))
        };
        self.jobs.iter().filter(|(_, standing)| is_busy(standing)).map(|(key, _)| key.clone()).collect()
    }

    /// For people: the kinds of live jobs that nobody here can handle; none if there are none.
    pub(crate) fn without_handler(&self) -> Option<String> {
        let live = |key: &Key| {
            let state = self.jobs.get(key).and_then(|standing| standing.now);
            state.is_some_and(|(state, _)| !state.is_terminal())
        };
        let mut missing: Vec<&str> = self
            .accepted
            .iter()
            .filter(|(key, _)| live(key))
            .filter_map(|(_, kind)| kind.as_ref())
            .filter(|kind| !self.handled.contains(kind))
            .map(Kind::as_str)
            .collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return None;
        }
        let has: Vec<&str> = self.handled.iter().map(Kind::as_str).collect();
        let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
        let word = if missing.len() == 1 { "kind" } else { "kinds" };
        Some(format!("the fleet has no handler for the {word} {}; it has: {has}", missing.join(", ")))
    }

    /// The events in the order of their arrival, each with its place in it; but acceptances first: the dispatcher says
    /// them and a worker the rest, so that they may come later than what they led to.
    pub(crate) fn in_order(&self) -> Vec<(usize, &Event)> {
        let mut events: Vec<_> = self.events.iter().enumerate().collect();
        events.sort_by_key(|(_, event)| event.transition != Transition::Accepted);
        events
    }

    /// For people: the transitions of each job, the latest jobs last.
    pub(crate) fn heard(&self) -> String {
        let mut lines: BTreeMap<Key, (usize, String)> = BTreeMap::new();
        for (place, event) in self.in_order() {
            let (last, line) = lines.entry((event.queue.clone(), event.job_id)).or_default();
            *last = place.max(*last);
            if line.is_empty() {
                let kind = event.kind.as_ref().map_or("of no kind", Kind::as_str);
                let _ = write!(line, "  {} of {} ({kind}):", event.job_id, event.queue);
            }
            let _ = write!(line, " {}", event.transition);
            if event.attempt > 0 {
                let _ = write!(line, " #{}", event.attempt);
            }
            if let Some(error) = &event.error {
                let _ = write!(line, " ({})", error.message);
            }
            if let (Some(due_at), Transition::Retried | Transition::Snoozed) =
                (event.due_at, event.transition)
            {
                let _ = write!(line, " until {due_at}");
            }
        }
        let mut lines: Vec<(usize, String)> = lines.into_values().collect();
        lines.sort();
        let left_out = lines.len().saturating_sub(SHOWN);
        let mut text = if left_out > 0 { format!("  (and {left_out} other jobs)\n") } else { String::new() };
        for (_, line) in lines.iter().skip(left_out) {
            text = text + line + "\n";
        }
        if text.is_empty() { "  nothing".to_owned() } else { text.trim_end().to_owned() }
    }
}
