//! What an owner knows of its queue: who has slots, who is next in each line, what went under a rate. All of it can be
//! read again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use windlass_broker::flow::{Flow, InLine, Keep, Move, Reading};
use windlass_broker::names::{ALL, Line};
use windlass_core::Priority;
use windlass_core::flow::{FlowKey, Holders, Lane, Meter, MeterState, QueueSettings, Rate, Turns};

use super::Failure;

/// Places of a line that are read at once, and kept.
const PAGE: usize = 128;
/// Keys that are kept though nobody has a slot of them.
const MOST_IDLE_KEYS: usize = 10_000;
/// Beyond what a rate remembers, and the time for which somebody asked that nothing starts.
const KEPT_LONGER: Duration = Duration::from_mins(1);

/// An owner's knowledge.
pub(super) struct State {
    /// Of keys by their tokens. One that is not there is read when it is needed.
    pub(super) keys: HashMap<String, Key>,
    /// Who has a slot of the queue.
    pub(super) turn: Holders,
    pub(super) pace: Pace,
    /// Whose turn it is.
    pub(super) turns: Turns,
    pub(super) lanes: HashMap<Lane, LaneState>,
    /// What is to be looked at when its time has come.
    wakes: BTreeMap<Timestamp, Vec<Wake>>,
}

/// What waits for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wake {
    /// The line of a key, by its token.
    Key(String),
    /// A lane, whose first is of a key that waits.
    Lane(Lane),
    /// All turns.
    Turns,
}

/// A key.
pub(super) struct Key {
    pub(super) holders: Holders,
    /// Nobody is in its line.
    pub(super) empty: bool,
    /// How far its line has been read: who stood before has left it.
    pub(super) reading: Reading,
    /// How many have a slot, and wait for their turn.
    pub(super) reserved: usize,
    pub(super) pace: Pace,
}

/// How fast jobs may start, where that is limited.
#[derive(Default)]
pub(super) struct Pace {
    meter: Option<Meter>,
    rate: Option<Rate>,
    held_until: Option<Timestamp>,
    /// It is other than what the stream has.
    changed: bool,
}

/// The line of a lane.
#[derive(Debug, Default)]
pub(super) struct LaneState {
    /// The first of the line.
    buffer: VecDeque<InLine>,
    /// What is not in the buffer.
    reading: Reading,
    /// Whether there may be any.
    more: bool,
    /// The stream says that somebody may be in it.
    marked: bool,
}

// === impl Pace ===

impl Pace {
    fn restore(rate: Option<Rate>, kept: Option<&MeterState>, now: Timestamp) -> Self {
        // Without a rate it still holds what a handler asked for.
        let measured = rate.or_else(|| kept.map(|_| UNLIMITED));
        let meter = measured.map(|rate| match kept {
            Some(kept) => Meter::restore(&rate, kept, now),
            None => Meter::new(&rate, now),
        });
        Self { meter, rate: measured, held_until: None, changed: false }
    }

    /// When a job of so many points may start; none: now.
    pub(super) fn at(&mut self, points: u32, now: Timestamp) -> Option<Timestamp> {
        let meter = self.meter.as_mut()?;
        meter.sync(now);
        meter.at(points, now)
    }

    /// A job of so many points starts.
    pub(super) fn take(&mut self, points: u32, now: Timestamp) {
        if let Some(meter) = &mut self.meter {
            meter.take(points, now);
            self.changed = true;
        }
    }

    /// Nothing starts before this.
    pub(super) fn hold(&mut self, until: Timestamp, now: Timestamp) {
        self.rate.get_or_insert(UNLIMITED);
        self.meter.get_or_insert_with(|| Meter::new(&UNLIMITED, now)).hold_until(until);
        self.held_until = self.held_until.max(Some(until));
        self.changed = true;
    }

    /// What is to be kept of it, and for how long.
    fn keep(&mut self, now: Timestamp) -> Option<(MeterState, Duration)> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let (meter, rate) = (self.meter.as_ref()?, self.rate?);
        let fills = rate
            .burst
            .map_or(Duration::ZERO, |burst| rate.per.mul_f64(f64::from(burst) / f64::from(rate.limit)));
        let held = self.held_until.map_or(Duration::ZERO, |until| {
            Duration::try_from(until.duration_since(now)).unwrap_or_default()
        });
        Some((meter.state(), (rate.per + fills).max(held) + KEPT_LONGER))
    }
}

/// Stands for no rate.
const UNLIMITED: Rate = Rate { limit: 1_000_000, per: Duration::from_secs(1), burst: None };

/// Something of a rate that is to be kept.
pub(super) struct Kept {
    key: Option<String>,
    state: MeterState,
    matters: Duration,
}

impl Kept {
    pub(super) fn as_move(&self) -> Move<'_> {
        Move::Keep(Keep { key: self.key.as_deref(), state: &self.state, matters: self.matters })
    }
}

// === impl State ===

impl State {
    /// Reads what must be known at the start: at a cost that grows with slots and lanes, and not with who waits.
    pub(super) async fn read(flow: &Flow, settings: &QueueSettings, now: Timestamp) -> Result<Self, Failure> {
        let (turn, kept) = tokio::try_join!(flow.slots(None), flow.meter(None))?;
        let mut state = Self {
            keys: HashMap::new(),
            turn,
            pace: Pace::restore(settings.rate, kept.as_ref(), now),
            turns: Turns::new(settings.priorities),
            lanes: HashMap::new(),
            wakes: BTreeMap::new(),
        };
        for (lane, _) in flow.lanes().await? {
            state.join(settings, lane.clone());
            state.lanes.insert(lane, LaneState { more: true, marked: true, ..LaneState::default() });
        }
        Ok(state)
    }

    /// What is known of a key, read if it is not.
    pub(super) async fn key(
        &mut self,
        flow: &Flow,
        settings: &QueueSettings,
        token: &str,
        now: Timestamp,
    ) -> Result<&mut Key, Failure> {
        if !self.keys.contains_key(token) {
            if self.keys.len() >= MOST_IDLE_KEYS {
                self.keys.retain(|_, key| !key.holders.is_empty() || key.pace.changed);
            }
            let (line, reading) = (Line::Key(token.to_owned()), Reading::default());
            let (holders, empty, kept) = tokio::try_join!(
                flow.slots(Some(token)),
                flow.is_empty(&line, None, &reading),
                flow.meter(Some(token))
            )?;
            let pace = Pace::restore(settings.key_rate, kept.as_ref(), now);
            self.keys.insert(token.to_owned(), Key { holders, empty, reading, reserved: 0, pace });
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
                state.reading = Reading::at_end(place.sequence + 1);
                state.buffer.push_back(place);
            } else {
                state.more = true;
                state.reading.grew(place.sequence);
            }
        }
    }

    /// The first of a lane; none if it has none but those who are just arriving.
    pub(super) async fn first(&mut self, flow: &Flow, lane: &Lane) -> Result<Option<InLine>, Failure> {
        let Some(state) = self.lanes.get_mut(lane) else { return Ok(None) };
        if state.buffer.is_empty() && state.more {
            let line = Line::Turn(lane.tenant.to_string());
            let priority = Some(lane.priority);
            let (places, more) = flow.line(&line, priority, &mut state.reading, PAGE).await?;
            // A replica may not have heard of those who came last.
            state.more = more || !flow.is_empty(&line, priority, &state.reading).await?;
            state.buffer.extend(places);
        }
        Ok(state.buffer.pop_front())
    }

    /// How many wait in a lane, as far as that is known.
    pub(super) fn waiting(&self, lane: &Lane) -> usize {
        let known = self.lanes.get(lane);
        known.map_or(0, |state| if state.more { usize::MAX / 2 } else { state.buffer.len() })
    }

    /// Whoever was first of a lane is so again.
    pub(super) fn put_back(&mut self, lane: &Lane, place: InLine) {
        if let Some(state) = self.lanes.get_mut(lane) {
            state.buffer.push_front(place);
        }
    }

    /// Something is to be looked at when this time has come.
    pub(super) fn wake(&mut self, at: Timestamp, wake: Wake) {
        let all = self.wakes.entry(at).or_default();
        if !all.contains(&wake) {
            all.push(wake);
        }
    }

    /// When the next of these times is.
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        self.wakes.keys().next().copied()
    }

    /// What is to be looked at now.
    pub(super) fn woken(&mut self, now: Timestamp) -> Vec<Wake> {
        let mut woken = Vec::new();
        while let Some(first) = self.wakes.first_entry().filter(|first| *first.key() <= now) {
            woken.extend(first.remove());
        }
        woken
    }

    /// What of rates is to be kept, each once.
    pub(super) fn kept(&mut self, now: Timestamp) -> Vec<Kept> {
        let of_queue = self.pace.keep(now).map(|(state, matters)| Kept { key: None, state, matters });
        let of_keys = self.keys.iter_mut().filter_map(|(token, key)| {
            let (state, matters) = key.pace.keep(now)?;
            Some(Kept { key: Some(token.clone()), state, matters })
        });
        of_queue.into_iter().chain(of_keys).collect()
    }
}

/// The lane of a job: tenants count where turns are shared out among them.
pub(crate) fn lane_of(settings: &QueueSettings, priority: Priority, tenant: Option<&FlowKey>) -> Lane {
    let tenant = tenant.filter(|_| settings.fairness.is_some());
    Lane::new(priority, tenant.map_or_else(|| ALL.to_owned(), FlowKey::token))
}
