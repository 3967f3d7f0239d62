//! The events that a job's records tell.
//!
//! Whoever writes a record says its event next, and may die in between; so whoever meets the record later says it
//! again. Events are idempotent, and both say the same, because both are made here.

use jiff::Timestamp;
use windlass_core::trace::TraceParent;
use windlass_core::{Attempt, Event, JobId, JobState, Kind, Outcome, Priority, QueueName, Transition};

use crate::{Done, RecordBody};

/// What all events of a job have in common.
#[derive(Debug, Clone, Copy)]
pub struct Teller<'a> {
    /// Of the job.
    pub queue: &'a QueueName,
    /// Of the job.
    pub job_id: JobId,
    /// Of the job.
    pub priority: Priority,
    /// Of the job.
    pub kind: &'a Kind,
    /// When the dispatcher accepted it.
    pub accepted_at: Timestamp,
    /// The job's trace.
    pub trace: Option<TraceParent>,
}

// === impl Teller ===

impl Teller<'_> {
    /// One transition.
    pub fn event(&self, transition: Transition, attempt: u32, at: Timestamp) -> Event {
        let mut event =
            Event::new(self.queue.clone(), self.job_id, self.kind.clone(), transition, attempt, at);
        event.accepted_at = Some(self.accepted_at);
        event.priority = self.priority;
        event.traceparent = self.trace.map(|trace| trace.to_string()).unwrap_or_default();
        event
    }

    /// That the job was made, and from when it may run.
    pub fn accepted(&self, due_at: Timestamp) -> Event {
        Event { due_at: Some(due_at), ..self.event(Transition::Accepted, 0, self.accepted_at) }
    }

    /// The end of an attempt, after which the job goes on.
    pub fn attempt_ended(&self, attempt: &Attempt) -> Event {
        let transition = match attempt.outcome {
            Outcome::Crashed => Transition::Crashed,
            Outcome::HandedBack => Transition::HandedBack,
            Outcome::Snoozed => Transition::Snoozed,
            _ => Transition::Retried,
        };
        self.of_attempt(transition, attempt)
    }

    /// The end of the job, and of the attempt that ended it, if one did.
    pub fn ended(&self, done: &Done) -> Event {
        let transition = done.state.end().unwrap_or(Transition::Dead);
        let mut event = match ending_attempt(done) {
            Some(attempt) => self.of_attempt(transition, attempt),
            None => self.event(transition, 0, done.ended_at),
        };
        event.at = done.ended_at;
        event.error.clone_from(&done.error);
        event.other_id = done.other_id;
        if done.state == JobState::Cancelled {
            event.note = done.error.as_ref().map(|e| e.message.clone()).unwrap_or_default();
        }
        if done.state == JobState::Succeeded {
            event.result = Some(done.result.to_vec());
            event.result_content_type.clone_from(&done.result_content_type);
            event.result_form.clone_from(&done.result_form);
        }
        event
    }

    /// All that a record tells of the attempts before it, and of the end. Of an outcome that this version does not know
    /// only a newer one can tell what it was.
    pub fn past(&self, record: &RecordBody) -> Vec<Event> {
        match record {
            RecordBody::Claim(claim) => self.attempts_ended(&claim.attempts).collect(),
            RecordBody::Job(job) => {
                let mut events: Vec<_> = self.attempts_ended(&job.attempts).collect();
                let last = job.attempts.last().map(|attempt| attempt.number);
                if let Some(last) = events.last_mut().filter(|event| Some(event.attempt) == last) {
                    last.due_at = Some(job.due_at);
                }
                events
            }
            RecordBody::Done(done) => {
                let earlier = done.attempts.len() - usize::from(ending_attempt(done).is_some());
                let earlier = self.attempts_ended(&done.attempts[..earlier]);
                earlier.chain([self.ended(done)]).collect()
            }
        }
    }

    /// Those of them whose outcomes are known.
    pub fn attempts_ended(&self, attempts: &[Attempt]) -> impl Iterator<Item = Event> {
        attempts
            .iter()
            .filter(|attempt| attempt.outcome.is_known())
            .map(|attempt| self.attempt_ended(attempt))
    }

    fn of_attempt(&self, transition: Transition, attempt: &Attempt) -> Event {
        let mut event = self.event(transition, attempt.number, attempt.ended_at);
        event.worker.clone_from(&attempt.worker);
        event.started_at = attempt.started_at;
        event.outcome = Some(attempt.outcome);
        event.error.clone_from(&attempt.error);
        event.alone = attempt.alone;
        event
    }
}

/// The attempt whose end was the job's. A job may also end between two attempts, cancelled or given up; then its last
/// attempt ended before, in a way of its own.
fn ending_attempt(done: &Done) -> Option<&Attempt> {
    let last = done.attempts.last()?;
    let fits = match done.state {
        JobState::Succeeded => last.outcome == Outcome::Succeeded,
        JobState::Cancelled => last.outcome == Outcome::Cancelled,
        _ => last.outcome.counts(),
    };
    (fits && last.error == done.error).then_some(last)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use windlass_core::JobError;

    use super::*;

    fn attempt(number: u32, outcome: Outcome, message: Option<&str>) -> Attempt {
        let error = message.map(|message| JobError {
            message: message.to_owned(),
            code: "handler".to_owned(),
            terminal: false,
        });
        let ended_at = Timestamp::from_second(i64::from(number)).unwrap();
        Attempt {
            number,
            worker: "w".to_owned(),
            started_at: None,
            ended_at,
            outcome,
            error,
            alone: false,
            failure: 0,
        }
    }

    fn told(state: JobState, attempts: Vec<Attempt>, error: Option<JobError>) -> Vec<(Transition, u32)> {
        let (queue, kind) = (QueueName::default(), "a.b".parse().unwrap());
        let (accepted_at, ended_at) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(99).unwrap());
        let teller = Teller {
            queue: &queue,
            job_id: JobId::from_parts(accepted_at, [0; 10]),
            priority: Priority::Normal,
            kind: &kind,
            accepted_at,
            trace: None,
        };
        let done = Done {
            kind: kind.clone(),
            state,
            attempts,
            result: Bytes::new(),
            result_form: windlass_core::Form::default(),
            result_content_type: String::new(),
            error,
            accepted_at,
            ended_at,
            nonce: Bytes::new(),
            other_id: None,
        };
        let events = teller.past(&RecordBody::Done(done));
        assert_eq!(events.last().unwrap().at, ended_at);
        events.iter().map(|e| (e.transition, e.attempt)).collect()
    }

    #[test]
    fn what_is_not_understood_is_not_told() {
        let attempts = vec![attempt(1, Outcome::Unknown(9), None), attempt(2, Outcome::Succeeded, None)];
        assert_eq!(told(JobState::Succeeded, attempts, None), [(Transition::Succeeded, 2)]);
    }

    #[test]
    fn each_attempt_is_told_once() {
        use Transition as T;
        let failed = attempt(2, Outcome::Failed, Some("no"));
        let attempts = vec![attempt(1, Outcome::Crashed, None), failed.clone()];
        let by_failure = told(JobState::Dead, attempts.clone(), failed.error.clone());
        assert_eq!(by_failure, [(T::Crashed, 1), (T::Dead, 2)]);
        // An operator ended it while it waited for its third attempt: the second had failed.
        let cancelled = attempt(0, Outcome::Cancelled, Some("cancelled by somebody")).error;
        let from_outside = told(JobState::Cancelled, attempts, cancelled);
        assert_eq!(from_outside, [(T::Crashed, 1), (T::Retried, 2), (T::Cancelled, 0)]);
        let ended_well = vec![failed, attempt(3, Outcome::Succeeded, None)];
        assert_eq!(told(JobState::Succeeded, ended_well, None), [(T::Retried, 2), (T::Succeeded, 3)]);
        assert_eq!(told(JobState::Expired, Vec::new(), None), [(T::Expired, 0)]);
    }
}
