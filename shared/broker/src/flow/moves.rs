//! What an owner decides of jobs, written all or none.

mod batch;

use std::time::Duration;

use jiff::Timestamp;
use windlass_core::Kind;
use windlass_core::flow::{FlowKey, Kept, KeySlot, MeterState};
use windlass_core::protocol::Answer;
use windlass_core::trace::TraceParent;
use windlass_proto::Job;

use self::batch::Batch;
use super::{Flow, TIMEOUT};
use crate::connect::Error;
use crate::jobs::Address;
use crate::names::Line;
use crate::publish::{MOST_AT_ONCE, publish_all_if};

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
    /// Whether its `due` was not delivered yet, and is not to be.
    pub ahead: bool,
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
    /// Whether its `due` was not delivered yet, and is not to be.
    pub ahead: bool,
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
            Self::LetThrough(one) => {
                1 + self.before() + usize::from(one.takes_key.is_some()) + usize::from(one.takes_turn)
            }
            Self::Park(one) => {
                2 + self.before() + usize::from(one.takes_key.is_some()) + usize::from(one.new_lane)
            }
            Self::Promote(one) => 2 + usize::from(one.new_lane),
            Self::Return(one) => 1 + usize::from(one.leaves.is_some()),
            Self::Keep(_) => 1,
        }
    }

    /// How many of them come before that of the job itself.
    pub fn before(&self) -> usize {
        match self {
            Self::LetThrough(LetThrough { ahead, .. }) | Self::Park(Park { ahead, .. }) => {
                usize::from(*ahead)
            }
            Self::Promote(_) | Self::Return(_) | Self::Keep(_) => 0,
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
        let mut batch = Batch::new(self, epoch);
        for one in moves {
            batch.add(one)?;
        }
        let messages = batch.into_messages();
        if messages.is_empty() {
            return Ok(Commit::Done(0));
        }
        let answer = publish_all_if(self.broker(), messages, TIMEOUT).await?;
        Ok(match answer {
            Answer::Stored(first) => Commit::Done(first),
            Answer::Refused => Commit::Refused,
            Answer::Undecided | Answer::Silent => Commit::Unknown,
        })
    }
}
