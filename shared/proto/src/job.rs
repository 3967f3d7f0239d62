//! What JOBS holds: jobs that wait, claims, and ends.

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message;
use windlass_core::flow::Slots;
use windlass_core::unique::Gathered;
use windlass_core::{Attempt, Form, JobError, JobId, JobState, Kind, Outcome, RecordKind, Task};

use crate::flow::{slots_from_wire, slots_to_wire};
use crate::{Error, form, task, time, unique, v1};

/// A job that waits: the body of `ready`, `due`, `later` and `held`.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// What to do.
    pub task: Task<Bytes>,
    /// When the dispatcher accepted it.
    pub accepted_at: Timestamp,
    /// The instant from which it may run.
    pub due_at: Timestamp,
    /// Every earlier attempt, oldest first.
    pub attempts: Vec<Attempt>,
    /// Of this write.
    pub nonce: Bytes,
    /// What the handler saved last; empty if nothing.
    pub checkpoint: Bytes,
    /// Stream sequence of the timer that ends the wait for the first attempt; 0 if there is none.
    pub expiry_sequence: u64,
    /// What it holds under flow control; none where its queue has none.
    pub slots: Option<Slots>,
    /// Since when it is held, if it is, or has been since it last was with the workers.
    pub held_since: Option<Timestamp>,
    /// It is held until the jobs that its task waits for have ended.
    pub awaiting: bool,
    /// What it was made of, if several tasks.
    pub gathered: Option<Gathered>,
}

/// The token of a redelivered job.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// Sequence of the work message.
    pub work_sequence: u64,
    /// Who claims.
    pub worker: String,
    /// Why.
    pub reason: v1::ClaimReason,
    /// When.
    pub claimed_at: Timestamp,
    /// Every earlier attempt, a crash that caused this claim included.
    pub attempts: Vec<Attempt>,
    /// Of the job.
    pub kind: Kind,
    /// When the dispatcher accepted the job.
    pub accepted_at: Timestamp,
    /// Of this write.
    pub nonce: Bytes,
    /// The broker's count of the delivery that was claimed.
    pub delivery_count: u64,
    /// What the handler saved last; empty if nothing.
    pub checkpoint: Bytes,
    /// Its attempt runs with no neighbour in its process.
    pub alone: bool,
    /// Since when it is handed on because nobody who was given it has a handler for its kind.
    pub kind_unknown_since: Option<Timestamp>,
}

/// The end of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// Of the job.
    pub kind: Kind,
    /// A terminal one.
    pub state: JobState,
    /// Every attempt, oldest first.
    pub attempts: Vec<Attempt>,
    /// The handler's; empty where the form names an object.
    pub result: Bytes,
    /// What was done to the result, and where it is.
    pub result_form: Form,
    /// Of the result; empty means `application/json`.
    pub result_content_type: String,
    /// Why, where it did not succeed.
    pub error: Option<JobError>,
    /// When the dispatcher accepted the job.
    pub accepted_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Of this write.
    pub nonce: Bytes,
    /// The job for whose sake it ended, if for one.
    pub other_id: Option<JobId>,
}

/// The body of any message in JOBS.
#[allow(clippy::large_enum_variant, reason = "nearly all that are read are jobs")]
#[derive(Debug, Clone, PartialEq)]
pub enum RecordBody {
    /// Under `ready`, `due`, `later` and `held`.
    Job(Job),
    /// Under `claim`.
    Claim(Claim),
    /// Under `done`.
    Done(Done),
}

// === impl RecordBody ===

impl RecordBody {
    /// Reads the body of a message of this sort.
    pub fn decode(record: RecordKind, body: Bytes) -> Result<Self, Error> {
        Ok(match record {
            RecordKind::Later | RecordKind::Held | RecordKind::Due | RecordKind::Ready => {
                Self::Job(Job::decode(body)?)
            }
            RecordKind::Claim => Self::Claim(Claim::decode(body)?),
            RecordKind::Done => Self::Done(Done::decode(body)?),
        })
    }

    /// Of the write that made it.
    pub fn nonce(&self) -> &Bytes {
        match self {
            Self::Job(job) => &job.nonce,
            Self::Claim(claim) => &claim.nonce,
            Self::Done(done) => &done.nonce,
        }
    }

    /// The attempts that it carries.
    pub fn attempts(&self) -> &[Attempt] {
        match self {
            Self::Job(job) => &job.attempts,
            Self::Claim(claim) => &claim.attempts,
            Self::Done(done) => &done.attempts,
        }
    }

    /// Of the job.
    pub fn kind(&self) -> &Kind {
        match self {
            Self::Job(job) => &job.task.kind,
            Self::Claim(claim) => &claim.kind,
            Self::Done(done) => &done.kind,
        }
    }

    /// When the dispatcher accepted the job.
    pub fn accepted_at(&self) -> Timestamp {
        match self {
            Self::Job(job) => job.accepted_at,
            Self::Claim(claim) => claim.accepted_at,
            Self::Done(done) => done.accepted_at,
        }
    }
}

// === impl Job ===

impl Job {
    /// A job before its first attempt.
    pub fn new(task: Task<Bytes>, accepted_at: Timestamp, due_at: Timestamp, nonce: Bytes) -> Self {
        Self {
            task,
            accepted_at,
            due_at,
            attempts: Vec::new(),
            nonce,
            checkpoint: Bytes::new(),
            expiry_sequence: 0,
            slots: None,
            held_since: None,
            awaiting: false,
            gathered: None,
        }
    }

    /// As bytes of a `windlass.v1.Job`.
    pub fn encode(&self) -> Bytes {
        v1::Job {
            task: Some((&self.task).into()),
            accepted_at: Some(time::to_wire(self.accepted_at)),
            due_at: Some(time::to_wire(self.due_at)),
            attempts: attempts_to_wire(&self.attempts),
            nonce: self.nonce.clone(),
            checkpoint: self.checkpoint.clone(),
            expiry_sequence: self.expiry_sequence,
            slots: self.slots.as_ref().map(slots_to_wire),
            held_since: self.held_since.map(time::to_wire),
            awaiting: self.awaiting,
            gathered: self.gathered.map(unique::gathered_to_wire),
        }
        .encode_to_vec()
        .into()
    }

    /// Reads a `windlass.v1.Job`.
    pub fn decode(body: Bytes) -> Result<Self, Error> {
        let wire = v1::Job::decode(body)?;
        Ok(Self {
            task: task::from_wire(wire.task.ok_or_else(|| Error::missing("task"))?, None)?,
            accepted_at: time::required("accepted_at", wire.accepted_at)?,
            due_at: time::required("due_at", wire.due_at)?,
            attempts: attempts_from_wire(wire.attempts)?,
            nonce: wire.nonce,
            checkpoint: wire.checkpoint,
            expiry_sequence: wire.expiry_sequence,
            slots: wire.slots.map(slots_from_wire).transpose()?,
            held_since: time::optional("held_since", wire.held_since)?,
            awaiting: wire.awaiting,
            gathered: wire.gathered.map(unique::gathered_from_wire).transpose()?,
        })
    }
}

impl Claim {
    /// As bytes of a `windlass.v1.Claim`.
    pub fn encode(&self) -> Bytes {
        v1::Claim {
            work_sequence: self.work_sequence,
            worker: self.worker.clone(),
            reason: self.reason.into(),
            claimed_at: Some(time::to_wire(self.claimed_at)),
            attempts: attempts_to_wire(&self.attempts),
            kind: self.kind.to_string(),
            accepted_at: Some(time::to_wire(self.accepted_at)),
            nonce: self.nonce.clone(),
            delivery_count: self.delivery_count,
            checkpoint: self.checkpoint.clone(),
            alone: self.alone,
            kind_unknown_since: self.kind_unknown_since.map(time::to_wire),
        }
        .encode_to_vec()
        .into()
    }

    /// Reads a `windlass.v1.Claim`.
    pub fn decode(body: Bytes) -> Result<Self, Error> {
        let wire = v1::Claim::decode(body)?;
        let reason = v1::ClaimReason::try_from(wire.reason)
            .map_err(|_| Error::unknown("reason", wire.reason, "0 to 5"))?;
        Ok(Self {
            work_sequence: wire.work_sequence,
            reason,
            worker: wire.worker,
            claimed_at: time::required("claimed_at", wire.claimed_at)?,
            attempts: attempts_from_wire(wire.attempts)?,
            kind: wire.kind.parse().map_err(|e| Error::new("kind", e))?,
            accepted_at: time::required("accepted_at", wire.accepted_at)?,
            nonce: wire.nonce,
            delivery_count: wire.delivery_count,
            checkpoint: wire.checkpoint,
            alone: wire.alone,
            kind_unknown_since: time::optional("kind_unknown_since", wire.kind_unknown_since)?,
        })
    }
}

// === impl Done ===

impl Done {
    /// As bytes of a `windlass.v1.Done`.
    pub fn encode(&self) -> Bytes {
        let (result_encoding, result_object) = form::to_wire(&self.result_form);
        v1::Done {
            kind: self.kind.to_string(),
            state: v1::JobState::from(self.state).into(),
            attempts: attempts_to_wire(&self.attempts),
            result: self.result.clone(),
            result_content_type: self.result_content_type.clone(),
            error: self.error.clone().map(error_to_wire),
            accepted_at: Some(time::to_wire(self.accepted_at)),
            ended_at: Some(time::to_wire(self.ended_at)),
            nonce: self.nonce.clone(),
            result_encoding,
            result_object,
            other_id: self.other_id.map(|id| id.to_string()).unwrap_or_default(),
        }
        .encode_to_vec()
        .into()
    }

    /// Reads a `windlass.v1.Done`.
    pub fn decode(body: Bytes) -> Result<Self, Error> {
        let wire = v1::Done::decode(body)?;
        let state = match v1::JobState::try_from(wire.state) {
            Ok(v1::JobState::Succeeded) => JobState::Succeeded,
            Ok(v1::JobState::Dead) => JobState::Dead,
            Ok(v1::JobState::Cancelled) => JobState::Cancelled,
            Ok(v1::JobState::Expired) => JobState::Expired,
            Ok(other) => return Err(Error::new("state", format!("{} is not terminal", other.as_str_name()))),
            Err(_) => return Err(Error::unknown("state", wire.state, "6 to 9")),
        };
        Ok(Self {
            kind: wire.kind.parse().map_err(|e| Error::new("kind", e))?,
            state,
            attempts: attempts_from_wire(wire.attempts)?,
            result: wire.result,
            result_form: form::from_wire("result", wire.result_encoding, wire.result_object)?,
            result_content_type: wire.result_content_type,
            error: wire.error.map(error_from_wire),
            accepted_at: time::required("accepted_at", wire.accepted_at)?,
            ended_at: time::required("ended_at", wire.ended_at)?,
            nonce: wire.nonce,
            other_id: unique::optional_id("other_id", &wire.other_id)?,
        })
    }
}

impl From<JobState> for v1::JobState {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Scheduled => Self::Scheduled,
            JobState::Held => Self::Held,
            JobState::Queued => Self::Queued,
            JobState::Running => Self::Running,
            JobState::Retrying => Self::Retrying,
            JobState::Succeeded => Self::Succeeded,
            JobState::Dead => Self::Dead,
            JobState::Cancelled => Self::Cancelled,
            JobState::Expired => Self::Expired,
        }
    }
}

pub(crate) fn error_to_wire(error: JobError) -> v1::JobError {
    v1::JobError { message: error.message, code: error.code, terminal: error.terminal }
}

pub(crate) fn error_from_wire(error: v1::JobError) -> JobError {
    JobError { message: error.message, code: error.code, terminal: error.terminal }
}

pub(crate) fn outcome_to_wire(outcome: Option<Outcome>) -> i32 {
    let known = match outcome {
        None => v1::Outcome::Unspecified,
        Some(Outcome::Succeeded) => v1::Outcome::Succeeded,
        Some(Outcome::Failed) => v1::Outcome::Failed,
        Some(Outcome::TimedOut) => v1::Outcome::TimedOut,
        Some(Outcome::Cancelled) => v1::Outcome::Cancelled,
        Some(Outcome::Crashed) => v1::Outcome::Crashed,
        Some(Outcome::HandedBack) => v1::Outcome::HandedBack,
        Some(Outcome::Snoozed) => v1::Outcome::Snoozed,
        Some(Outcome::Unknown(number)) => return number,
    };
    known.into()
}

/// It is history, so what a newer version wrote is carried on.
pub(crate) fn outcome_from_wire(value: i32) -> Option<Outcome> {
    match v1::Outcome::try_from(value) {
        Ok(v1::Outcome::Unspecified) => None,
        Ok(v1::Outcome::Succeeded) => Some(Outcome::Succeeded),
        Ok(v1::Outcome::Failed) => Some(Outcome::Failed),
        Ok(v1::Outcome::TimedOut) => Some(Outcome::TimedOut),
        Ok(v1::Outcome::Cancelled) => Some(Outcome::Cancelled),
        Ok(v1::Outcome::Crashed) => Some(Outcome::Crashed),
        Ok(v1::Outcome::HandedBack) => Some(Outcome::HandedBack),
        Ok(v1::Outcome::Snoozed) => Some(Outcome::Snoozed),
        Err(_) => Some(Outcome::Unknown(value)),
    }
}

/// As they stand in messages.
pub fn attempts_to_wire(attempts: &[Attempt]) -> Vec<v1::Attempt> {
    let wire = attempts.iter().map(|attempt| v1::Attempt {
        number: attempt.number,
        worker: attempt.worker.clone(),
        started_at: attempt.started_at.map(time::to_wire),
        ended_at: Some(time::to_wire(attempt.ended_at)),
        outcome: outcome_to_wire(Some(attempt.outcome)),
        error: attempt.error.clone().map(error_to_wire),
        alone: attempt.alone,
        failure: attempt.failure,
    });
    wire.collect()
}

pub(crate) fn attempts_from_wire(attempts: Vec<v1::Attempt>) -> Result<Vec<Attempt>, Error> {
    attempts
        .into_iter()
        .map(|attempt| {
            Ok(Attempt {
                number: attempt.number,
                worker: attempt.worker,
                started_at: time::optional("attempts.started_at", attempt.started_at)?,
                ended_at: time::required("attempts.ended_at", attempt.ended_at)?,
                outcome: outcome_from_wire(attempt.outcome)
                    .ok_or_else(|| Error::missing("attempts.outcome"))?,
                error: attempt.error.map(error_from_wire),
                alone: attempt.alone,
                failure: attempt.failure,
            })
        })
        .collect()
}
