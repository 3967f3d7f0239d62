//! A decision of one job, as it is written, and what is known once it is.

use jiff::Timestamp;
use windlass_broker::delivery::Handle;
use windlass_broker::flow::{InLine, LetThrough, Move, Park, Promote, Return};
use windlass_broker::jobs::{Address, SeenRecord};
use windlass_broker::names::Line;
use windlass_core::flow::{FlowKey, Kept, KeySlot, Lane, QueueSettings, Slot, Slots};
use windlass_core::trace::TraceParent;
use windlass_core::{Event, Kind, Transition};
use windlass_proto::{Job, RecordBody, Teller};

use super::Failure;
use super::leave::forsake;
use super::owner::Owner;
use super::round::Arrived;
use super::state::State;

/// What is decided of a job.
pub(super) struct Decision {
    pub(super) address: Address,
    pub(super) token: u64,
    /// As it stands there; none where it need not be known.
    pub(super) job: Option<Job>,
    pub(super) trace: Option<TraceParent>,
    /// Of what has just come.
    pub(super) handle: Option<Handle>,
    /// It has come ahead of its delivery.
    ahead: bool,
    /// Where it stood in line.
    pub(super) place: Option<InLine>,
    pub(super) goes: Goes,
    pub(super) takes_key: Option<FlowKey>,
    pub(super) has_key: Option<KeySlot>,
    pub(super) kept: Kept,
    since: Timestamp,
    pub(super) new_lane: bool,
}

/// Where it goes.
pub(super) enum Goes {
    /// To the workers; with a slot of the queue, or without.
    Through { takes_turn: bool },
    /// Into this line.
    Waits(Line),
    /// From the line of its key into the queue's.
    Promoted(Lane),
    /// From its line to where it is decided anew.
    Returns,
    /// Nowhere: a limit is reached, and it ends.
    AtLimit,
}

// === impl Decision ===

impl Decision {
    pub(super) fn of_arrived(arrived: Arrived, goes: Goes, now: Timestamp) -> Self {
        Self {
            address: arrived.address,
            token: arrived.token,
            has_key: arrived.job.slots.as_ref().and_then(|slots| slots.key.clone()),
            job: Some(arrived.job),
            trace: arrived.trace,
            ahead: arrived.handle.is_none(),
            handle: arrived.handle,
            place: None,
            goes,
            takes_key: None,
            kept: Kept::Never,
            since: now,
            new_lane: false,
        }
    }

    pub(super) fn of_place(owner: &Owner, place: InLine, goes: Goes) -> Self {
        let queue = owner.flow.queue().clone();
        Self {
            address: Address { queue, priority: place.priority, job_id: place.job_id },
            token: place.held,
            has_key: place.key_slot.clone(),
            job: None,
            trace: None,
            handle: None,
            ahead: false,
            since: place.since,
            place: Some(place),
            goes,
            takes_key: None,
            kept: Kept::Never,
            new_lane: false,
        }
    }

    /// One that is to be decided anew; none if it stands there no more.
    pub(super) async fn returned(owner: &Owner, place: InLine) -> Result<Option<Self>, Failure> {
        let record = owner.flow.jobs().at(place.held).await?;
        let Some(SeenRecord { body: RecordBody::Job(job), trace, .. }) = record else {
            forsake(owner, &place).await?;
            return Ok(None);
        };
        // A slot that it has got in line is told nowhere else.
        let key = place.key_slot.clone().or_else(|| job.slots.as_ref().and_then(|slots| slots.key.clone()));
        let slots = key.map(|key| Slots { key: Some(key), turn: None });
        let job = Some(Job { slots, ..job });
        Ok(Some(Self { job, trace, ..Self::of_place(owner, place, Goes::Returns) }))
    }

    /// How large it is, about.
    pub(super) fn bytes(&self) -> usize {
        let job = self.job.as_ref().map_or(0, |job| job.task.payload.len() + 128 * job.attempts.len());
        512 + job * (1 + usize::from(self.ahead))
    }

    /// As it is written. One that goes to the workers, or waits from now on, has its job.
    pub(super) fn as_move(&self) -> Move<'_> {
        let address = &self.address;
        let (token, trace, new_lane, since) = (self.token, self.trace, self.new_lane, self.since);
        let ahead = self.ahead;
        match (&self.goes, &self.job, &self.place) {
            (Goes::Through { takes_turn }, Some(job), place) => Move::LetThrough(LetThrough {
                address,
                token,
                leaves: place.as_ref().map(|place| place.line.clone()),
                ahead,
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
                ahead,
                takes_key: self.takes_key.as_ref(),
                has_key: self.has_key.clone(),
                new_lane,
                job,
                since,
                trace,
            }),
            (Goes::Returns, Some(job), place) => Move::Return(Return {
                address,
                token,
                leaves: place.as_ref().map(|place| place.line.clone()),
                job,
                trace,
            }),
            (Goes::Promoted(lane), _, Some(InLine { key: Some(key), tenant, points, kind, .. })) => {
                Move::Promote(Promote {
                    address,
                    token,
                    key,
                    tenant: tenant.as_ref(),
                    points: *points,
                    kind,
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
        let first = first + self.as_move().before() as u64;
        if let Some(key) = &self.takes_key
            && let Some(key) = state.keys.get_mut(&key.token())
        {
            key.holders.take(job_id, last);
        }
        let (priority, key) = (self.address.priority, self.key().cloned());
        let Some(kind) = self.kind() else { return };
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
            points: self.points(),
            kind: kind.clone(),
        };
        let slot = |sequence| {
            let of =
                |key: &FlowKey| KeySlot { token: key.token(), slot: Slot::At(sequence), kept: Kept::Never };
            self.takes_key.as_ref().map(of).or_else(|| self.has_key.clone())
        };
        match &self.goes {
            Goes::Through { takes_turn: true } => state.turn.take(job_id, last),
            Goes::Through { takes_turn: false }
            | Goes::Waits(Line::Kind(_))
            | Goes::Returns
            | Goes::AtLimit => {}
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
        if let Some(place @ InLine { line: Line::Key(key), .. }) = &self.place
            && let Some(key) = state.keys.get_mut(key)
        {
            key.reading.back_to(place.sequence);
        }
        let reserved = matches!(self.goes, Goes::Promoted(_) | Goes::Waits(Line::Turn(_)));
        if let Some(key) = self.key().filter(|_| reserved).and_then(|key| state.keys.get_mut(&key.token())) {
            key.reserved = key.reserved.saturating_sub(1);
        }
        match &self.goes {
            Goes::Through { takes_turn: true } => state.turn.forget(self.address.job_id),
            _ => self.unmark(state),
        }
    }

    /// The lane that it comes to.
    fn lane(&self) -> Option<Lane> {
        match &self.goes {
            Goes::Waits(Line::Turn(tenant)) => Some(Lane::new(self.address.priority, tenant.as_str())),
            Goes::Promoted(lane) => Some(lane.clone()),
            _ => None,
        }
    }

    /// It was refused, so that the stream was not told of its lane.
    pub(super) fn unmark(&self, state: &mut State) {
        if let Some(lane) = self.lane().filter(|_| self.new_lane) {
            state.unmark(&lane);
        }
    }

    /// It is about to be written, and tells the stream of its lane if nobody has.
    pub(super) fn mark(&mut self, state: &mut State) {
        self.new_lane = self.lane().is_some_and(|lane| state.mark(&lane));
    }

    /// What it costs.
    pub(super) fn points(&self) -> u32 {
        match (&self.job, &self.place) {
            (Some(job), _) => job.task.points,
            (None, place) => place.as_ref().map_or(1, |place| place.points),
        }
    }

    fn kind(&self) -> Option<&Kind> {
        match (&self.job, &self.place) {
            (Some(job), _) => Some(&job.task.kind),
            (None, place) => place.as_ref().map(|place| &place.kind),
        }
    }

    pub(super) fn key(&self) -> Option<&FlowKey> {
        match (&self.job, &self.place) {
            (Some(job), _) => job.task.key.as_ref(),
            (None, place) => place.as_ref()?.key.as_ref(),
        }
    }

    pub(super) fn tenant(&self) -> Option<&FlowKey> {
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
                    (Line::Kind(_), Some(key)) if line.is_of_stopped_key() => {
                        format!("its key {key} is paused")
                    }
                    (Line::Kind(_), _) => format!("its kind {kind} is paused"),
                    _ => "waits for its turn".to_owned(),
                };
                Some(Event { note, ..teller.event(Transition::Held, attempt, now) })
            }
            (Goes::Through { .. }, place) if place.is_some() || job.held_since.is_some() => {
                Some(teller.event(Transition::Queued, attempt, now))
            }
            _ => None,
        }
    }
}
