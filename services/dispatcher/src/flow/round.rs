//! A round: what has come is decided together, and written together.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use windlass_broker::Broker;
use windlass_broker::delivery::{Delivered, Handle};
use windlass_broker::failpoint::{Point, hit};
use windlass_broker::flow::{Commit, Notice};
use windlass_broker::jobs::{Address, Seen};
use windlass_broker::names::FlowSubject;
use windlass_core::flow::Follows;
use windlass_core::protocol::Kind;
use windlass_core::trace::TraceParent;
use windlass_core::{JobId, RecordKind};
use windlass_proto::{Error as Unfit, Job, RecordBody};

use super::Failure;
use super::at_limit;
use super::decide::Deciding;
use super::decision::Decision;
use super::leave::{forsake, leave};
use super::owner::Owner;
use super::state::{Kept, Wake};
use super::sweep;

/// Of jobs that are read at one time.
const READS: usize = 32;
/// Of one write.
const MOST_BYTES: usize = 4 << 20;

/// What has come for the owner.
pub(super) enum Input {
    /// A job that is due.
    Arrival(Box<Arrived>),
    /// A slot was given back. Without a handle it was read ahead of its delivery.
    Notice(Notice, Option<Handle>),
}

/// A job that is due.
pub(super) struct Arrived {
    pub(super) address: Address,
    /// The sequence of its `due`.
    pub(super) token: u64,
    pub(super) job: Job,
    pub(super) trace: Option<TraceParent>,
    /// None where it has come ahead of its delivery.
    pub(super) handle: Option<Handle>,
    /// It may not be what the job stands at: a timer fired it, or it was delivered before, or decided on ahead.
    pub(super) doubtful: bool,
}

/// One round.
pub(super) struct Round<'a> {
    owner: &'a mut Owner,
}

// === impl Input ===

impl Input {
    /// Whether it has come ahead of its delivery.
    pub(super) fn is_ahead(&self) -> bool {
        match self {
            Self::Arrival(arrived) => arrived.handle.is_none(),
            Self::Notice(_, handle) => handle.is_none(),
        }
    }

    /// Reads what was delivered.
    #[allow(clippy::result_large_err, reason = "once a message at most, and never kept")]
    pub(super) fn read(broker: &Broker, delivered: Delivered) -> Result<Self, (Delivered, Unfit)> {
        let names = broker.names();
        if let Some(FlowSubject::Notice(key, job_id)) = names.parse_flow_subject(&delivered.subject) {
            let (sequence, handle) = (delivered.sequence, delivered.handle().clone());
            return match windlass_proto::held_until(delivered.body.clone()) {
                Ok(held_until) => {
                    Ok(Self::Notice(Notice { key, job_id, sequence, held_until }, Some(handle)))
                }
                Err(unfit) => Err((delivered, unfit)),
            };
        }
        let subject = names.parse_job_subject(&delivered.subject).filter(|s| s.record == RecordKind::Due);
        let Some(subject) = subject else {
            return Err((delivered, Unfit::new("subject", "is no due job's")));
        };
        match Job::decode(delivered.body.clone()) {
            Ok(job) => Ok(Self::Arrival(Box::new(Arrived {
                address: Address { queue: subject.queue, priority: subject.priority, job_id: subject.job_id },
                token: delivered.sequence,
                job,
                trace: delivered.trace(),
                doubtful: delivered.delivery().fired || delivered.count > 1 || delivered.suspect,
                handle: Some(delivered.handle().clone()),
            }))),
            Err(unfit) => Err((delivered, unfit)),
        }
    }
}

// === impl Arrived ===

impl Arrived {
    /// A job that was read ahead of its delivery; none if it is not due.
    pub(super) fn ahead(seen: Seen) -> Option<Self> {
        let last = seen.last.filter(|last| last.record.kind == Kind::Due && !seen.view.done)?;
        let RecordBody::Job(job) = last.body else { return None };
        Some(Self {
            address: last.address,
            token: last.record.sequence,
            job,
            trace: last.trace,
            handle: None,
            doubtful: false,
        })
    }
}

// === impl Round ===

impl<'a> Round<'a> {
    /// Decides what can be decided, and writes it. What has come is acknowledged once its outcome is stored.
    pub(super) async fn run(owner: &'a mut Owner, inputs: Vec<Input>) -> Result<(), Failure> {
        let mut round = Self { owner };
        let (mut arrivals, mut look, mut notices) = (Vec::new(), BTreeSet::new(), Vec::new());
        // Of two writes in one batch, the second is not held to what it expects of the first.
        let mut tokens = HashSet::new();
        for input in inputs {
            match input {
                Input::Arrival(arrived) if !tokens.insert(arrived.token) => {}
                Input::Arrival(arrived) => arrivals.push(*arrived),
                Input::Notice(Notice { key, job_id, sequence, held_until }, handle) => {
                    match held_until {
                        Some(until) => round.hold(key.as_deref(), until).await?,
                        None => round.given_back(key.as_deref(), job_id, sequence),
                    }
                    look.extend(key);
                    notices.extend(handle);
                }
            }
        }
        let mut arrivals = round.certain(arrivals).await?;
        round.wake(&mut look);
        let returned = sweep::step(round.owner, &mut look).await?;
        round.write(returned).await?;
        loop {
            let mut deciding = Deciding::new(round.owner);
            deciding.look_at(std::mem::take(&mut look)).await?;
            deciding.arrive(std::mem::take(&mut arrivals)).await?;
            deciding.take_turns().await?;
            let decided = deciding.end();
            look.extend(decided.unfinished);
            for one in &decided.ended {
                at_limit::end(round.owner, one).await?;
            }
            let any = round.write(decided.decisions).await?;
            // Whoever is to go on in their place waits by now, and is told.
            for job_id in decided.cancelled {
                at_limit::cancel(round.owner, job_id).await;
            }
            if !any {
                break;
            }
        }
        for handle in notices {
            // One that is lost is delivered again, and says nothing new.
            let _ = handle.ack().await;
        }
        Ok(())
    }

    /// Nothing of a key, or of the queue, starts before this.
    async fn hold(&mut self, key: Option<&str>, until: Timestamp) -> Result<(), Failure> {
        let now = self.owner.shared.broker.now();
        let until = until.min(now.saturating_add(LONGEST_HOLD).unwrap_or(Timestamp::MAX));
        let (flow, settings, state) = (&self.owner.flow, &self.owner.settings, &mut self.owner.state);
        if let Some(token) = key {
            state.key(flow, settings, token, now).await?.pace.hold(until, now);
            state.wake(until, Wake::Key(token.to_owned()));
        } else {
            state.pace.hold(until, now);
            state.wake(until, Wake::Turns);
        }
        Ok(())
    }

    /// Looks at what has waited for its time.
    fn wake(&mut self, look: &mut BTreeSet<String>) {
        let (now, settings) = (self.owner.shared.broker.now(), Arc::clone(&self.owner.settings));
        for woken in self.owner.state.woken(now) {
            match woken {
                Wake::Key(token) => {
                    look.insert(token);
                }
                Wake::Lane(lane) => self.owner.state.arrives(&settings, &lane),
                // They are looked at in each round.
                Wake::Turns => {}
            }
        }
    }

    fn given_back(&mut self, key: Option<&str>, job_id: JobId, sequence: u64) {
        let state = &mut self.owner.state;
        match key {
            Some(key) => {
                if let Some(key) = state.keys.get_mut(key) {
                    key.holders.given_back(job_id, sequence);
                }
            }
            None => {
                state.turn.given_back(job_id, sequence);
            }
        }
    }

    /// Those that are what their jobs stand at. Of the others there is nothing to decide any more.
    async fn certain(&self, arrivals: Vec<Arrived>) -> Result<Vec<Arrived>, Failure> {
        let jobs = self.owner.flow.jobs();
        let looked_at = stream::iter(arrivals.into_iter().map(async |arrived: Arrived| {
            if !arrived.doubtful {
                return Ok(Some(arrived));
            }
            let address = &arrived.address;
            let seen = jobs.read(&address.queue, address.job_id).await?;
            let is_last = seen.view.last.is_some_and(|last| last.sequence == arrived.token);
            if is_last && !seen.view.done {
                return Ok(Some(arrived));
            }
            if self.moved(&seen, &arrived.job, arrived.token).await
                && let Some(handle) = &arrived.handle
            {
                let _ = handle.ack().await;
            }
            Ok::<_, Failure>(None)
        }));
        let certain: Vec<_> = looked_at.buffered(READS).try_collect().await?;
        Ok(certain.into_iter().flatten().collect())
    }

    /// A due job that has moved on: true once it holds nothing that nobody gives back.
    async fn moved(&self, seen: &Seen, job: &Job, token: u64) -> bool {
        let (Some(done), Some(slots)) = (&seen.done, &job.slots) else { return true };
        let Some(last) = &seen.last else { return true };
        let (queue, job_id) = (&last.address.queue, last.address.job_id);
        let follows = Follows::End(done.state);
        let jobs = self.owner.flow.jobs();
        windlass_broker::flow::free(jobs, queue, job_id, slots, token, follows, super::CALL_TIMEOUT)
            .await
            .is_ok()
    }

    /// Writes decisions, and what went by them under a rate; makes known what has come of them. False if there were
    /// none.
    async fn write(&mut self, decisions: Vec<Decision>) -> Result<bool, Failure> {
        let any = !decisions.is_empty();
        let mut rest = decisions.into_iter().peekable();
        // First, and with the first: what is let go and not remembered would be let go again.
        let kept = self.owner.state.kept(self.owner.shared.broker.now());
        for some in kept.chunks(MOST_KEPT) {
            let moves: Vec<_> = some.iter().map(Kept::as_move).collect();
            match self.owner.flow.commit(self.owner.epoch, &moves).await? {
                Commit::Done(_) => {}
                Commit::Refused => return Err(Failure::Lost),
                Commit::Unknown => return Err(Failure::Unknown),
            }
        }
        while rest.peek().is_some() {
            let (mut some, mut messages, mut bytes) = (Vec::new(), 0, 0);
            while let Some(next) = rest.peek_mut() {
                // One that found no room in the write before has done so.
                if !next.new_lane {
                    next.mark(&mut self.owner.state);
                }
                messages += next.as_move().messages();
                bytes += next.bytes();
                let fits = messages <= windlass_broker::flow::Flow::MOST_MESSAGES && bytes <= MOST_BYTES;
                if !fits && !some.is_empty() {
                    break;
                }
                some.extend(rest.next());
            }
            let moves: Vec<_> = some.iter().map(Decision::as_move).collect();
            match self.owner.flow.commit(self.owner.epoch, &moves).await? {
                Commit::Done(first) => {
                    drop(moves);
                    hit(Point::FlowCommitted).await;
                    self.done(some, first);
                }
                Commit::Unknown => return Err(Failure::Unknown),
                Commit::Refused => {
                    drop(moves);
                    for one in &some {
                        one.unmark(&mut self.owner.state);
                    }
                    for mut one in some {
                        one.mark(&mut self.owner.state);
                        self.write_alone(one).await?;
                    }
                }
            }
        }
        Ok(any)
    }

    /// One of several that were refused together: its job may have moved.
    async fn write_alone(&mut self, one: Decision) -> Result<(), Failure> {
        match self.owner.flow.commit(self.owner.epoch, &[one.as_move()]).await? {
            Commit::Done(first) => {
                self.done(vec![one], first);
                return Ok(());
            }
            Commit::Unknown => return Err(Failure::Unknown),
            Commit::Refused => {}
        }
        let jobs = self.owner.flow.jobs();
        let seen = jobs.read(&one.address.queue, one.address.job_id).await?;
        if seen.view.last.is_some_and(|last| last.sequence == one.token) && !seen.view.done {
            // The job stands where it stood, so it was the other condition.
            return Err(Failure::Lost);
        }
        one.forget(&mut self.owner.state);
        match (&one.handle, &one.job, &one.place) {
            (Some(handle), Some(job), _) => {
                let is_free = self.moved(&seen, job, one.token).await;
                if is_free {
                    let _ = handle.ack().await;
                }
            }
            (_, _, Some(place)) => forsake(self.owner, place).await?,
            _ => {}
        }
        if let (Some(last), Some(done)) = (&seen.last, &seen.done) {
            leave(jobs, last, Follows::End(done.state)).await;
        }
        Ok(())
    }

    fn done(&mut self, decisions: Vec<Decision>, first: u64) {
        let owner = &mut *self.owner;
        let now = owner.shared.broker.now();
        let (mut sequence, mut events, mut handles) = (first, Vec::new(), Vec::new());
        for one in decisions {
            let messages = one.as_move().messages() as u64;
            one.in_force(&owner.settings, &mut owner.state, sequence);
            sequence += messages;
            events.extend(one.event(now));
            handles.extend(one.handle);
        }
        let shared = std::sync::Arc::clone(&owner.shared);
        // Not waited for: what is delivered again because its event was not stored is found to have moved.
        tokio::spawn(async move {
            if events.is_empty() || shared.events.record_all(events).await.is_ok() {
                hit(Point::FlowSaid).await;
                for handle in handles {
                    let _ = handle.ack().await;
                }
            }
        });
    }
}

/// The longest time for which a handler may hold others.
const LONGEST_HOLD: Duration = Duration::from_hours(25);
/// Of rates, written at once.
const MOST_KEPT: usize = 500;
