//! Histories made by hand: each defect is found, and what is right is not taken for one.

mod overlap;

use super::*;
use crate::{JobError, Outcome, Transition};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1000 + seconds).unwrap()
}

fn job() -> JobKey {
    JobKey { queue: QueueName::default(), id: JobId::from_parts(at(0), [7; 10]) }
}

fn submission(acknowledged: bool) -> Submission {
    Submission {
        job: job(),
        at: at(0),
        acknowledged,
        expected: Some(JobState::Succeeded),
        max_attempts: Some(2),
        key: Some("k".to_owned()),
    }
}

fn event(transition: Transition, attempt: u32, worker: &str, seconds: i64) -> Event {
    let mut event = Event::new(job().queue, job().id, None, transition, attempt, at(seconds));
    worker.clone_into(&mut event.worker);
    event.accepted_at = Some(at(0));
    event.outcome = match transition {
        Transition::Succeeded => Some(Outcome::Succeeded),
        Transition::Retried => Some(Outcome::Failed),
        Transition::Crashed => Some(Outcome::Crashed),
        Transition::HandedBack => Some(Outcome::HandedBack),
        _ => None,
    };
    event
}

fn attempt(number: u32, worker: &str, outcome: Outcome) -> Attempt {
    let error = (outcome != Outcome::Succeeded).then(|| JobError {
        message: "no".to_owned(),
        code: "handler".to_owned(),
        terminal: false,
    });
    Attempt {
        number,
        worker: worker.to_owned(),
        started_at: None,
        ended_at: at(i64::from(number)),
        outcome,
        error,
        alone: false,
        failure: 0,
    }
}

fn execution(attempt: u32, worker: &str, from: i64, to: Option<i64>) -> Execution {
    Execution { job: job(), attempt, worker: worker.to_owned(), started_at: at(from), ended_at: to.map(at) }
}

fn fault(victim: Victim, from: i64, to: i64) -> Fault {
    Fault { what: "a fault".to_owned(), victim, at: at(from), until: at(to), injected: true }
}

fn record(state: JobState, attempts: Vec<Attempt>) -> EndRecord {
    EndRecord { job: job(), state, attempts }
}

/// Accepted, run once by `a`, and ended well.
fn well() -> Evidence {
    Evidence {
        submissions: vec![submission(true)],
        executions: Some(vec![execution(1, "a", 1, Some(2))]),
        events: vec![
            event(Transition::Accepted, 0, "", 0),
            event(Transition::Started, 1, "a", 1),
            event(Transition::Succeeded, 1, "a", 2),
        ],
        records: Some(vec![record(JobState::Succeeded, vec![attempt(1, "a", Outcome::Succeeded)])]),
        lease: SignedDuration::from_secs(5),
        ..Evidence::default()
    }
}

/// `a` dies at 3, and `b` runs it again and ends it well.
fn crashed() -> Evidence {
    let crash = attempt(1, "a", Outcome::Crashed);
    Evidence {
        executions: Some(vec![execution(1, "a", 1, None), execution(2, "b", 8, Some(9))]),
        events: vec![
            event(Transition::Accepted, 0, "", 0),
            event(Transition::Started, 1, "a", 1),
            event(Transition::Crashed, 1, "a", 8),
            event(Transition::Started, 2, "b", 8),
            event(Transition::Succeeded, 2, "b", 9),
        ],
        records: Some(vec![record(JobState::Succeeded, vec![crash, attempt(2, "b", Outcome::Succeeded)])]),
        faults: vec![fault(Victim::Worker("a".to_owned()), 3, 3)],
        ..well()
    }
}

fn check(evidence: &Evidence, expected: &[Defect]) -> Verdict {
    let verdict = judge(evidence);
    let found: Vec<_> = verdict.findings.iter().map(|finding| finding.defect).collect();
    assert_eq!(found, expected, "{:#?}", verdict.findings);
    verdict
}

#[test]
fn what_is_right_is_no_defect() {
    let verdict = check(&well(), &[]);
    assert_eq!((verdict.jobs, verdict.executions, verdict.extra_executions), (1, 1, 0));
    let verdict = check(&crashed(), &[]);
    assert_eq!((verdict.extra_executions, verdict.unexplained_extra_executions), (1, 0));
    assert_eq!(verdict.recoveries, [SignedDuration::from_secs(6)]);
    check(&Evidence::default(), &[]);
}

#[test]
fn events_may_come_twice_and_in_any_order() {
    let mut evidence = crashed();
    let again = evidence.events.clone();
    evidence.events.extend(again);
    evidence.events.reverse();
    evidence.submissions.push(submission(false));
    assert_eq!(check(&evidence, &[]).duplicates, 1);
}

#[test]
fn an_acknowledged_job_without_an_end_is_lost() {
    let mut evidence = well();
    evidence.events.truncate(2);
    evidence.records = Some(Vec::new());
    // What ran, and settled nothing, is a second defect.
    check(&evidence, &[Defect::Lost, Defect::Unexplained]);
    evidence.executions = Some(Vec::new());
    check(&evidence, &[Defect::Lost]);
    evidence.submissions = vec![submission(false)];
    check(&evidence, &[]);
    evidence.submissions.push(submission(true));
    check(&evidence, &[Defect::Lost]);
    // A rejection says that it will not run.
    evidence.events.push(event(Transition::Rejected, 0, "", 3));
    check(&evidence, &[]);
}

#[test]
fn an_end_stands_in_both_streams() {
    let mut evidence = well();
    evidence.events.truncate(2);
    check(&evidence, &[Defect::Untold]);
    let mut evidence = well();
    evidence.records = Some(Vec::new());
    check(&evidence, &[Defect::Untold]);
    // Where JOBS was not read, nothing is known of it.
    evidence.records = None;
    check(&evidence, &[]);
}

#[test]
fn two_ends_are_one_too_many() {
    // Two states.
    let mut evidence = well();
    evidence.events.push(event(Transition::Cancelled, 0, "", 3));
    check(&evidence, &[Defect::Doubled]);
    // Two workers, one attempt.
    let mut evidence = well();
    evidence.events.push(event(Transition::Succeeded, 1, "b", 3));
    check(&evidence, &[Defect::Doubled, Defect::Phantom][..1]);
    // Two attempts: the lower one was settled by somebody who had been replaced.
    let mut evidence = crashed();
    evidence.events.push(event(Transition::Succeeded, 1, "a", 10));
    check(&evidence, &[Defect::Doubled, Defect::StaleAccepted]);
    // The records differ from the events.
    let mut evidence = well();
    evidence.records = Some(vec![record(JobState::Dead, vec![attempt(1, "a", Outcome::Failed)])]);
    check(&evidence, &[Defect::Doubled, Defect::WrongEnd]);
}

#[test]
fn a_replaced_holder_ends_nothing() {
    // `b` had claimed the job, and yet the end is that of `a`.
    let mut evidence = crashed();
    evidence.events.pop();
    evidence.events.push(event(Transition::Succeeded, 1, "a", 9));
    evidence.records = Some(vec![record(JobState::Succeeded, vec![attempt(1, "a", Outcome::Succeeded)])]);
    // The fault of `a` does not explain why `b` ran it in vain.
    check(&evidence, &[Defect::StaleAccepted, Defect::Unexplained]);
    // Its crash is enough, before anybody says that he has begun.
    let mut evidence = well();
    evidence.events.push(event(Transition::Crashed, 1, "a", 2));
    check(&evidence, &[Defect::StaleAccepted]);
    // A failure that was followed by another attempt is no end.
    let mut evidence = well();
    evidence.events.push(event(Transition::Retried, 1, "a", 2));
    check(&evidence, &[Defect::StaleAccepted]);
}

#[test]
fn what_nobody_submitted_or_ran_is_a_phantom() {
    let mut evidence = well();
    evidence.submissions.clear();
    check(&evidence, &[Defect::Phantom]);
    let mut evidence = well();
    evidence.executions = Some(Vec::new());
    check(&evidence, &[Defect::Phantom]);
    // Messages that are no tasks are rejected, as many as there were.
    let rejected = Evidence { events: vec![event(Transition::Rejected, 0, "", 1)], ..Evidence::default() };
    check(&rejected, &[Defect::Phantom]);
    assert_eq!(check(&Evidence { malformed: 1, ..rejected }, &[]).rejections, 1);
}

#[test]
fn an_extra_execution_needs_a_fault_of_its_own() {
    let with = |faults: Vec<Fault>| Evidence { faults, ..crashed() };
    check(&with(Vec::new()), &[Defect::Unexplained]);
    // Another's death, one that was over, one that came later, and one of somebody who holds no job.
    check(&with(vec![fault(Victim::Worker("b".to_owned()), 3, 3)]), &[Defect::Unexplained]);
    check(&with(vec![fault(Victim::Worker("a".to_owned()), -9, -8)]), &[Defect::Unexplained]);
    check(&with(vec![fault(Victim::Worker("a".to_owned()), 10, 10)]), &[Defect::Unexplained]);
    check(&with(vec![fault(Victim::Bystander("dispatcher".to_owned()), 3, 3)]), &[Defect::Unexplained]);
    // The broker's death forgets deliveries until a lease after its return.
    check(&with(vec![fault(Victim::Broker, -4, -2)]), &[]);
    // One fault repeats a job once.
    let mut twice = crashed();
    twice.executions.as_mut().unwrap().insert(1, execution(1, "a", 2, None));
    assert_eq!(check(&twice, &[Defect::Unexplained, Defect::Unfenced]).extra_executions, 2);
    twice.faults.push(fault(Victim::Broker, 2, 2));
    check(&twice, &[]);
}

/// `a` sleeps past its lease and wakes just when `b` has taken the job over; then `b` sleeps, and `c` ends it.
#[test]
fn who_wakes_up_late_replaces_nobody() {
    let mut evidence = crashed();
    evidence.executions = Some(vec![
        execution(2, "b", 8, Some(19)),
        execution(1, "a", 9, Some(10)),
        execution(3, "c", 17, Some(18)),
    ]);
    evidence.events.truncate(4);
    evidence.events.extend([
        event(Transition::Crashed, 2, "b", 17),
        event(Transition::Started, 3, "c", 17),
        event(Transition::Succeeded, 3, "c", 18),
    ]);
    let attempts = [(1, "a", Outcome::Crashed), (2, "b", Outcome::Crashed), (3, "c", Outcome::Succeeded)];
    let attempts = attempts.map(|(number, worker, outcome)| attempt(number, worker, outcome)).to_vec();
    evidence.records = Some(vec![record(JobState::Succeeded, attempts)]);
    let of = |worker: &str, from, to| fault(Victim::Worker(worker.to_owned()), from, to);
    evidence.faults = vec![of("a", 3, 9), of("b", 11, 19)];
    check(&evidence, &[]);
    evidence.faults.pop();
    check(&evidence, &[Defect::Unexplained]);
}

#[test]
fn two_holders_of_one_token_need_a_broker_that_forgot() {
    // `a` sleeps past its lease, and `b` runs the same attempt beside it; the first to settle wins.
    let mut evidence = crashed();
    evidence.executions = Some(vec![execution(1, "a", 1, None), execution(1, "b", 8, Some(9))]);
    evidence.events = vec![event(Transition::Started, 1, "a", 1), event(Transition::Succeeded, 1, "b", 9)];
    let attempts = vec![attempt(1, "b", Outcome::Succeeded)];
    evidence.records = Some(vec![record(JobState::Succeeded, attempts)]);
    check(&evidence, &[Defect::Unfenced]);
    evidence.faults = vec![fault(Victim::Broker, 3, 4)];
    check(&evidence, &[]);
}

#[test]
fn failed_attempts_are_no_extra_executions() {
    let mut evidence = crashed();
    evidence.faults.clear();
    evidence.executions.as_mut().unwrap()[0].ended_at = Some(at(2));
    evidence.events[2] = event(Transition::Retried, 1, "a", 2);
    let mut records = evidence.records.take().unwrap();
    records[0].attempts[0] = attempt(1, "a", Outcome::Failed);
    evidence.records = Some(records);
    assert_eq!(check(&evidence, &[]).extra_executions, 0);
    evidence.submissions[0].max_attempts = Some(0);
    check(&evidence, &[Defect::OverPolicy]);
}

#[test]
fn a_cancellation_explains_what_it_cut_off() {
    let mut evidence = well();
    evidence.submissions[0].expected = Some(JobState::Cancelled);
    evidence.executions = Some(vec![execution(1, "a", 1, None)]);
    evidence.events[2] = event(Transition::Cancelled, 0, "", 2);
    evidence.records = Some(vec![record(JobState::Cancelled, Vec::new())]);
    let verdict = check(&evidence, &[]);
    assert_eq!(verdict.extra_executions, 0);
    // Not what began after it.
    evidence.executions = Some(vec![execution(1, "a", 4, Some(5))]);
    check(&evidence, &[Defect::Unexplained]);
}

#[test]
fn another_end_than_the_handlers_is_wrong_unless_crashes_explain_it() {
    let mut evidence = well();
    evidence.submissions[0].expected = Some(JobState::Dead);
    check(&evidence, &[Defect::WrongEnd]);
    // Only crashes while it ran alone may end a job.
    for (alone, defects) in [(true, &[][..]), (false, &[Defect::WrongEnd])] {
        let crash = |number| Attempt { alone, ..attempt(number, "a", Outcome::Crashed) };
        let mut evidence = well();
        evidence.executions = Some(Vec::new());
        evidence.events = vec![event(Transition::Dead, 0, "", 9)];
        evidence.records = Some(vec![record(JobState::Dead, (1..=3).map(crash).collect())]);
        check(&evidence, defects);
    }
}

#[test]
fn a_dead_workers_jobs_run_again_in_time() {
    let mut evidence = crashed();
    let late = |evidence: &mut Evidence, seconds: i64| {
        let executions = evidence.executions.as_mut().unwrap();
        executions[1] = execution(2, "b", seconds, Some(seconds + 1));
    };
    // It died at 3; the lease is 5 s.
    late(&mut evidence, 10);
    check(&evidence, &[]);
    late(&mut evidence, 11);
    check(&evidence, &[Defect::Late]);
    // The bound holds while the broker answers.
    evidence.faults.push(fault(Victim::Broker, 4, 5));
    check(&evidence, &[]);
}

#[test]
fn a_machine_that_stood_still_explains_but_is_not_counted() {
    let mut evidence = crashed();
    evidence.faults[0].injected = false;
    assert!(check(&evidence, &[]).recoveries.is_empty());
}

#[test]
fn percentiles_are_of_the_list() {
    let list: Vec<_> = (1..=100).map(SignedDuration::from_secs).collect();
    assert_eq!(percentile(&list, 0.5), Some(SignedDuration::from_secs(51)));
    assert_eq!(percentile(&list, 0.99), Some(SignedDuration::from_secs(100)));
    assert_eq!(percentile(&list[..1], 0.99), Some(SignedDuration::from_secs(1)));
    assert_eq!(percentile(&[], 0.5), None);
}
