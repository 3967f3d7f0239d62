//! One broker operation, with the state that it leads to.

use std::fmt;

use crate::state::{Holder, State};

/// What somebody does, and what the broker answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) actor: Actor,
    pub(crate) does: &'static str,
    /// The message or token that it names.
    pub(crate) sequence: Option<u64>,
    /// Empty where nothing is asked.
    pub(crate) answer: &'static str,
}

/// Who.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Actor {
    Publisher,
    Broker,
    Clock,
    Reconciler,
    Dispatcher { overdue: bool },
    Worker { work: u64, count: u8 },
    DueDispatcher { work: u64, count: u8 },
    Canceller,
    Releaser,
}

/// A step and where it leads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Move {
    pub(crate) step: Step,
    pub(crate) next: State,
}

/// Collects the moves out of one state.
pub(crate) struct Moves<'a> {
    pub(crate) from: &'a State,
    pub(crate) out: &'a mut Vec<Move>,
}

// === impl Moves ===

impl Moves<'_> {
    /// A move that changes nothing is none.
    pub(crate) fn add(&mut self, step: Step, mut next: State) {
        next.normalize();
        if next != *self.from {
            self.out.push(Move { step, next });
        }
    }
}

// === impl Step ===

impl Step {
    pub(crate) const fn new(actor: Actor, does: &'static str) -> Self {
        Self { actor, does, sequence: None, answer: "" }
    }

    pub(crate) const fn of(self, sequence: u64) -> Self {
        Self { sequence: Some(sequence), ..self }
    }

    pub(crate) const fn answered(self, answer: &'static str) -> Self {
        Self { answer, ..self }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.actor, self.does)?;
        if let Some(sequence) = self.sequence {
            write!(f, " {sequence}")?;
        }
        if self.answer.is_empty() { Ok(()) } else { write!(f, ": {}", self.answer) }
    }
}

// === impl Actor ===

impl Actor {
    pub(crate) const fn holder(holder: &Holder) -> Self {
        let (work, count) = (holder.work, holder.count);
        if holder.due { Self::DueDispatcher { work, count } } else { Self::Worker { work, count } }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publisher => f.write_str("the publisher"),
            Self::Broker => f.write_str("the broker"),
            Self::Clock => f.write_str("the clock"),
            Self::Reconciler => f.write_str("the reconciler"),
            Self::Dispatcher { overdue: false } => f.write_str("the dispatcher"),
            Self::Dispatcher { overdue: true } => f.write_str("the overdue dispatcher"),
            Self::Worker { work, count } => write!(f, "the worker with message {work}, delivery {count},"),
            Self::DueDispatcher { work, count } => {
                write!(f, "the dispatcher with message {work}, delivery {count},")
            }
            Self::Canceller => f.write_str("the canceller"),
            Self::Releaser => f.write_str("the releaser"),
        }
    }
}
