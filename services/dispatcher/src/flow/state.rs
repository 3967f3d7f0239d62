//! What an owner knows of its queue: who has slots, and who is next in each line. All of it can be read again.

use std::collections::{HashMap, VecDeque};

use windlass_broker::flow::{Flow, InLine};
use windlass_broker::names::{ALL, Line};
use windlass_core::flow::{FlowKey, Holders, Lane, QueueSettings, Turns};

use windlass_core::Priority;

use super::Failure;

/// Places of a line that are read at once, and kept.
const PAGE: usize = 128;
/// Keys that are kept though nobody has a slot of them.
const MOST_IDLE_KEYS: usize = 10_000;

/// An owner's knowledge.
pub(super) struct State {
    /// Of keys by their tokens. One that is not there is read when it is needed.
    pub(super) keys: HashMap<String, Key>,
    /// Who has a slot of the queue.
    pub(super) turn: Holders,
    /// Whose turn it is.
    pub(super) turns: Turns,
    pub(super) lanes: HashMap<Lane, LaneState>,
}

/// A key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) holders: Holders,
    /// Nobody is in its line.
    pub(super) empty: bool,
}

/// The line of a lane.
#[derive(Debug, Default)]
pub(super) struct LaneState {
    /// The first of the line.
    buffer: VecDeque<InLine>,
    /// Where what is not in the buffer begins.
    next: u64,
    /// Whether there may be any.
    more: bool,
    /// The stream says that somebody may be in it.
    marked: bool,
}

// === impl State ===

impl State {
    /// Reads what must be known at the start: at a cost that grows with slots and lanes, and not with who waits.
    pub(super) async fn read(flow: &Flow, settings: &QueueSettings) -> Result<Self, Failure> {
        let turn = flow.slots(None).await?;
        let mut state = Self {
            keys: HashMap::new(),
            turn,
            turns: Turns::new(settings.priorities),
            lanes: HashMap::new(),
        };
        for (lane, _) in flow.lanes().await? {
            state.join(settings, lane.clone());
            state.lanes.insert(lane, LaneState { more: true, marked: true, ..LaneState::default() });
        }
        Ok(state)
    }

    /// What is known of a key, read if it is not.
    pub(super) async fn key(&mut self, flow: &Flow, token: &str) -> Result<&mut Key, Failure> {
        if !self.keys.contains_key(token) {
            if self.keys.len() >= MOST_IDLE_KEYS {
                self.keys.retain(|_, key| !key.holders.is_empty());
            }
            let line = Line::Key(token.to_owned());
            let (holders, empty) = tokio::try_join!(flow.slots(Some(token)), flow.is_empty(&line, None))?;
            self.keys.insert(token.to_owned(), Key { holders, empty });
        }
        // It was just put there if it was not.
        self.keys.get_mut(token).ok_or(Failure::Lost)
    }

    fn join(&mut self, settings: &QueueSettings, lane: Lane) {
        // Lines are by the token of a tenant, weights by its name.
        let weight = settings.fairness.as_ref().map_or(1, |fairness| {
            let named = |name: &String| name.parse::<FlowKey>().is_ok_and(|key| *key.token() == *lane.tenant);
            fairness.weights.iter().find(|(name, _)| named(name)).map_or(1, |(_, weight)| *weight)
        });
        self.turns.join(lane, weight);
    }

    /// Somebody stands in a lane now.
    pub(super) fn arrives(&mut self, settings: &QueueSettings, lane: &Lane) {
        if !self.lanes.contains_key(lane) {
            self.lanes.insert(lane.clone(), LaneState::default());
        }
        self.join(settings, lane.clone());
    }

    /// Somebody is about to stand in a lane: true if the stream is to be told of it in the same write.
    pub(super) fn mark(&mut self, lane: &Lane) -> bool {
        let state = self.lanes.entry(lane.clone()).or_default();
        !std::mem::replace(&mut state.marked, true)
    }

    /// That write was refused.
    pub(super) fn unmark(&mut self, lane: &Lane) {
        if let Some(state) = self.lanes.get_mut(lane) {
            state.marked = false;
        }
    }

    /// A place at the end of a lane was written.
    pub(super) fn append(&mut self, lane: &Lane, place: InLine) {
        if let Some(state) = self.lanes.get_mut(lane) {
            if !state.more && state.buffer.len() < 2 * PAGE {
                state.next = place.sequence + 1;
                state.buffer.push_back(place);
            } else {
                state.more = true;
            }
        }
    }

    /// The first of a lane; none if it has none but those who are just arriving.
    pub(super) async fn first(&mut self, flow: &Flow, lane: &Lane) -> Result<Option<InLine>, Failure> {
        let Some(state) = self.lanes.get_mut(lane) else { return Ok(None) };
        if state.buffer.is_empty() && state.more {
            let line = Line::Turn(lane.tenant.to_string());
            let (places, more) = flow.line(&line, Some(lane.priority), state.next, PAGE).await?;
            state.next = places.last().map_or(state.next, |last| last.sequence + 1);
            state.more = more || (places.is_empty() && !flow.is_empty(&line, Some(lane.priority)).await?);
            state.buffer.extend(places);
        }
        Ok(state.buffer.pop_front())
    }
}

/// The lane of a job: tenants count where turns are shared out among them.
pub(super) fn lane_of(settings: &QueueSettings, priority: Priority, tenant: Option<&FlowKey>) -> Lane {
    let tenant = tenant.filter(|_| settings.fairness.is_some());
    Lane::new(priority, tenant.map_or_else(|| ALL.to_owned(), FlowKey::token))
}
