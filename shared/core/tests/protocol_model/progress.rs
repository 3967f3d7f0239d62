//! Progress: from every state, a good end can be reached by steps that are no faults.
//!
//! `stateright` checks what holds in each state; that no state is caught in a circle (a message that is abandoned and
//! delivered for ever) needs the whole graph. Under fairness, reachability by ordinary steps is arrival.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};

use stateright::Model;

use crate::model::Protocol;
use crate::state::State;
use crate::step::Move;

/// All states, and the first that is stuck.
pub(crate) struct Progress {
    pub(crate) states: usize,
    pub(crate) good_ends: usize,
    /// The shortest history into a state from which no good end can be reached, and that shows it.
    pub(crate) stuck: Option<(State, Vec<Move>)>,
}

/// Explores everything, breadth first. Of the states that are stuck, `shows` tells which are worth a history.
pub(crate) fn check(model: &Protocol, shows: fn(&State) -> bool) -> Progress {
    let mut ids = HashMap::new();
    // For each state: the one it was found from, and the place of the move there.
    let mut parents: Vec<(usize, usize)> = Vec::new();
    let mut backwards: Vec<(u32, u32)> = Vec::new();
    let mut good = Vec::new();
    let mut worth = Vec::new();
    let mut queue = VecDeque::new();
    for (index, state) in model.init_states().into_iter().enumerate() {
        ids.insert(fingerprint(&state), parents.len());
        parents.push((usize::MAX, index));
        queue.push_back(state);
    }
    let mut id = 0;
    let mut moves = Vec::new();
    while let Some(state) = queue.pop_front() {
        if state.is_good_end() {
            good.push(id);
        }
        worth.push(shows(&state));
        model.actions(&state, &mut moves);
        for (index, Move { next, .. }) in moves.drain(..).enumerate() {
            let ordinary = next.faults == state.faults;
            let target = match ids.entry(fingerprint(&next)) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    parents.push((id, index));
                    queue.push_back(next);
                    *new.insert(parents.len() - 1)
                }
            };
            if ordinary {
                backwards.push((narrow(target), narrow(id)));
            }
        }
        id += 1;
    }
    let reaches = reaching(&mut backwards, &good, parents.len());
    let stuck = reaches
        .iter()
        .zip(worth)
        .position(|(reaches, worth)| !reaches && worth)
        .map(|id| history(model, &parents, id));
    Progress { states: parents.len(), good_ends: good.len(), stuck }
}

fn reaching(backwards: &mut [(u32, u32)], good: &[usize], states: usize) -> Vec<bool> {
    backwards.sort_unstable();
    let mut reaches = vec![false; states];
    let mut stack = good.to_vec();
    for id in good {
        reaches[*id] = true;
    }
    while let Some(id) = stack.pop() {
        let first = backwards.partition_point(|(target, _)| *target < narrow(id));
        for (_, source) in backwards[first..].iter().take_while(|(target, _)| *target == narrow(id)) {
            let source = *source as usize;
            if !std::mem::replace(&mut reaches[source], true) {
                stack.push(source);
            }
        }
    }
    reaches
}

fn history(model: &Protocol, parents: &[(usize, usize)], mut id: usize) -> (State, Vec<Move>) {
    let mut indices = Vec::new();
    while parents[id].0 != usize::MAX {
        indices.push(parents[id].1);
        id = parents[id].0;
    }
    let start = model.init_states().swap_remove(parents[id].1);
    let mut state = start.clone();
    let mut path = Vec::new();
    for index in indices.into_iter().rev() {
        let mut moves = Vec::new();
        model.actions(&state, &mut moves);
        let step = moves.swap_remove(index);
        state = step.next.clone();
        path.push(step);
    }
    (start, path)
}

fn fingerprint(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

fn narrow(id: usize) -> u32 {
    u32::try_from(id).expect("fewer states than that")
}
