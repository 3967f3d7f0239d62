//! Dead letters as they are read: what could not be done, why, and whether it can be started again.

mod filter;
mod group;
mod view;

use jiff::Timestamp;

pub use filter::{Filter, InvalidFingerprint, Print};
pub use group::{Group, Groups};
pub use view::{HeaderView, LetterRow, LetterView, payload_value};

use crate::fingerprint::fingerprint;
use crate::trace::TraceParent;
use crate::{Attempt, JobId, Kind, QueueName, Start, Task};

/// A dead letter. `P` is the type of bytes, as in [`Task`].
#[derive(Debug, Clone, PartialEq)]
pub struct Letter<P> {
    /// Of the job.
    pub queue: QueueName,
    /// Of the job; of a message that named none, derived from its place.
    pub job_id: JobId,
    /// Of a rejected message: the id that it bears. The letter is not that job's: one may exist.
    pub claimed_id: Option<JobId>,
    /// Of the letter in its stream.
    pub sequence: u64,
    /// When the job died. With queue and id it names this death, however often its letter is stored.
    pub dead_at: Timestamp,
    /// A short stable word.
    pub code: String,
    /// For people.
    pub reason: String,
    /// Which field was refused; empty where none was.
    pub field: String,
    /// Where the task was published.
    pub original_subject: String,
    /// Its headers, as they were.
    pub headers: Vec<(String, String)>,
    /// Its body, as it was.
    pub body: P,
    /// Every execution, oldest first.
    pub attempts: Vec<Attempt>,
    /// Where it is known.
    pub kind: Option<Kind>,
    /// The trace of what died, where it is known.
    pub trace: Option<TraceParent>,
    /// What can be started again, or why nothing can.
    pub task: Result<Task<P>, String>,
}

// === impl Letter ===

impl<P> Letter<P> {
    /// The job that starting it again makes: the same one however often that is tried.
    ///
    /// It is a new job, because the old one's end stands in JOBS for the horizon and would refuse its own id. The id
    /// depends on the death and not on the letter's place, as a letter may be stored twice.
    pub fn redriven_id(&self) -> JobId {
        JobId::of_redrive(self.job_id, self.dead_at)
    }

    /// The reason with the field that it is about, as the job's history tells it.
    pub fn message(&self) -> String {
        if self.field.is_empty() { self.reason.clone() } else { format!("{}: {}", self.field, self.reason) }
    }

    /// The code of the error that its last attempt ended with; none where nothing was run, or that did not fail.
    pub fn error_code(&self) -> Option<&str> {
        let error = self.attempts.last()?.error.as_ref()?;
        (!error.code.is_empty()).then_some(error.code.as_str())
    }

    /// Of the error that the job died of: that of its last attempt, where this was the cause.
    pub fn fingerprint(&self) -> String {
        match self.attempts.last().and_then(|attempt| attempt.error.as_ref()) {
            Some(error) if !error.message.is_empty() && self.reason.starts_with(&error.message) => {
                error.fingerprint()
            }
            _ => fingerprint(&self.code, &self.message()),
        }
    }
}

impl<P: Clone> Letter<P> {
    /// The task of its next life: under another id, and to be started at once, as it has waited. It is an operator's
    /// now: neither its time to wait nor its parent bind it.
    pub fn redriven_task(&self) -> Result<Task<P>, String> {
        let task = self.task.clone()?;
        let origin = task.origin.or(Some(task.id));
        let after = Vec::new();
        Ok(Task {
            id: self.redriven_id(),
            start: Start::Now,
            max_wait: None,
            parent: None,
            origin,
            after,
            ..task
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{JobError, Outcome};

    pub(crate) fn letter(queue: &str, code: &str, reason: &str) -> Letter<Vec<u8>> {
        Letter {
            queue: queue.parse().unwrap(),
            job_id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            claimed_id: None,
            sequence: 7,
            dead_at: Timestamp::from_second(100).unwrap(),
            code: code.to_owned(),
            reason: reason.to_owned(),
            field: String::new(),
            original_subject: "t".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            attempts: Vec::new(),
            kind: None,
            trace: None,
            task: Err("is none".to_owned()),
        }
    }

    pub(super) fn failed(message: &str, code: &str) -> Attempt {
        let error = JobError { message: message.to_owned(), code: code.to_owned(), terminal: true };
        let (started_at, ended_at) = (None, Timestamp::UNIX_EPOCH);
        Attempt {
            number: 1,
            worker: String::new(),
            started_at,
            ended_at,
            outcome: Outcome::Failed,
            error: Some(error),
            alone: false,
            failure: 0,
        }
    }

    #[test]
    fn the_attempt_that_was_the_cause_gives_the_fingerprint() {
        let mut dead = letter("mail", "terminal_error", "no user 7");
        assert_eq!(dead.fingerprint(), fingerprint("terminal_error", "no user 8"));
        dead.attempts.push(failed("no user 7", "handler"));
        assert_eq!(dead.fingerprint(), fingerprint("handler", "no user 9"));
        dead.reason = "its worker was lost too often".to_owned();
        assert_eq!(dead.fingerprint(), fingerprint("terminal_error", "its worker was lost too often"));
    }

    #[test]
    fn the_next_life_is_another_job_that_starts_at_once() {
        let mut dead = letter("mail", "handler", "x");
        let task = Task {
            priority: crate::Priority::High,
            start: Start::At(Timestamp::MAX),
            ..Task::new(dead.job_id, "a.b".parse().unwrap(), vec![1])
        };
        dead.task = Ok(task.clone());
        let again = dead.redriven_task().unwrap();
        assert_eq!(
            again,
            Task { id: dead.redriven_id(), start: Start::Now, origin: Some(dead.job_id), ..task }
        );
        assert_ne!(again.id, dead.job_id);
        // The same death gives the same job, wherever its letter stands; another death another one.
        assert_eq!(Letter { sequence: 9, ..dead.clone() }.redriven_id(), again.id);
        let later = Letter { dead_at: Timestamp::from_second(101).unwrap(), ..dead };
        assert_ne!(later.redriven_id(), again.id);
    }
}
