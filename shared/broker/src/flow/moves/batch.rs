//! The messages of a write: what each decision is in the stream.

use async_nats::HeaderMap;
use bytes::Bytes;
use windlass_core::RecordKind;
use windlass_core::flow::{Kept, KeySlot, Slot, Slots};
use windlass_core::trace::TraceParent;
use windlass_proto::{Job, Waiting, slot_taken};

use super::{Keep, LetThrough, Move, Park, Promote, Return};
use crate::connect::Error;
use crate::flow::Flow;
use crate::jobs::Address;
use crate::names::{FlowSubject, Line};
use crate::publish::{Outgoing, header};
use crate::trace;

/// When a timer fires that is there only to be removed.
const NEVER: &str = "@at 2200-01-01T00:00:00Z";

/// Messages that are written at once.
pub(super) struct Batch<'a> {
    flow: &'a Flow,
    messages: Vec<Outgoing>,
    /// One of them has the condition that the queue is still the owner's.
    owned: bool,
    epoch: u64,
}

impl<'a> Batch<'a> {
    /// Of the owner of this epoch.
    pub(super) fn new(flow: &'a Flow, epoch: u64) -> Self {
        Self { flow, messages: Vec::new(), owned: false, epoch }
    }

    pub(super) fn add(&mut self, one: &Move<'_>) -> Result<(), Error> {
        match one {
            Move::LetThrough(one) => self.let_through(one),
            Move::Park(one) => self.park(one),
            Move::Promote(one) => self.promote(one),
            Move::Return(one) => self.give_back(one),
            Move::Keep(one) => self.keep(one)?,
        }
        Ok(())
    }

    /// In the order of storing.
    pub(super) fn into_messages(self) -> Vec<Outgoing> {
        self.messages
    }

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
        if one.ahead {
            self.withdraw(one.address, one.job, one.trace, &mut headers);
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
        if one.ahead {
            self.withdraw(one.address, one.job, one.trace, &mut headers);
        }
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
        let turn = self.place(&FlowSubject::Wait(line, one.address.priority, job_id));
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
            purge(&mut headers, self.place(&place));
            self.push(self.fired(&FlowSubject::Notice(None, one.address.job_id)), headers, Bytes::new());
        }
    }

    /// The job's `due` goes in the same write: a timer takes its place, as the broker purges nothing else, and the next
    /// message, of these headers, purges that. It says the same as the `due`: a broker that loses its power within the write
    /// may have stored no more than this.
    fn withdraw(&mut self, address: &Address, job: &Job, trace: Option<TraceParent>, next: &mut HeaderMap) {
        let due = self.record(address, RecordKind::Due);
        let mut headers = HeaderMap::new();
        timer(&mut headers, self.fired(&FlowSubject::Notice(None, address.job_id)));
        trace::to_headers(&mut headers, trace);
        self.push(due.clone(), headers, job.encode());
        purge(next, due);
    }

    fn keep(&mut self, one: &Keep<'_>) -> Result<(), Error> {
        let subject = FlowSubject::Meter(one.key.map(str::to_owned));
        let malformed =
            |e: serde_json::Error| Error::Malformed { subject: self.place(&subject), reason: e.to_string() };
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
            purge(&mut headers, self.place(leaves));
        }
        if !self.owned {
            let owner = self.flow.broker().names().flow_owner(self.flow.pool(), &self.flow.queue);
            headers.insert(header::EXPECTED_SEQUENCE, self.epoch.to_string());
            headers.insert(header::EXPECTED_SUBJECT, owner);
            self.owned = true;
        }
        self.push(self.place(subject), headers, body);
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

    fn place(&self, subject: &FlowSubject) -> String {
        self.flow.broker().names().flow_subject(self.flow.pool(), &self.flow.queue, subject)
    }

    fn record(&self, address: &Address, record: RecordKind) -> String {
        self.flow.jobs.subject(address, record)
    }

    fn fired(&self, notice: &FlowSubject) -> String {
        self.place(notice)
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
