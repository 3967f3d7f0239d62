//! What an owner decides of jobs, written all or none.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use jiff::Timestamp;
use windlass_core::flow::{FlowKey, Kept, KeySlot, MeterState, Slot, Slots};
use windlass_core::protocol::Answer;
use windlass_core::trace::TraceParent;
use windlass_core::{Kind, RecordKind};
use windlass_proto::{Job, Waiting, slot_taken};

use super::{Flow, TIMEOUT};
use crate::connect::Error;
use crate::jobs::Address;
use crate::names::{FlowSubject, Line};
use crate::publish::{MOST_AT_ONCE, Outgoing, header, publish_all_if};
use crate::trace;

/// When a timer fires that is there only to be removed.
const NEVER: &str = "@at 2200-01-01T00:00:00Z";

/// What is decided of a job.
#[derive(Debug, Clone)]
pub enum Move<'a> {
    /// It goes to the workers.
    LetThrough(LetThrough<'a>),
    /// It waits in a line.
    Park(Park<'a>),
    /// It has got a slot of its key, and waits for its turn.
    Promote(Promote<'a>),
    /// It is to be decided anew.
    Return(Return<'a>),
    /// Of no job: what was let go under a rate.
    Keep(Keep<'a>),
}

/// A job goes to the workers.
#[derive(Debug, Clone)]
pub struct LetThrough<'a> {
    /// Which.
    pub address: &'a Address,
    /// The sequence of its `due` or `held`, which must still be last.
    pub token: u64,
    /// In which line it stands, if it is held.
    pub leaves: Option<Line>,
    /// Its key, of which it takes a slot now.
    pub takes_key: Option<&'a FlowKey>,
    /// The slot of its key that it has already.
    pub has_key: Option<KeySlot>,
    /// When it keeps the slot that it takes.
    pub kept: Kept,
    /// Whether it takes a slot of the queue.
    pub takes_turn: bool,
    /// As it is read by the worker, but for its slots.
    pub job: &'a Job,
    /// Of the job.
    pub trace: Option<TraceParent>,
}

/// A job waits in a line.
#[derive(Debug, Clone)]
pub struct Park<'a> {
    /// Which.
    pub address: &'a Address,
    /// The sequence of its `due`, which must still be last.
    pub token: u64,
    /// For which it waits.
    pub line: Line,
    /// Its key, of which it takes a slot now.
    pub takes_key: Option<&'a FlowKey>,
    /// The slot of its key that it has already.
    pub has_key: Option<KeySlot>,
    /// Whether its line of the queue is not known to the broker yet.
    pub new_lane: bool,
    /// As it stands in its `due`.
    pub job: &'a Job,
    /// Since when it waits.
    pub since: Timestamp,
    /// Of the job.
    pub trace: Option<TraceParent>,
}

/// A held job has got a slot of its key, and waits for its turn.
#[derive(Debug, Clone)]
pub struct Promote<'a> {
    /// Which.
    pub address: &'a Address,
    /// The sequence of its `held`, which must still be last.
    pub token: u64,
    /// Its key.
    pub key: &'a FlowKey,
    /// Whom it is for.
    pub tenant: Option<&'a FlowKey>,
    /// What it costs.
    pub points: u32,
    /// Of its task.
    pub kind: &'a Kind,
    /// The token of the tenant in whose line it stands from now on.
    pub lane: &'a str,
    /// Whether its line of the queue is not known to the broker yet.
    pub new_lane: bool,
    /// Since when it waits.
    pub since: Timestamp,
}

/// A held job is to be decided anew: it becomes due once more.
#[derive(Debug, Clone)]
pub struct Return<'a> {
    /// Which.
    pub address: &'a Address,
    /// The sequence of its `held`, which must still be last.
    pub token: u64,
    /// In which line it stands; none if it has lost its place.
    pub leaves: Option<Line>,
    /// As it stands there.
    pub job: &'a Job,
    /// Of the job.
    pub trace: Option<TraceParent>,
}

/// What was let go under a rate.
#[derive(Debug, Clone)]
pub struct Keep<'a> {
    /// The token of the key; none: of the queue.
    pub key: Option<&'a str>,
    /// What.
    pub state: &'a MeterState,
    /// For how long it matters.
    pub matters: Duration,
}

/// What became of decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// All are in force; the sequence is that of the first message of the first of them.
    Done(u64),
    /// None is: the queue has another owner, or one of the jobs has moved.
    Refused,
    /// It is not known.
    Unknown,
}

// === impl Move ===

impl Move<'_> {
    /// How many messages it is.
    pub fn messages(&self) -> usize {
        match self {
            Self::LetThrough(one) => 1 + usize::from(one.takes_key.is_some()) + usize::from(one.takes_turn),
            Self::Park(one) => 2 + usize::from(one.takes_key.is_some()) + usize::from(one.new_lane),
            Self::Promote(one) => 2 + usize::from(one.new_lane),
            Self::Return(one) => 1 + usize::from(one.leaves.is_some()),
            Self::Keep(_) => 1,
        }
    }
}

// === impl Flow ===

impl Flow {
    /// How many messages may be written at once.
    pub const MOST_MESSAGES: usize = MOST_AT_ONCE;

    /// Writes these decisions of the owner of this epoch, all or none. They are at most [`Self::MOST_MESSAGES`]
    /// messages, and each job is among them once.
    pub async fn commit(&self, epoch: u64, moves: &[Move<'_>]) -> Result<Commit, Error> {
        let mut batch = Batch { flow: self, messages: Vec::new(), owned: false, epoch };
        for one in moves {
            match one {
                Move::LetThrough(one) => batch.let_through(one),
                Move::Park(one) => batch.park(one),
                Move::Promote(one) => batch.promote(one),
                Move::Return(one) => batch.give_back(one),
                Move::Keep(one) => batch.keep(one)?,
            }
        }
        if batch.messages.is_empty() {
            return Ok(Commit::Done(0));
        }
        let answer = publish_all_if(self.broker(), batch.messages, TIMEOUT).await?;
        Ok(match answer {
            Answer::Stored(first) => Commit::Done(first),
            Answer::Refused => Commit::Refused,
            Answer::Undecided | Answer::Silent => Commit::Unknown,
        })
    }

    fn place(&self, subject: &FlowSubject) -> String {
        self.broker().names().flow_subject(self.pool(), &self.queue, subject)
    }
}

/// Messages that are written at once.
struct Batch<'a> {
    flow: &'a Flow,
    messages: Vec<Outgoing>,
    /// One of them has the condition that the queue is still the owner's.
    owned: bool,
    epoch: u64,
}

impl Batch<'_> {
    fn let_through(&mut self, one: &LetThrough<'_>) {
        let mut places = 0;
        let mut next = || {
            places += 1;
            Slot::AfterWork(places)
        };
        let taken = one.takes_key.map(|key| KeySlot { token: key.token(), slot: next(), kept: one.kept });
        let slots = Slots {
            key: taken.or_else(|| one.has_key.clone().map(|key| KeySlot { kept: one.kept, ..key })),
            turn: one.takes_turn.then(next),
        };
        let job = Job { slots: Some(slots), held_since: None, ..one.job.clone() };
        let mut headers = self.of_job(one.address, one.token, one.trace);
        if one.leaves.is_some() {
            purge(&mut headers, self.record(one.address, RecordKind::Held));
        }
        self.push(self.record(one.address, RecordKind::Ready), headers, job.encode());
        let wait = |line: &Line| FlowSubject::Wait(line.clone(), one.address.priority, one.address.job_id);
        let since = job.due_at;
        if let Some(key) = one.takes_key {
            let leaves = one.leaves.as_ref().filter(|line| matches!(line, Line::Key(_))).map(wait);
            let slot = FlowSubject::Slot(Some(key.token()), one.address.job_id);
            self.entry(&slot, leaves.as_ref(), slot_taken(Some(key), since));
        }
        if one.takes_turn {
            let leaves = one.leaves.as_ref().filter(|line| matches!(line, Line::Turn(_))).map(wait);
            self.entry(
                &FlowSubject::Slot(None, one.address.job_id),
                leaves.as_ref(),
                slot_taken(None, since),
            );
        }
    }

    fn park(&mut self, one: &Park<'_>) {
        let mut headers = self.of_job(one.address, one.token, one.trace);
        headers.insert(header::SCHEDULE, NEVER);
        headers.insert(header::SCHEDULE_TARGET, self.record(one.address, RecordKind::Due));
        let job = Job { held_since: one.job.held_since.or(Some(one.since)), ..one.job.clone() };
        self.push(self.record(one.address, RecordKind::Held), headers, job.encode());
        let taken = one.takes_key.map(|key| KeySlot {
            token: key.token(),
            slot: Slot::AfterWork(1),
            kept: Kept::Never,
        });
        let waiting = Waiting {
            held_sequence: None,
            key: one.job.task.key.clone(),
            tenant: one.job.task.tenant.clone(),
            since: one.since,
            key_slot: taken.or_else(|| one.has_key.clone()),
            points: one.job.task.points,
            kind: one.job.task.kind.clone(),
        };
        let wait = FlowSubject::Wait(one.line.clone(), one.address.priority, one.address.job_id);
        self.entry(&wait, None, waiting.encode());
        if let Some(key) = one.takes_key {
            let slot = FlowSubject::Slot(Some(key.token()), one.address.job_id);
            self.entry(&slot, None, slot_taken(Some(key), one.since));
        }
        if let (true, Line::Turn(tenant)) = (one.new_lane, &one.line) {
            self.lane(one.address, tenant);
        }
    }

    fn promote(&mut self, one: &Promote<'_>) {
        let waiting = Waiting {
            held_sequence: Some(one.token),
            key: Some(one.key.clone()),
            tenant: one.tenant.cloned(),
            since: one.since,
            key_slot: Some(KeySlot { token: one.key.token(), slot: Slot::AfterWork(1), kept: Kept::Never }),
            points: one.points,
            kind: one.kind.clone(),
        };
        let job_id = one.address.job_id;
        let line = Line::Turn(one.lane.to_owned());
        // The job's own condition stands on the place in line, the owner's on whatever comes first.
        let turn = self.flow.place(&FlowSubject::Wait(line, one.address.priority, job_id));
        let mut headers = self.of_job(one.address, one.token, None);
        timer(&mut headers, self.fired(&FlowSubject::Notice(None, job_id)));
        self.push(turn, headers, waiting.encode());
        let token = one.key.token();
        let leaves = FlowSubject::Wait(Line::Key(token.clone()), one.address.priority, job_id);
        let slot = FlowSubject::Slot(Some(token), job_id);
        self.entry(&slot, Some(&leaves), slot_taken(Some(one.key), one.since));
        if one.new_lane {
            self.lane(one.address, one.lane);
        }
    }

    fn give_back(&mut self, one: &Return<'_>) {
        let mut headers = self.of_job(one.address, one.token, one.trace);
        purge(&mut headers, self.record(one.address, RecordKind::Held));
        self.push(self.record(one.address, RecordKind::Due), headers, one.job.encode());
        if let Some(line) = &one.leaves {
            let mut headers = HeaderMap::new();
            let place = FlowSubject::Wait(line.clone(), one.address.priority, one.address.job_id);
            purge(&mut headers, self.flow.place(&place));
            self.push(self.fired(&FlowSubject::Notice(None, one.address.job_id)), headers, Bytes::new());
        }
    }

    fn keep(&mut self, one: &Keep<'_>) -> Result<(), Error> {
        let subject = FlowSubject::Meter(one.key.map(str::to_owned));
        let malformed = |e: serde_json::Error| Error::Malformed {
            subject: self.flow.place(&subject),
            reason: e.to_string(),
        };
        let body = serde_json::to_vec(one.state).map_err(malformed)?;
        self.entry(&subject, None, body.into());
        if let Some(message) = self.messages.last_mut() {
            message.headers.insert(header::TTL, one.matters.as_secs().max(1).to_string());
        }
        Ok(())
    }

    fn lane(&mut self, address: &Address, tenant: &str) {
        self.entry(&FlowSubject::Lane(address.priority, tenant.to_owned()), None, Bytes::new());
    }

    /// A message beside the job's; what it takes the place of goes in the same write.
    fn entry(&mut self, subject: &FlowSubject, leaves: Option<&FlowSubject>, body: Bytes) {
        let mut headers = HeaderMap::new();
        let job_id = match subject {
            FlowSubject::Wait(_, _, id) | FlowSubject::Slot(_, id) | FlowSubject::Notice(_, id) => *id,
            FlowSubject::Lane(..) | FlowSubject::Meter(_) => windlass_core::JobId::nil(),
        };
        timer(&mut headers, self.fired(&FlowSubject::Notice(None, job_id)));
        if let Some(leaves) = leaves {
            purge(&mut headers, self.flow.place(leaves));
        }
        if !self.owned {
            let owner = self.flow.broker().names().flow_owner(self.flow.pool(), &self.flow.queue);
            headers.insert(header::EXPECTED_SEQUENCE, self.epoch.to_string());
            headers.insert(header::EXPECTED_SUBJECT, owner);
            self.owned = true;
        }
        self.push(self.flow.place(subject), headers, body);
    }

    fn of_job(&self, address: &Address, token: u64, trace: Option<TraceParent>) -> HeaderMap {
        let names = self.flow.broker().names();
        let mut headers = HeaderMap::new();
        headers.insert(header::EXPECTED_SEQUENCE, token.to_string());
        let filter = names.job_filter(self.flow.pool(), &address.queue, address.job_id);
        headers.insert(header::EXPECTED_SUBJECT, filter);
        trace::to_headers(&mut headers, trace);
        headers
    }

    fn record(&self, address: &Address, record: RecordKind) -> String {
        self.flow.jobs.subject(address, record)
    }

    fn fired(&self, notice: &FlowSubject) -> String {
        self.flow.place(notice)
    }

    fn push(&mut self, subject: String, headers: HeaderMap, body: Bytes) {
        self.messages.push(Outgoing { subject, headers, body });
    }
}

fn timer(headers: &mut HeaderMap, target: String) {
    headers.insert(header::SCHEDULE, NEVER);
    headers.insert(header::SCHEDULE_TARGET, target);
}

fn purge(headers: &mut HeaderMap, timer: String) {
    headers.insert(header::SCHEDULER, timer);
    headers.insert(header::SCHEDULE_NEXT, "purge");
}
