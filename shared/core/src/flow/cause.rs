//! Why a job does not run.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{JobId, JobState, Kind, QueueName};

/// Why a job does not run: exactly one, with the holder or the time that it waits for.
///
/// As JSON, `cause` is the word and `detail` the rest:
///
/// ```
/// # use windlass_core::flow::Cause;
/// let json = r#"{"cause":"queue_rate","detail":{"until":"2026-11-23T08:00:00Z","ahead":3}}"#;
/// let cause: Cause = serde_json::from_str(json)?;
/// assert_eq!((cause.word(), serde_json::to_string(&cause)?.as_str()), ("queue_rate", json));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", content = "detail", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// Its time has not come yet.
    NotDue {
        /// When it comes.
        until: Timestamp,
    },
    /// An attempt failed, or asked to run again later.
    Retrying {
        /// When the next one is due.
        until: Timestamp,
        /// How many there were.
        attempts: u32,
    },
    /// Somebody has to release it.
    Held {
        /// Since when.
        since: Timestamp,
    },
    /// Jobs that it waits for have not ended.
    Dependencies {
        /// Some of them, the oldest first.
        on: Vec<On>,
        /// Whether there are more.
        more: bool,
        /// Since when.
        since: Timestamp,
    },
    /// Its queue is paused.
    QueuePaused(Stopped),
    /// Its kind is.
    KindPaused {
        /// Which.
        kind: Kind,
        /// By whom.
        #[serde(flatten)]
        stopped: Stopped,
    },
    /// Its key is.
    KeyPaused {
        /// Which.
        key: String,
        /// By whom.
        #[serde(flatten)]
        stopped: Stopped,
    },
    /// As many jobs of its key run as may.
    KeyLimit {
        /// Which.
        key: String,
        /// How many may.
        limit: u32,
        /// Some of those who do, the oldest first.
        holders: Vec<Holder>,
        /// How many stand in the line of the key before it.
        ahead: u64,
    },
    /// Jobs of its key run in order, and the one before it has not ended.
    KeyOrder {
        /// Which.
        key: String,
        /// Which; none where it has just ended.
        behind: Option<Holder>,
        /// How many stand in the line of the key before it.
        ahead: u64,
    },
    /// As many jobs of its key have started as may in so short a time, or a handler asked that none starts.
    KeyRate {
        /// Which.
        key: String,
        /// When the next may; none: once the one before it has started.
        until: Option<Timestamp>,
        /// How many stand in the line of the key before it.
        ahead: u64,
    },
    /// The same of its queue.
    QueueRate {
        /// When the next may.
        until: Timestamp,
        /// How many stand in its line before it.
        ahead: u64,
    },
    /// As many jobs of its queue run as may.
    QueueLimit {
        /// How many may.
        limit: u32,
        /// Some of those who do, the oldest first.
        holders: Vec<Holder>,
        /// How many stand in its line, of its priority and tenant, before it.
        ahead: u64,
    },
    /// Others go first, by priority, fairness or age.
    Turn {
        /// How many stand in its line, of its priority and tenant, before it.
        ahead: u64,
    },
    /// It may run: for a worker with a free slot.
    Worker {
        /// How many are asked for before it.
        ahead: u64,
    },
    /// It may run, and no worker that lives serves its queue.
    NoWorker {
        /// How many are asked for before it.
        ahead: u64,
    },
    /// It was given to workers, and none has a handler for its kind.
    NoWorkerForKind {
        /// Which.
        kind: Kind,
        /// Since when.
        since: Timestamp,
    },
    /// A dispatcher is to decide on it, in a moment.
    Decision {
        /// Since when.
        since: Timestamp,
        /// Which; none if no dispatcher has owned the queue yet.
        dispatcher: Option<String>,
    },
    /// In sums only: for its time, of which it is not known whether it is the first or that of another attempt.
    Timer {},
    /// It does: with a worker.
    Running {
        /// Which, where that is known.
        worker: Option<String>,
        /// Since when, or a little earlier.
        since: Timestamp,
    },
    /// It has ended.
    Ended {
        /// How.
        state: JobState,
        /// When.
        at: Timestamp,
    },
}

/// Who stopped something, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Whoever did.
    pub by: String,
    /// When.
    pub since: Timestamp,
    /// Why, for people.
    pub reason: String,
    /// When it is over; when somebody resumes it, if null.
    pub until: Option<Timestamp>,
}

/// A job that another is to start after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct On {
    /// Its queue.
    pub queue: QueueName,
    /// Which.
    pub job_id: JobId,
}

/// A job that others wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Which.
    pub job_id: JobId,
    /// What it does.
    pub doing: Doing,
    /// Since when it holds what others wait for.
    pub since: Timestamp,
}

/// What a job that others wait for does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// It runs.
    Running,
    /// It was let through, and waits for a worker.
    Queued,
    /// It waits: for its turn, or for what it is still to be let through by.
    Waiting,
    /// It waits for its next attempt.
    Retrying,
    /// It is dead, and nobody has dealt with it.
    Dead,
    /// It has ended, and what it held is free in a moment.
    Ended,
}

// === impl Cause ===

impl Cause {
    /// As it stands in JSON, and in sums.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotDue { .. } => "not_due",
            Self::Retrying { .. } => "retrying",
            Self::Held { .. } => "held",
            Self::Dependencies { .. } => "dependencies",
            Self::QueuePaused(_) => "queue_paused",
            Self::KindPaused { .. } => "kind_paused",
            Self::KeyPaused { .. } => "key_paused",
            Self::KeyLimit { .. } => "key_limit",
            Self::KeyOrder { .. } => "key_order",
            Self::KeyRate { .. } => "key_rate",
            Self::QueueRate { .. } => "queue_rate",
            Self::QueueLimit { .. } => "queue_limit",
            Self::Turn { .. } => "turn",
            Self::Worker { .. } => "worker",
            Self::NoWorker { .. } => "no_worker",
            Self::NoWorkerForKind { .. } => "no_worker_for_kind",
            Self::Decision { .. } => "decision",
            Self::Timer {} => "timer",
            Self::Running { .. } => "running",
            Self::Ended { .. } => "ended",
        }
    }

    /// Whether the job waits at all.
    pub fn is_waiting(&self) -> bool {
        !matches!(self, Self::Running { .. } | Self::Ended { .. })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let behind = |ahead: u64| match ahead {
            0 => String::new(),
            1 => ", behind 1 other".to_owned(),
            many => format!(", behind {many} others"),
        };
        match self {
            Self::NotDue { until } => write!(f, "not due until {until}"),
            Self::Retrying { until, attempts } => {
                let after =
                    if *attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
                write!(f, "its next attempt is due at {until}, after {after}")
            }
            Self::Held { since } => write!(f, "held since {since}, until somebody releases it"),
            Self::Dependencies { on, more, .. } => {
                let names: Vec<_> =
                    on.iter().map(|on| format!("{} of the queue {}", on.job_id, on.queue)).collect();
                write!(f, "waits for jobs to end: {}{}", names.join(", "), if *more { ", …" } else { "" })
            }
            Self::QueuePaused(stopped) => write!(f, "its queue is paused{stopped}"),
            Self::KindPaused { kind, stopped } => write!(f, "its kind {kind} is paused{stopped}"),
            Self::KeyPaused { key, stopped } => write!(f, "its key `{key}` is paused{stopped}"),
            Self::KeyLimit { key, limit, holders, ahead } => {
                write!(f, "its key `{key}` has a limit of {limit}{}{}", Holders(holders), behind(*ahead))
            }
            Self::KeyOrder { key, behind: Some(holder), ahead } => {
                write!(f, "its key `{key}` is in order, and {holder}{}", behind(*ahead))
            }
            Self::KeyOrder { key, behind: None, ahead } => {
                write!(
                    f,
                    "its key `{key}` is in order, and the one before it has just ended{}",
                    behind(*ahead)
                )
            }
            Self::KeyRate { key, until: Some(until), ahead } => {
                write!(f, "its key `{key}` has a rate: the next may start at {until}{}", behind(*ahead))
            }
            Self::KeyRate { key, until: None, ahead } => {
                write!(
                    f,
                    "its key `{key}` has a rate, and the one before it has not started{}",
                    behind(*ahead)
                )
            }
            Self::QueueRate { until, ahead } => {
                write!(f, "its queue has a rate: the next may start at {until}{}", behind(*ahead))
            }
            Self::QueueLimit { limit, holders, ahead } => {
                write!(f, "its queue has a limit of {limit}{}{}", Holders(holders), behind(*ahead))
            }
            Self::Turn { ahead } => write!(f, "waits for its turn in its queue{}", behind(*ahead)),
            Self::Worker { ahead } => write!(f, "waits for a worker with a free slot{}", behind(*ahead)),
            Self::NoWorker { ahead } => write!(f, "no worker serves its queue{}", behind(*ahead)),
            Self::NoWorkerForKind { kind, since } => {
                write!(f, "no worker that was asked has a handler for its kind {kind}, since {since}")
            }
            Self::Decision { since, dispatcher: Some(name) } => {
                write!(f, "is being decided on by {name}, since {since}")
            }
            Self::Decision { since, dispatcher: None } => {
                write!(
                    f,
                    "waits for a dispatcher that decides on it, since {since}: none has owned its queue yet"
                )
            }
            Self::Timer {} => f.write_str("waits for its time"),
            Self::Running { worker: Some(worker), since } => write!(f, "runs on {worker}, since {since}"),
            Self::Running { worker: None, since } => write!(f, "is with a worker, since {since}"),
            Self::Ended { state, at } => write!(f, "has ended: it is {state}, since {at}"),
        }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " by {}, since {}", self.by, self.since)?;
        if let Some(until) = self.until {
            write!(f, ", until {until}")?;
        }
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        Ok(())
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job_id, doing, since } = self;
        match doing {
            Doing::Running => write!(f, "{job_id} runs, since {since}"),
            Doing::Queued => write!(f, "{job_id} waits for a worker, since {since}"),
            Doing::Waiting => write!(f, "{job_id} waits for its turn, since {since}"),
            Doing::Retrying => write!(f, "{job_id} waits for its next attempt"),
            Doing::Dead => write!(f, "{job_id} is dead, and nobody has dealt with it"),
            Doing::Ended => write!(f, "{job_id} has just ended"),
        }
    }
}

/// After the limit that they have reached.
struct Holders<'a>(&'a [Holder]);

impl fmt::Display for Holders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .enumerate()
            .try_for_each(|(place, holder)| write!(f, "{} {holder}", if place == 0 { ":" } else { ";" }))
    }
}
