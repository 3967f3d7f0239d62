//! What is decided of a job: it goes to the workers, or waits in a line.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use windlass_broker::delivery::Handle;
use windlass_broker::flow::{InLine, LetThrough, Move, Park, Promote};
use windlass_broker::jobs::{Address, SeenRecord};
use windlass_broker::names::Line;
use windlass_core::flow::{FlowKey, Kept, KeySlot, Lane, OnDead, QueueSettings, Slot};
use windlass_core::trace::TraceParent;
use windlass_core::{Event, Kind, Transition};
use windlass_proto::{Job, RecordBody, Teller};

use super::Failure;
use super::owner::Owner;
use super::round::Arrived;
use super::state::{State, lane_of};

/// Jobs that are decided together: with at most four messages each, a write has room for them.
const MOST: usize = 240;
/// Of jobs that are read at one time.
const READS: usize = 32;
/// How many may be ready or running where turns count and no limit says how many.
const WINDOW: usize = 100;

/// Stands for the sequence of what is not written yet: nothing that is told can be about it.
const UNWRITTEN: u64 = u64::MAX;

/// What is decided of a job.
pub(super) struct Decision {
    pub(super) address: Address,
    pub(super) token: u64,
    /// As it stands there; none where it need not be known.
    pub(super) job: Option<Job>,
    trace: Option<TraceParent>,
    /// Of what has just come.
    pub(super) handle: Option<Handle>,
    /// Where it stood in line.
    pub(super) place: Option<InLine>,
    goes: Goes,
    takes_key: Option<FlowKey>,
    has_key: Option<KeySlot>,
    kept: Kept,
    since: Timestamp,
    new_lane: bool,
}

/// Where it goes.
enum Goes {
    /// To the workers; with a slot of the queue, or without.
    Through { takes_turn: bool },
    /// Into this line.
    Waits(Line),
    /// From the line of its key into the queue's.
    Promoted(Lane),
}

/// Decisions that are being made.
pub(super) struct Deciding<'a> {
    owner: &'a mut Owner,
    decisions: Vec<Decision>,
    /// Those who have just come to a lane.
    arriving: HashMap<Lane, VecDeque<Decision>>,
    /// Keys that are to be looked at once more.
    unfinished: BTreeSet<String>,
}

// === impl Decision ===

impl Decision {
    fn of_arrived(arrived: Arrived, goes: Goes, now: Timestamp) -> Self {
        Self {
            address: arrived.address,
            token: arrived.token,
            has_key: arrived.job.slots.as_ref().and_then(|slots| slots.key.clone()),
            job: Some(arrived.job),
            trace: arrived.trace,
            handle: Some(arrived.handle),
            place: None,
            goes,
            takes_key: None,
            kept: Kept::Never,
            since: now,
            new_lane: false,
        }
    }

    fn of_place(owner: &Owner, place: InLine, goes: Goes) -> Self {
        let queue = owner.flow.queue().clone();
        Self {
            address: Address { queue, priority: place.priority, job_id: place.job_id },
            token: place.held,
            has_key: place.key_slot.clone(),
            job: None,
            trace: None,
            handle: None,
            since: place.since,
            place: Some(place),
            goes,
            takes_key: None,
            kept: Kept::Never,
            new_lane: false,
        }
    }

    /// How large it is, about.
    pub(super) fn bytes(&self) -> usize {
        512 + self.job.as_ref().map_or(0, |job| job.task.payload.len() + 128 * job.attempts.len())
    }

    /// As it is written. One that goes to the workers, or waits from now on, has its job.
    pub(super) fn as_move(&self) -> Move<'_> {
        let address = &self.address;
        let (token, trace, new_lane, since) = (self.token, self.trace, self.new_lane, self.since);
        match (&self.goes, &self.job, &self.place) {
            (Goes::Through { takes_turn }, Some(job), place) => Move::LetThrough(LetThrough {
                address,
                token,
                leaves: place.as_ref().map(|place| place.line.clone()),
                takes_key: self.takes_key.as_ref(),
                has_key: self.has_key.clone(),
                kept: self.kept,
                takes_turn: *takes_turn,
                job,
                trace,
            }),
            (Goes::Waits(line), Some(job), _) => Move::Park(Park {
                address,
                token,
                line: line.clone(),
                takes_key: self.takes_key.as_ref(),
                has_key: self.has_key.clone(),
                new_lane,
                job,
                since,
                trace,
            }),
            (Goes::Promoted(lane), _, Some(InLine { key: Some(key), tenant, .. })) => {
                Move::Promote(Promote {
                    address,
                    token,
                    key,
                    tenant: tenant.as_ref(),
                    lane: &lane.tenant,
                    new_lane,
                    since,
                })
            }
            _ => unreachable!("a decision without its job is not made"),
        }
    }

    /// It is written, its first message under this sequence.
    pub(super) fn in_force(&self, settings: &QueueSettings, state: &mut State, first: u64) {
        let job_id = self.address.job_id;
        let last = first + self.as_move().messages() as u64 - 1;
        if let Some(key) = &self.takes_key
            && let Some(key) = state.keys.get_mut(&key.token())
        {
            key.holders.take(job_id, last);
        }
        let (priority, key) = (self.address.priority, self.key().cloned());
        let place = |sequence, line, held, key_slot| InLine {
            sequence,
            line,
            priority,
            job_id,
            held,
            key,
            tenant: self.tenant().cloned(),
            since: self.since,
            key_slot,
        };
        let slot = |sequence| {
            let of =
                |key: &FlowKey| KeySlot { token: key.token(), slot: Slot::At(sequence), kept: Kept::Never };
            self.takes_key.as_ref().map(of).or_else(|| self.has_key.clone())
        };
        match &self.goes {
            Goes::Through { takes_turn: true } => state.turn.take(job_id, last),
            Goes::Through { takes_turn: false } => {}
            Goes::Waits(line @ Line::Turn(tenant)) => {
                let lane = Lane::new(priority, tenant.as_str());
                state.arrives(settings, &lane);
                state.append(&lane, place(first + 1, line.clone(), first, slot(first + 2)));
            }
            Goes::Waits(Line::Key(key)) => {
                if let Some(key) = state.keys.get_mut(key) {
                    key.empty = false;
                }
            }
            Goes::Promoted(lane) => {
                let line = Line::Turn(lane.tenant.to_string());
                state.arrives(settings, lane);
                state.append(lane, place(first, line, self.token, slot(first + 1)));
            }
        }
    }

    /// It is refused for good: what was taken in its expectation is free.
    pub(super) fn forget(&self, state: &mut State) {
        if let Some(key) = &self.takes_key
            && let Some(key) = state.keys.get_mut(&key.token())
        {
            key.holders.forget(self.address.job_id);
        }
        match &self.goes {
            Goes::Through { takes_turn: true } => state.turn.forget(self.address.job_id),
            Goes::Waits(Line::Turn(tenant)) if self.new_lane => {
                state.unmark(&Lane::new(self.address.priority, tenant.as_str()));
            }
            Goes::Promoted(lane) if self.new_lane => state.unmark(lane),
            _ => {}
        }
    }

    fn key(&self) -> Option<&FlowKey> {
        match (&self.job, &self.place) {
            (Some(job), _) => job.task.key.as_ref(),
            (None, place) => place.as_ref()?.key.as_ref(),
        }
    }

    fn tenant(&self) -> Option<&FlowKey> {
        match (&self.job, &self.place) {
            (Some(job), _) => job.task.tenant.as_ref(),
            (None, place) => place.as_ref()?.tenant.as_ref(),
        }
    }

    /// What its history shows; nothing where the job passes without a wait.
    pub(super) fn event(&self, now: Timestamp) -> Option<Event> {
        let job = self.job.as_ref()?;
        let kind: &Kind = &job.task.kind;
        let teller = Teller {
            queue: &self.address.queue,
            job_id: self.address.job_id,
            priority: self.address.priority,
            kind,
            accepted_at: job.accepted_at,
            trace: self.trace,
        };
        let attempt = job.attempts.iter().map(|a| a.number).max().unwrap_or(0);
        match (&self.goes, &self.place) {
            (Goes::Waits(line), _) => {
                let note = match (line, &job.task.key) {
                    (Line::Key(_), Some(key)) => format!("waits for its key {key}"),
                    _ => "waits for its turn".to_owned(),
                };
                Some(Event { note, ..teller.event(Transition::Held, attempt, now) })
            }
            (Goes::Through { .. }, Some(_)) => Some(teller.event(Transition::Queued, attempt, now)),
            _ => None,
        }
    }
}

// === impl Deciding ===

impl<'a> Deciding<'a> {
    pub(super) fn new(owner: &'a mut Owner) -> Self {
        Self { owner, decisions: Vec::new(), arriving: HashMap::new(), unfinished: BTreeSet::new() }
    }

    /// Those in the lines of these keys, as far as their keys have room.
    pub(super) async fn look_at(&mut self, keys: BTreeSet<String>) -> Result<(), Failure> {
        let settings = Arc::clone(&self.owner.settings);
        let flow = self.owner.flow.clone();
        let paused: BTreeSet<String> = settings
            .paused_keys
            .keys()
            .filter_map(|key| Some(key.parse::<FlowKey>().ok()?.token()))
            .collect();
        let passes = !settings.has_turn_stage();
        let limit = self.key_limit();
        for token in keys {
            if self.decisions.len() >= MOST {
                self.unfinished.insert(token);
                continue;
            }
            let key = self.owner.state.key(&flow, &token).await?;
            let room = limit.map_or(MOST, |limit| limit.saturating_sub(key.holders.len())).min(MOST);
            if room == 0 || key.empty || paused.contains(&token) {
                continue;
            }
            let line = Line::Key(token.clone());
            let (mut places, more) = flow.line(&line, None, 0, room).await?;
            key.empty = places.is_empty() && !more && flow.is_empty(&line, None).await?;
            if key.empty {
                continue;
            }
            // Those that were let through already are shown by a replica that has not heard of it.
            places.retain(|place| !key.holders.has(place.job_id));
            for place in &places {
                key.holders.take(place.job_id, UNWRITTEN);
            }
            if places.len() == room {
                self.unfinished.insert(token);
            }
            for place in places {
                let lane = lane_of(&settings, place.priority, place.tenant.as_ref());
                let goes =
                    if passes { Goes::Through { takes_turn: false } } else { Goes::Promoted(lane.clone()) };
                let takes_key = place.key.clone();
                let mut one = Decision::of_place(self.owner, place, goes);
                (one.takes_key, one.kept) = (takes_key, kept(&settings));
                one.new_lane = !passes && self.owner.state.mark(&lane);
                self.decisions.push(one);
            }
        }
        self.read_jobs().await
    }

    /// Those who have just come: past the stage of their keys, into that of turns.
    pub(super) async fn arrive(&mut self, arrivals: Vec<Arrived>) -> Result<(), Failure> {
        let now = self.owner.shared.broker.now();
        let settings = Arc::clone(&self.owner.settings);
        for arrived in arrivals {
            let key = arrived.job.task.key.clone().filter(|_| settings.has_key_stage());
            let mut one = Decision::of_arrived(arrived, Goes::Through { takes_turn: false }, now);
            one.kept = kept(&settings);
            if let (Some(name), None) = (key, &one.has_key) {
                let (limit, flow, token) = (self.key_limit(), self.owner.flow.clone(), name.token());
                let key = self.owner.state.key(&flow, &token).await?;
                let paused = settings.paused_keys.contains_key(name.as_str());
                if paused || !key.empty || limit.is_some_and(|limit| key.holders.len() >= limit) {
                    key.empty = false;
                    one.goes = Goes::Waits(Line::Key(token));
                    self.decisions.push(one);
                    continue;
                }
                if limit.is_some() {
                    key.holders.take(one.address.job_id, UNWRITTEN);
                    one.takes_key = Some(name);
                }
            }
            if settings.has_turn_stage() {
                let lane = lane_of(&settings, one.address.priority, one.tenant());
                self.owner.state.arrives(&settings, &lane);
                self.arriving.entry(lane).or_default().push_back(one);
            } else {
                self.decisions.push(one);
            }
        }
        Ok(())
    }

    /// As many as the queue has room for, by turns; whoever has just come and is not among them waits.
    pub(super) async fn take_turns(&mut self) -> Result<(), Failure> {
        let limit = self.turn_limit();
        let flow = self.owner.flow.clone();
        while self.decisions.len() < MOST && limit.is_none_or(|limit| self.owner.state.turn.len() < limit) {
            let Some(lane) = self.owner.state.turns.next().cloned() else { break };
            let one = match self.owner.state.first(&flow, &lane).await? {
                Some(place) => {
                    Some(Decision::of_place(self.owner, place, Goes::Through { takes_turn: true }))
                }
                None => self.arriving.get_mut(&lane).and_then(VecDeque::pop_front).map(|mut one| {
                    one.goes = Goes::Through { takes_turn: true };
                    one
                }),
            };
            let Some(mut one) = one else {
                self.owner.state.turns.leave(&lane);
                continue;
            };
            one.kept = kept(&self.owner.settings);
            self.owner.state.turns.took(&lane);
            self.owner.state.turn.take(one.address.job_id, UNWRITTEN);
            self.decisions.push(one);
        }
        for (lane, waiting) in std::mem::take(&mut self.arriving) {
            for mut one in waiting {
                one.goes = Goes::Waits(Line::Turn(lane.tenant.to_string()));
                one.new_lane = self.owner.state.mark(&lane);
                self.decisions.push(one);
            }
        }
        self.read_jobs().await
    }

    /// What is decided, and the keys that are to be looked at once more.
    pub(super) fn end(self) -> (Vec<Decision>, BTreeSet<String>) {
        (self.decisions, self.unfinished)
    }

    fn key_limit(&self) -> Option<usize> {
        self.owner.settings.key_limit().map(|limit| limit as usize)
    }

    fn turn_limit(&self) -> Option<usize> {
        let settings = &self.owner.settings;
        if settings.paused.is_some() {
            return Some(0);
        }
        let limit = settings.concurrency.map(|limit| limit as usize);
        limit.or_else(|| settings.has_turn_stage().then_some(WINDOW))
    }

    /// Those who leave a line for the workers are read, from where they are held.
    async fn read_jobs(&mut self) -> Result<(), Failure> {
        let flow = self.owner.flow.clone();
        let unread = self
            .decisions
            .iter()
            .enumerate()
            .filter(|(_, one)| one.job.is_none() && matches!(one.goes, Goes::Through { .. }));
        let unread: Vec<_> = unread.map(|(index, one)| (index, one.token)).collect();
        let found: Vec<(usize, Option<SeenRecord>)> = stream::iter(unread)
            .map(|(index, token)| {
                let flow = flow.clone();
                async move { Ok::<_, Failure>((index, flow.held(token).await?)) }
            })
            .buffer_unordered(READS)
            .try_collect()
            .await?;
        let mut gone = BTreeSet::new();
        for (index, record) in found {
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
        // Whoever ended them from outside died before they left the line.
        for index in gone.into_iter().rev() {
            let one = self.decisions.remove(index);
            one.forget(&mut self.owner.state);
            if let Some(place) = &one.place {
                flow.drop_place(place, super::CALL_TIMEOUT).await?;
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
