//! Deciding: who goes to the workers, and who waits in a line.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use windlass_broker::flow::{Flow, InLine};
use windlass_broker::jobs::SeenRecord;
use windlass_broker::names::Line;
use windlass_core::JobId;
use windlass_core::flow::{AtLimit, FlowKey, Kept, Lane, OnDead, QueueSettings};
use windlass_proto::RecordBody;

use super::Failure;
use super::decision::{Decision, Goes};
use super::leave::forsake;
use super::owner::Owner;
use super::round::Arrived;
use super::state::{Wake, lane_of};

/// Jobs that are decided together: with at most five messages each, a write has room for them.
const MOST: usize = 240;

/// Decisions that are being made.
pub(super) struct Deciding<'a> {
    owner: &'a mut Owner,
    flow: Flow,
    settings: Arc<QueueSettings>,
    now: Timestamp,
    decisions: Vec<Decision>,
    /// Those who have just come to a lane.
    arriving: HashMap<Lane, VecDeque<Decision>>,
    /// Keys that are to be looked at once more.
    unfinished: BTreeSet<String>,
    /// Those who have just come and are to end, as a limit is reached.
    ended: Vec<Decision>,
    /// Those who are to be cancelled for others.
    cancelled: BTreeSet<JobId>,
}

/// What is decided.
pub(super) struct Decided {
    pub(super) decisions: Vec<Decision>,
    pub(super) unfinished: BTreeSet<String>,
    pub(super) ended: Vec<Decision>,
    pub(super) cancelled: BTreeSet<JobId>,
}

// === impl Deciding ===

impl<'a> Deciding<'a> {
    pub(super) fn new(owner: &'a mut Owner) -> Self {
        Self {
            flow: owner.flow.clone(),
            settings: Arc::clone(&owner.settings),
            now: owner.shared.broker.now(),
            owner,
            decisions: Vec::new(),
            arriving: HashMap::new(),
            unfinished: BTreeSet::new(),
            ended: Vec::new(),
            cancelled: BTreeSet::new(),
        }
    }

    /// Those in the lines of these keys, as far as their keys have room.
    pub(super) async fn look_at(&mut self, keys: BTreeSet<String>) -> Result<(), Failure> {
        let paused: BTreeSet<String> = {
            let keys = self.settings.paused_keys.keys();
            keys.filter_map(|key| Some(key.parse::<FlowKey>().ok()?.token())).collect()
        };
        let turns = self.settings.has_turn_stage();
        for token in keys {
            if self.decisions.len() >= MOST {
                self.unfinished.insert(token);
                continue;
            }
            let now = self.now;
            let key = self.owner.state.key(&self.flow, &self.settings, &token, now).await?;
            let limit = self.settings.key_limit().map_or(usize::MAX, |limit| limit as usize);
            let mut room = limit.saturating_sub(key.holders.len()).min(MOST);
            if self.settings.key_rate.is_some() && turns {
                // Whoever starts later than it was let pass would count at the wrong time: no more than one may.
                room = room.min(1_usize.saturating_sub(key.reserved));
            }
            if room == 0 || key.empty || paused.contains(&token) {
                continue;
            }
            let line = Line::Key(token.clone());
            let (mut places, more) = self.flow.line(&line, None, &mut key.reading, room).await?;
            key.empty = places.is_empty() && !more && self.flow.is_empty(&line, None, &key.reading).await?;
            if key.empty {
                continue;
            }
            let asked = places.len();
            // Those that were let through already are shown by a replica that has not heard of it.
            places.retain(|place| !key.holders.has(place.job_id));
            let (mut places, strangers): (Vec<_>, Vec<_>) =
                places.into_iter().partition(|place| belongs(&self.settings, place));
            let mut wait = None;
            let pass = places.iter().position(|place| {
                wait = key.pace.at(place.points, now);
                if wait.is_none() {
                    key.holders.expect(place.job_id);
                    if turns { key.reserved += 1 } else { key.pace.take(place.points, now) }
                }
                wait.is_some()
            });
            if let Some(pass) = pass {
                key.reading.back_to(places[pass].sequence);
                places.truncate(pass);
            }
            if let Some(at) = wait {
                self.owner.state.wake(at, Wake::Key(token));
            } else if asked == room {
                self.unfinished.insert(token);
            }
            for place in places {
                let goes = if turns {
                    Goes::Promoted(lane_of(&self.settings, place.priority, place.tenant.as_ref()))
                } else {
                    Goes::Through { takes_turn: false }
                };
                let takes_key = place.key.clone();
                let mut one = Decision::of_place(self.owner, place, goes);
                (one.takes_key, one.kept) = (takes_key, kept(&self.settings));
                self.decisions.push(one);
            }
            for place in strangers {
                self.decisions.extend(Decision::returned(self.owner, place).await?);
            }
        }
        self.read_jobs().await
    }

    /// Those who have just come: past their kind and the stage of their keys, into that of turns.
    pub(super) async fn arrive(&mut self, arrivals: Vec<Arrived>) -> Result<(), Failure> {
        for arrived in arrivals {
            let mut one = Decision::of_arrived(arrived, Goes::Through { takes_turn: false }, self.now);
            one.kept = kept(&self.settings);
            if let Some(line) = self.stopped(&one) {
                one.goes = Goes::Waits(line);
                self.decisions.push(one);
                continue;
            }
            if !self.passes_key(&mut one).await? {
                self.wait(one);
                continue;
            }
            if self.settings.has_turn_stage() {
                let lane = lane_of(&self.settings, one.address.priority, one.tenant());
                self.owner.state.arrives(&self.settings, &lane);
                self.arriving.entry(lane).or_default().push_back(one);
            } else {
                self.decisions.push(one);
            }
        }
        Ok(())
    }

    /// The line of one that has just come while its kind is paused; or its key, where it has a slot of that already.
    fn stopped(&self, one: &Decision) -> Option<Line> {
        let kind = one.job.as_ref().map(|job| &job.task.kind)?;
        if self.settings.paused_kinds.contains_key(kind) {
            return Some(Line::of_kind(kind));
        }
        let key = one.has_key.as_ref().and(one.key())?;
        self.settings.paused_keys.contains_key(key.as_str()).then(|| Line::of_stopped_key(&key.token()))
    }

    /// Whether one that has just come need not wait for its key. If it must, it goes into that line.
    async fn passes_key(&mut self, one: &mut Decision) -> Result<bool, Failure> {
        let Some(name) = one.key().cloned().filter(|_| self.settings.has_key_stage()) else {
            return Ok(true);
        };
        let (token, points, turns) = (name.token(), one.points(), self.settings.has_turn_stage());
        let key = self.owner.state.key(&self.flow, &self.settings, &token, self.now).await?;
        if one.has_key.is_none() {
            let full = self.settings.key_limit().is_some_and(|limit| key.holders.len() >= limit as usize);
            let paused = self.settings.paused_keys.contains_key(name.as_str());
            let later = key.pace.at(points, self.now);
            let one_at_a_time = self.settings.key_rate.is_some() && turns && key.reserved > 0;
            if paused || full || one_at_a_time || later.is_some() || !key.empty {
                if full && !paused && self.settings.at_limit != AtLimit::Hold {
                    one.goes = Goes::AtLimit;
                    if self.settings.at_limit == AtLimit::CancelOldest {
                        self.cancelled.extend(key.holders.oldest());
                        key.empty = false;
                        one.goes = Goes::Waits(Line::Key(token));
                    }
                    return Ok(false);
                }
                let was_empty = std::mem::replace(&mut key.empty, false);
                if let Some(at) = later.filter(|_| was_empty) {
                    self.owner.state.wake(at, Wake::Key(token.clone()));
                }
                one.goes = Goes::Waits(Line::Key(token));
                return Ok(false);
            }
            key.holders.expect(one.address.job_id);
            one.takes_key = Some(name);
        }
        if turns {
            key.reserved += 1;
        } else {
            key.pace.take(points, self.now);
        }
        Ok(true)
    }

    /// As many as the queue has room for, by turns; whoever has just come and is not among them waits.
    pub(super) async fn take_turns(&mut self) -> Result<(), Failure> {
        let limit = self.turn_limit();
        while self.decisions.len() < MOST && limit.is_none_or(|limit| self.owner.state.turn.len() < limit) {
            let Some(lane) = self.owner.state.turns.next().cloned() else { break };
            let through = Goes::Through { takes_turn: true };
            let one = match self.owner.state.first(&self.flow, &lane).await? {
                Some(place) if !belongs(&self.settings, &place) => {
                    self.decisions.extend(Decision::returned(self.owner, place).await?);
                    continue;
                }
                Some(place) => Some(Decision::of_place(self.owner, place, through)),
                None => self.arriving.get_mut(&lane).and_then(VecDeque::pop_front).map(|mut one| {
                    one.goes = through;
                    one
                }),
            };
            let Some(mut one) = one else {
                self.owner.state.turns.leave(&lane);
                continue;
            };
            let (points, now) = (one.points(), self.now);
            if let Some(at) = self.owner.state.pace.at(points, now) {
                self.owner.state.wake(at, Wake::Turns);
                self.put_back(&lane, one);
                break;
            }
            // The pace of its key, where it passed that stage: by the time that it starts.
            if let Some(token) = one.key().filter(|_| self.settings.has_key_stage()).map(FlowKey::token) {
                let key = self.owner.state.key(&self.flow, &self.settings, &token, now).await?;
                if let Some(at) = key.pace.at(points, now) {
                    self.owner.state.turns.leave(&lane);
                    self.owner.state.wake(at, Wake::Lane(lane.clone()));
                    self.put_back(&lane, one);
                    continue;
                }
                key.pace.take(points, now);
                key.reserved = key.reserved.saturating_sub(1);
                if self.settings.key_rate.is_some() {
                    self.unfinished.insert(token);
                }
            }
            one.kept = kept(&self.settings);
            let state = &mut self.owner.state;
            state.turns.took(&lane);
            state.turn.expect(one.address.job_id);
            state.pace.take(points, now);
            self.decisions.push(one);
        }
        let full = limit.is_some_and(|limit| limit > 0 && self.owner.state.turn.len() >= limit);
        if let Some(ahead) = &mut self.owner.window {
            ahead.full |= full;
        }
        let at_limit =
            if full && self.settings.concurrency.is_some() { self.settings.at_limit } else { AtLimit::Hold };
        for (lane, waiting) in std::mem::take(&mut self.arriving) {
            for mut one in waiting {
                match at_limit {
                    AtLimit::Hold => {}
                    AtLimit::CancelOldest => self.cancelled.extend(self.owner.state.turn.oldest()),
                    AtLimit::CancelNew | AtLimit::Reject => {
                        // It has passed the stage of its key, and goes no further.
                        one.goes = Goes::Waits(Line::Turn(lane.tenant.to_string()));
                        one.forget(&mut self.owner.state);
                        one.goes = Goes::AtLimit;
                        self.wait(one);
                        continue;
                    }
                }
                one.goes = Goes::Waits(Line::Turn(lane.tenant.to_string()));
                self.decisions.push(one);
            }
        }
        self.read_jobs().await
    }

    fn put_back(&mut self, lane: &Lane, mut one: Decision) {
        match one.place.take() {
            Some(place) => self.owner.state.put_back(lane, place),
            None => self.arriving.entry(lane.clone()).or_default().push_front(one),
        }
    }

    /// One that has just come does not go to the workers.
    fn wait(&mut self, one: Decision) {
        if matches!(one.goes, Goes::AtLimit) { self.ended.push(one) } else { self.decisions.push(one) }
    }

    /// What is decided.
    pub(super) fn end(self) -> Decided {
        let Self { decisions, unfinished, ended, cancelled, .. } = self;
        Decided { decisions, unfinished, ended, cancelled }
    }

    fn turn_limit(&self) -> Option<usize> {
        if self.settings.paused.is_some() {
            return Some(0);
        }
        let limit = self.settings.concurrency.map(|limit| limit as usize);
        limit.or_else(|| self.owner.window.as_ref().map(|ahead| ahead.window.most()))
    }

    /// Those who leave a line for the workers are read, from where they are held.
    async fn read_jobs(&mut self) -> Result<(), Failure> {
        let unread = self
            .decisions
            .iter()
            .enumerate()
            .filter(|(_, one)| one.job.is_none() && matches!(one.goes, Goes::Through { .. }));
        let unread: Vec<_> = unread.map(|(index, _)| index).collect();
        let held: Vec<_> = unread
            .iter()
            .map(|index| (&self.decisions[*index].address, self.decisions[*index].token))
            .collect();
        let found = self.flow.held(&held).await?;
        let mut gone = BTreeSet::new();
        for (index, record) in unread.into_iter().zip(found) {
            match record {
                Some(SeenRecord { body: RecordBody::Job(job), trace, .. }) => {
                    self.decisions[index].job = Some(job);
                    self.decisions[index].trace = trace;
                }
                _ => {
                    gone.insert(index);
                }
            }
        }
        // Whoever ended them from outside died before they left the line; or they were taken out of it already.
        for index in gone.into_iter().rev() {
            let one = self.decisions.remove(index);
            one.forget(&mut self.owner.state);
            if let Some(place) = &one.place {
                forsake(self.owner, place).await?;
            }
        }
        Ok(())
    }
}

fn kept(settings: &QueueSettings) -> Kept {
    match settings.fifo() {
        None => Kept::Never,
        Some(OnDead::Skip) => Kept::Retrying,
        Some(OnDead::Block) => Kept::Dead,
    }
}

/// Whether whoever stands in a line for its key or its turn may go on from there. Of others it is decided anew: since
/// they came there, their kind or their key was paused, or a limit was set of their key, of which they have no slot.
pub(super) fn belongs(settings: &QueueSettings, place: &InLine) -> bool {
    if settings.paused_kinds.contains_key(&place.kind) {
        return false;
    }
    let (Line::Turn(_), Some(key)) = (&place.line, &place.key) else { return true };
    !settings.paused_keys.contains_key(key.as_str())
        && (place.key_slot.is_some() || settings.key_limit().is_none())
}
