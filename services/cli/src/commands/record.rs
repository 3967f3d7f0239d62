//! A job as its live record in JOBS tells it, in the shape of its history.
//!
//! The record knows less: no transitions, and of a job that a worker has at its first delivery not that it runs.

use jiff::Timestamp;
use windlass::JobId;
use windlass_broker::jobs::Seen;
use windlass_core::history::{AttemptView, JobView, RelationsView, result_value, state_at};
use windlass_core::labels::Labels;
use windlass_core::protocol::Kind;
use windlass_core::relations::Relations;
use windlass_core::{Attempt, JobState, attempt};
use windlass_proto::v1::ClaimReason;
use windlass_proto::{Claim, Done, Job, RecordBody};

/// The job; none if it has no record.
pub(super) fn view(id: JobId, seen: &Seen, now: Timestamp) -> Option<JobView> {
    let last = seen.last.as_ref()?;
    let empty = JobView {
        id,
        kind: last.body.kind().to_string(),
        queue: last.address.queue.to_string(),
        state: JobState::Queued,
        priority: last.address.priority,
        result: None,
        result_form: None,
        error: None,
        other_id: None,
        relations: RelationsView::default(),
        labels: Labels::default(),
        trace_id: last.trace.map(|trace| trace.trace_id_hex()),
        accepted_at: Some(last.body.accepted_at()),
        due_at: None,
        ended_at: None,
        attempts: Vec::new(),
        transitions: Vec::new(),
        progress: None,
        logs: Vec::new(),
    };
    // An end counts wherever it stands.
    Some(match (&seen.done, &last.body) {
        (Some(done), _) | (None, RecordBody::Done(done)) => ended(empty, done),
        (None, RecordBody::Claim(claim)) => claimed(empty, claim),
        (None, RecordBody::Job(job)) => waiting(empty, job, last.record.kind, now),
    })
}

fn ended(empty: JobView, done: &Done) -> JobView {
    let result = (done.state == JobState::Succeeded)
        .then(|| result_value(&done.result_content_type, &done.result, &done.result_form))
        .filter(|value| !value.is_null());
    let error = match done.state {
        JobState::Succeeded => None,
        _ => done.error.clone().or_else(|| last_error(&done.attempts)),
    };
    JobView {
        kind: done.kind.to_string(),
        state: done.state,
        result_form: result.is_some().then(|| done.result_form.clone()).filter(|form| !form.is_plain()),
        result,
        error,
        other_id: done.other_id,
        accepted_at: Some(done.accepted_at),
        ended_at: Some(done.ended_at),
        attempts: done.attempts.iter().map(past).collect(),
        ..empty
    }
}

fn claimed(empty: JobView, claim: &Claim) -> JobView {
    let mut attempts: Vec<_> = claim.attempts.iter().map(past).collect();
    // Whoever claims runs it, unless it claims to give it back.
    let runs = claim.reason != ClaimReason::HandBack;
    if runs {
        attempts.push(AttemptView {
            number: attempt::next_number(&claim.attempts),
            worker: Some(claim.worker.clone()),
            started_at: Some(claim.claimed_at),
            ended_at: None,
            outcome: None,
            error: None,
            alone: claim.alone,
        });
    }
    JobView {
        state: if runs { JobState::Running } else { JobState::Queued },
        error: last_error(&claim.attempts),
        attempts,
        ..empty
    }
}

fn waiting(empty: JobView, job: &Job, kind: Kind, now: Timestamp) -> JobView {
    let state = match kind {
        Kind::Later if job.attempts.is_empty() => JobState::Scheduled,
        Kind::Later => JobState::Retrying,
        Kind::Held | Kind::Due => JobState::Held,
        _ => JobState::Queued,
    };
    JobView {
        state: state_at(state, Some(job.due_at), now),
        error: last_error(&job.attempts),
        due_at: Some(job.due_at),
        attempts: job.attempts.iter().map(past).collect(),
        relations: Relations::of(&job.task).as_ref().map(RelationsView::of).unwrap_or_default(),
        labels: job.task.labels.clone(),
        ..empty
    }
}

fn last_error(attempts: &[Attempt]) -> Option<windlass_core::JobError> {
    attempts.iter().rev().find_map(|a| a.error.clone())
}

fn past(attempt: &Attempt) -> AttemptView {
    AttemptView {
        number: attempt.number,
        worker: Some(attempt.worker.clone()).filter(|worker| !worker.is_empty()),
        started_at: attempt.started_at,
        ended_at: Some(attempt.ended_at),
        outcome: Some(attempt.outcome),
        error: attempt.error.clone(),
        alone: attempt.alone,
    }
}

#[cfg(test)]
mod tests {
    use windlass_broker::jobs::{Address, SeenRecord};
    use windlass_core::protocol::Record;
    use windlass_core::{JobError, Outcome, Priority, Task};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn id() -> JobId {
        "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap()
    }

    fn failed() -> Attempt {
        Attempt {
            number: 1,
            worker: "w1".to_owned(),
            started_at: Some(at(11)),
            ended_at: at(12),
            outcome: Outcome::Failed,
            error: Some(JobError { message: "boom".to_owned(), code: "handler".to_owned(), terminal: false }),
            alone: false,
            failure: 0,
        }
    }

    fn job(attempts: Vec<Attempt>) -> RecordBody {
        let task = Task::new(id(), "a.b".parse().unwrap(), bytes::Bytes::new());
        let task = Task { priority: Priority::High, ..task };
        RecordBody::Job(Job { attempts, ..Job::new(task, at(10), at(20), bytes::Bytes::new()) })
    }

    fn claim(reason: ClaimReason) -> RecordBody {
        RecordBody::Claim(Claim {
            work_sequence: 1,
            worker: "w2".to_owned(),
            reason,
            claimed_at: at(13),
            attempts: vec![failed()],
            kind: "a.b".parse().unwrap(),
            accepted_at: at(10),
            nonce: bytes::Bytes::new(),
            delivery_count: 1,
            checkpoint: bytes::Bytes::new(),
            alone: false,
            kind_unknown_since: None,
        })
    }

    fn done(state: JobState, result: &'static [u8]) -> Done {
        Done {
            kind: "a.b".parse().unwrap(),
            state,
            attempts: vec![failed()],
            result: bytes::Bytes::from_static(result),
            result_form: windlass_core::Form::default(),
            result_content_type: String::new(),
            error: None,
            accepted_at: at(10),
            ended_at: at(30),
            nonce: bytes::Bytes::new(),
            other_id: None,
        }
    }

    fn seen(body: RecordBody, kind: Kind, done: Option<Done>) -> Seen {
        let address = Address { queue: "mail".parse().unwrap(), priority: Priority::High, job_id: id() };
        let record = Record { sequence: 7, kind };
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().ok();
        let last = SeenRecord { address, record, stored_at: at(10), body, trace };
        Seen { last: Some(last), done, ..Seen::default() }
    }

    fn state(body: RecordBody, kind: Kind, now: i64) -> JobState {
        view(id(), &seen(body, kind, None), at(now)).unwrap().state
    }

    #[test]
    fn each_record_has_its_state() {
        assert_eq!(state(job(vec![]), Kind::Later, 15), JobState::Scheduled);
        assert_eq!(state(job(vec![failed()]), Kind::Later, 15), JobState::Retrying);
        // The timer is due: only the message that it makes is not there yet.
        assert_eq!(state(job(vec![failed()]), Kind::Later, 20), JobState::Queued);
        assert_eq!(state(job(vec![]), Kind::Held, 25), JobState::Held);
        assert_eq!(state(job(vec![]), Kind::Due, 25), JobState::Held);
        assert_eq!(state(job(vec![]), Kind::Ready, 25), JobState::Queued);
        assert_eq!(state(claim(ClaimReason::Redelivered), Kind::Claim { work: 1 }, 25), JobState::Running);
        assert_eq!(state(claim(ClaimReason::HandBack), Kind::Claim { work: 1 }, 25), JobState::Queued);
        assert!(view(id(), &Seen::default(), at(0)).is_none());
    }

    #[test]
    fn what_the_record_says_is_shown() {
        let view = view(id(), &seen(job(vec![failed()]), Kind::Later, None), at(15)).unwrap();
        assert_eq!((view.queue.as_str(), view.kind.as_str(), view.priority), ("mail", "a.b", Priority::High));
        assert_eq!(view.trace_id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!((view.accepted_at, view.due_at, view.ended_at), (Some(at(10)), Some(at(20)), None));
        assert_eq!(view.error.unwrap().message, "boom");
        assert_eq!(view.attempts.len(), 1);
        assert_eq!(view.attempts[0].worker.as_deref(), Some("w1"));
    }

    #[test]
    fn a_claim_is_an_attempt_that_runs() {
        let seen = seen(claim(ClaimReason::Suspect), Kind::Claim { work: 1 }, None);
        let view = view(id(), &seen, at(15)).unwrap();
        let running = &view.attempts[1];
        assert_eq!((running.number, running.worker.as_deref(), running.outcome), (2, Some("w2"), None));
    }

    #[test]
    fn an_end_counts_wherever_it_stands() {
        let ready = seen(job(vec![]), Kind::Ready, Some(done(JobState::Succeeded, b"{\"n\":1}")));
        let view_of = |seen: &Seen| view(id(), seen, at(40)).unwrap();
        let view = view_of(&ready);
        assert_eq!((view.state, view.ended_at), (JobState::Succeeded, Some(at(30))));
        assert_eq!((view.result, view.error), (Some(serde_json::json!({"n": 1})), None));
        let last = done(JobState::Dead, b"");
        let view = view_of(&seen(RecordBody::Done(last), Kind::Done, None));
        assert_eq!((view.state, view.result), (JobState::Dead, None));
        assert_eq!(view.error.unwrap().message, "boom");
    }
}
