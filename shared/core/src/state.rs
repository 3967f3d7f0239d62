//! The one vocabulary of states, transitions and records.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a job stands, in the words that proto, Rust, SQL, JSON and the pages share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its first attempt's instant.
    Scheduled,
    /// Waits for somebody's leave.
    Held,
    /// Waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Has run, and waits for the instant of its next attempt: it failed, or snoozed.
    Retrying,
    /// Ended well.
    Succeeded,
    /// Failed for good.
    Dead,
    /// Ended by an operator.
    Cancelled,
    /// Waited longer than it may.
    Expired,
}

/// What the third token of a subject in JOBS says of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// A timer of the broker: fires as `ready` or `due`.
    Later,
    /// A timer set far away, until somebody releases it.
    Held,
    /// For the dispatcher, which lets it through.
    Due,
    /// For a worker.
    Ready,
    /// The token of a redelivered job.
    Claim,
    /// The end.
    Done,
}

/// What happened to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transition {
    /// The dispatcher made the job.
    Accepted,
    /// An operator let it run at once.
    Released,
    /// An attempt began.
    Started,
    /// Its worker was lost.
    Crashed,
    /// Its worker gave it back.
    HandedBack,
    /// An attempt failed and another will follow.
    Retried,
    /// An attempt asked to run again later.
    Snoozed,
    /// Ended well.
    Succeeded,
    /// Failed for good.
    Dead,
    /// Ended by an operator.
    Cancelled,
    /// Waited longer than it may.
    Expired,
    /// Somebody without a valid token tried to move it; its state is unchanged.
    Refused,
    /// A message that is no valid task.
    Rejected,
    /// An operator had another job made of its dead letter; its own state is unchanged.
    Redriven,
    /// An operator removed its dead letter; its state is unchanged.
    Discarded,
    /// It waits for a limit, its turn, or the end of a pause.
    Held,
    /// What it was held for has come.
    Queued,
}

/// The text is none of the words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: expected one of {expected}")]
pub struct UnknownWord {
    what: &'static str,
    expected: String,
    text: String,
}

macro_rules! words {
    ($name:ident, $what:literal, $($variant:ident => $word:literal),+ $(,)?) => {
        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text).ok_or_else(|| UnknownWord {
                    what: $what,
                    expected: Self::ALL.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(", "),
                    text: text.chars().take(64).collect(),
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! { JobState, "job state",
    Scheduled => "scheduled", Held => "held", Queued => "queued", Running => "running", Retrying => "retrying",
    Succeeded => "succeeded", Dead => "dead", Cancelled => "cancelled", Expired => "expired",
}

words! { RecordKind, "record",
    Later => "later", Held => "held", Due => "due", Ready => "ready", Claim => "claim", Done => "done",
}

words! { Transition, "transition",
    Accepted => "accepted", Released => "released", Started => "started", Crashed => "crashed",
    HandedBack => "handed_back", Retried => "retried", Snoozed => "snoozed", Succeeded => "succeeded", Dead => "dead",
    Cancelled => "cancelled", Expired => "expired", Refused => "refused", Rejected => "rejected", Redriven => "redriven",
    Discarded => "discarded", Held => "held", Queued => "queued",
}

impl Transition {
    /// Whether it leaves the job where it stands.
    pub const fn is_remark(self) -> bool {
        matches!(self, Self::Refused | Self::Redriven | Self::Discarded)
    }

    /// Whether it ends the job.
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Succeeded | Self::Dead | Self::Cancelled | Self::Expired)
    }
}

impl JobState {
    /// The transition into it, if it is terminal.
    pub const fn end(self) -> Option<Transition> {
        match self {
            Self::Succeeded => Some(Transition::Succeeded),
            Self::Dead => Some(Transition::Dead),
            Self::Cancelled => Some(Transition::Cancelled),
            Self::Expired => Some(Transition::Expired),
            Self::Scheduled | Self::Held | Self::Queued | Self::Running | Self::Retrying => None,
        }
    }

    /// Whether nothing follows it.
    pub const fn is_terminal(self) -> bool {
        self.end().is_some()
    }
}
