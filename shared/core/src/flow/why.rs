//! Answers to "why does this wait?", for a job and summed for a queue.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Cause;
use crate::{JobId, JobState, Kind, QueueName};

/// Why a job does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// Which job.
    pub id: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// Its kind.
    pub kind: Kind,
    /// Where it stands.
    pub state: JobState,
    /// Its key, if its task names one and it is still known.
    pub key: Option<String>,
    /// Whom it is for, likewise.
    pub tenant: Option<String>,
    /// The one cause: `cause` and `detail` in JSON.
    #[serde(flatten)]
    pub cause: Cause,
    /// The same, for people.
    pub text: String,
    /// When it was asked.
    pub asked_at: Timestamp,
}

/// What of a queue waits, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// Which queue.
    pub queue: QueueName,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// Whether all was read at one moment. If not, jobs moved meanwhile: one of them may be counted where it was and
    /// where it is, or at neither.
    pub exact: bool,
    /// Jobs that wait. The counts of all causes sum to it.
    pub backlog: u64,
    /// Jobs that workers have.
    pub running: u64,
    /// Of those that wait: for a worker.
    pub ready: u64,
    /// Of those that wait: for their time.
    pub delayed: u64,
    /// Of those that wait: for limits, rates, order, turns, pauses or a release.
    pub held: u64,
    /// Tasks that no dispatcher has admitted yet. They are no jobs, and not part of the backlog.
    pub not_admitted: u64,
    /// Since when the one waits that has waited longest, among those that are not waiting for their time.
    pub oldest_at: Option<Timestamp>,
    /// By cause, the most frequent first; none of which there is no job.
    pub causes: Vec<Counted>,
}

/// How many wait for one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The word of the cause, as [`Cause::word`].
    pub cause: String,
    /// How many.
    pub count: u64,
    /// One of them.
    pub example: Option<JobId>,
    /// Why that one waits, where it is told.
    pub text: Option<String>,
}

// === impl Why ===

impl Cause {
    /// Where a job stands that this holds back.
    pub fn state(&self) -> JobState {
        match self {
            Self::NotDue { .. } | Self::Timer {} => JobState::Scheduled,
            Self::Retrying { .. } => JobState::Retrying,
            Self::Worker { .. } | Self::NoWorker { .. } | Self::NoWorkerForKind { .. } => JobState::Queued,
            Self::Running { .. } => JobState::Running,
            Self::Ended { state, .. } => *state,
            _ => JobState::Held,
        }
    }
}

// === impl Backlog ===

impl Backlog {
    /// The sum of all causes: the backlog.
    pub fn sum(&self) -> u64 {
        self.causes.iter().map(|counted| counted.count).sum()
    }

    /// How many wait for this cause, by its word.
    pub fn of(&self, cause: &str) -> u64 {
        self.causes.iter().filter(|counted| counted.cause == cause).map(|counted| counted.count).sum()
    }
}
