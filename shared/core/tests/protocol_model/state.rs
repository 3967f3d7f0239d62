//! What the model's world holds: the streams, and who is in the middle of what.

use std::fmt;

use jiff::Timestamp;
use windlass_core::protocol::{Delivery, Kind, Record};
use windlass_core::{Attempt, Outcome};

/// One job's world. Every list is kept sorted, so that who came first makes no other state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// What the dispatcher makes of the task.
    pub(crate) creates: Kind,
    /// Copies of the task in TASKS that nobody has taken.
    pub(crate) tasks: u8,
    pub(crate) dispatchers: Vec<Dispatcher>,
    /// Live messages of the job in JOBS, by sequence.
    pub(crate) jobs: Vec<Message>,
    /// The next sequence.
    pub(crate) next: u64,
    /// Who was given a work message: workers a `ready`, dispatchers a `due`.
    pub(crate) holders: Vec<Holder>,
    pub(crate) commands: Vec<Command>,
    /// A conditional write whose effect comes later or never.
    pub(crate) floating: Option<Floating>,
    pub(crate) faults: u8,
    pub(crate) seen: Seen,
}

/// What no single state shows, kept for the properties.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Seen {
    /// Ends that were written.
    pub(crate) ends: u8,
    /// Attempts that started, less those that the policy asked for.
    pub(crate) starts: u8,
    /// Checkpoints that a handler wanted saved: they count against the bound, and excuse nothing.
    pub(crate) saves: u8,
    /// Times that a holder was lost: crash, lease, forgetting, expiry of a claim, a deadline.
    pub(crate) losses: u8,
    /// A worker crashed while it ran under a valid token.
    pub(crate) crashed: bool,
    /// A fault that may hide a crash: the broker forgot, a claim expired early, a timer fired twice.
    pub(crate) excused: bool,
    /// The broker forgot a delivery and nobody noticed that it had been away.
    pub(crate) forgot_unnoticed: bool,
    /// A timer fired after the end.
    pub(crate) fired_late: bool,
    /// An attempt started after a cancel was carried out and acknowledged.
    pub(crate) started_late: bool,
    /// A cancel was carried out and acknowledged.
    pub(crate) cancelled: bool,
}

/// A live message of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Message {
    pub(crate) record: Record,
    /// A timer published it.
    pub(crate) fired: bool,
    /// Deliveries, as the broker knows them; 3 is three or more.
    pub(crate) count: u8,
    /// The broker was away since, and the workers saw it.
    pub(crate) suspect: bool,
    pub(crate) history: History,
    /// A claim that hands back.
    pub(crate) handed_back: bool,
    /// Of a `done`.
    pub(crate) end: Option<End>,
    /// 0 where nobody will ask.
    pub(crate) nonce: u8,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum End {
    Succeeded,
    Dead,
    Cancelled,
}

/// The attempts that travel with a job, by outcome: their order decides nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct History {
    pub(crate) failed: u8,
    pub(crate) crashed: u8,
    pub(crate) handed_back: u8,
}

/// A dispatcher that was given the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Dispatcher {
    /// It has held the task for longer than `ack_wait`.
    pub(crate) overdue: bool,
    pub(crate) phase: Phase,
}

/// Somebody who was given a work message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Holder {
    pub(crate) work: u64,
    pub(crate) count: u8,
    pub(crate) fired: bool,
    pub(crate) suspect: bool,
    /// A dispatcher with a `due`.
    pub(crate) due: bool,
    /// The broker thinks so too.
    pub(crate) leased: bool,
    /// It knows that its lease may have ended: `ack_wait` has passed, or the connection was lost.
    pub(crate) overdue: bool,
    pub(crate) token: u64,
    /// The claim that it wrote; 0 for none.
    pub(crate) claim: u64,
    pub(crate) history: History,
    pub(crate) phase: Phase,
}

/// A durable command of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Command {
    pub(crate) release: bool,
    /// What to delete once its write is in force; 0 for nothing.
    pub(crate) then_delete: u64,
    pub(crate) phase: Phase,
}

/// The next broker operation of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Is given to somebody (a command).
    Waiting,
    /// Reads the job, one record after the other.
    Read { why: Why, last: Option<LastRead>, done: Option<bool> },
    /// Publishes; `silent` if a try had no certain answer.
    Write { write: Write, silent: bool },
    /// Reads the last message to compare its nonce.
    Compare(Write),
    /// The handler runs.
    Running,
    /// Asks for the message to be delivered again.
    Nak,
    /// Deletes this message.
    Delete(u64),
    /// Looks for work that is left of an ended job.
    Tidy,
    /// Acknowledges what led here.
    Acknowledge,
}

/// Why somebody reads a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Why {
    /// The check of what was fired, by the two sequences alone; [`Why::Check`] follows where they do not say that it runs.
    Glance,
    Check,
    Claim,
    Refused,
    Command,
}

/// What a read of the last message gave: none, if the job has no message.
pub(crate) type LastRead = Option<Last>;

/// The last message as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Last {
    pub(crate) record: Record,
    pub(crate) history: History,
    pub(crate) handed_back: bool,
}

/// A conditional publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Write {
    pub(crate) token: u64,
    pub(crate) kind: Kind,
    pub(crate) history: History,
    pub(crate) handed_back: bool,
    pub(crate) end: Option<End>,
    /// Purges the timer in the same write.
    pub(crate) purge: bool,
    pub(crate) nonce: u8,
}

/// A conditional write on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Floating {
    pub(crate) write: Write,
    /// The leader has proposed it: its condition held, and no other write is decided before it. Else it is still
    /// between its writer and the leader.
    pub(crate) proposed: bool,
}

// === impl State ===

impl State {
    /// A task was published, and perhaps made into a job.
    pub(crate) fn new(creates: Kind, is_job: bool) -> Self {
        let first = Message {
            record: Record { sequence: 1, kind: creates },
            fired: false,
            count: 0,
            suspect: false,
            history: History::default(),
            handed_back: false,
            end: None,
            nonce: 0,
        };
        Self {
            creates,
            tasks: u8::from(!is_job),
            dispatchers: Vec::new(),
            jobs: if is_job { vec![first] } else { Vec::new() },
            next: if is_job { 2 } else { 1 },
            holders: Vec::new(),
            commands: Vec::new(),
            floating: None,
            faults: 0,
            seen: Seen::default(),
        }
    }

    pub(crate) fn last(&self) -> Option<&Message> {
        self.jobs.last()
    }

    pub(crate) fn last_sequence(&self) -> u64 {
        self.last().map_or(0, |m| m.record.sequence)
    }

    pub(crate) fn done(&self) -> Option<&Message> {
        self.jobs.iter().find(|m| m.record.kind == Kind::Done)
    }

    /// A nonce that no live write has.
    pub(crate) fn fresh_nonce(&self) -> u8 {
        let phases = (self.holders.iter().map(|h| &h.phase))
            .chain(self.commands.iter().map(|c| &c.phase))
            .chain(self.dispatchers.iter().map(|d| &d.phase));
        let used = phases.filter_map(|phase| match phase {
            Phase::Write { write, .. } | Phase::Compare(write) => Some(write.nonce),
            _ => None,
        });
        let stored = self.jobs.iter().map(|m| m.nonce).chain(self.floating.map(|f| f.write.nonce));
        used.chain(stored).max().unwrap_or(0) + 1
    }

    /// Who runs under the token that is valid now.
    pub(crate) fn valid_holders(&self) -> usize {
        self.holders.iter().filter(|h| h.runs() && h.token == self.last_sequence()).count()
    }

    pub(crate) fn is_proposing(&self) -> bool {
        self.floating.is_some_and(|f| f.proposed)
    }

    /// Nothing is left to do, and nobody is in the middle of anything.
    pub(crate) fn is_idle(&self) -> bool {
        self.tasks == 0
            && self.dispatchers.is_empty()
            && self.holders.is_empty()
            && self.commands.is_empty()
            && self.floating.is_none()
            && !self.jobs.iter().any(Message::is_work)
    }

    /// Nothing is left to do, and the job has its one end.
    pub(crate) fn is_good_end(&self) -> bool {
        self.is_idle() && self.seen.ends == 1
    }

    pub(crate) fn remove(&mut self, sequence: u64) {
        self.jobs.retain(|m| m.record.sequence != sequence);
    }

    /// Makes states that differ in nothing that matters one.
    pub(crate) fn normalize(&mut self) {
        // A claim records one loss, however many came before it: more than a few ahead tell nothing, and a write that
        // stays undecided would add to them for ever.
        let recorded = self.jobs.iter().map(|m| m.history).chain(self.holders.iter().map(|h| h.history));
        self.seen.losses = self.seen.losses.min(recorded.map(|h| h.crashed).max().unwrap_or(0) + 3);
        self.dispatchers.sort_unstable();
        self.holders.sort_unstable();
        self.commands.sort_unstable();
    }
}

// === impl Message ===

impl Message {
    /// Somebody has something to do because of it.
    pub(crate) fn is_work(&self) -> bool {
        !matches!(self.record.kind, Kind::Claim { .. } | Kind::Done)
    }
}

// === impl Holder ===

impl Holder {
    pub(crate) fn delivery(&self) -> Delivery {
        Delivery { count: self.count.into(), fired: self.fired, suspect: self.suspect }
    }

    /// A worker whose handler runs, or has run and is being settled.
    pub(crate) fn runs(&self) -> bool {
        let settles = |w: &Write| !matches!(w.kind, Kind::Claim { .. }) || w.handed_back;
        !self.due
            && match &self.phase {
                Phase::Running => true,
                Phase::Write { write, .. } | Phase::Compare(write) => settles(write),
                _ => false,
            }
    }
}

// === impl History ===

impl History {
    /// The same as the attempts that the real records carry.
    pub(crate) fn attempts(self) -> Vec<Attempt> {
        [
            (self.failed, Outcome::Failed),
            (self.crashed, Outcome::Crashed),
            (self.handed_back, Outcome::HandedBack),
        ]
        .into_iter()
        .flat_map(|(n, outcome)| (0..n).map(move |_| outcome))
        .zip(1..)
        .map(|(outcome, number)| Attempt {
            number,
            worker: String::new(),
            started_at: None,
            ended_at: Timestamp::UNIX_EPOCH,
            outcome,
            error: None,
            alone: false,
            failure: 0,
        })
        .collect()
    }

    pub(crate) fn with(mut self, outcome: Outcome) -> Self {
        match outcome {
            Outcome::Failed | Outcome::TimedOut => self.failed += 1,
            Outcome::Crashed => self.crashed += 1,
            Outcome::HandedBack => self.handed_back += 1,
            Outcome::Succeeded | Outcome::Cancelled | Outcome::Snoozed | Outcome::Unknown(_) => {}
        }
        self
    }
}

// === impl Phase ===

impl Phase {
    pub(crate) const fn read(why: Why) -> Self {
        Self::Read { why, last: None, done: None }
    }

    pub(crate) const fn write(write: Write) -> Self {
        Self::Write { write, silent: false }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.record.sequence, self.record.kind.record_kind())?;
        match self.record.kind {
            Kind::Claim { work } => write!(f, " of {work}")?,
            Kind::Done => write!(f, " ({})", self.end.map_or("?", End::word))?,
            _ if self.fired => f.write_str(" (fired)")?,
            _ => {}
        }
        if self.handed_back { f.write_str(" (hand-back)") } else { Ok(()) }
    }
}

impl End {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }
}
