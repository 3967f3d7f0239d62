//! More at one time than a limit allows, and what is allowed.

use super::*;

/// Two jobs of one key, one at a time; the second begins at this second.
fn two_of_a_key(evidence: Evidence, begins: i64) -> Evidence {
    let second = JobKey { id: JobId::of_message(at(0), 2), ..job() };
    let of_second = |execution: Execution| Execution { job: second.clone(), ..execution };
    let mut evidence = evidence;
    evidence.submissions.push(Submission { job: second.clone(), ..submission(true) });
    let executions = evidence.executions.get_or_insert_default();
    executions.push(of_second(execution(1, "c", begins, Some(begins + 1))));
    let event = |transition, attempt, worker, second_at| Event {
        job_id: second.id,
        ..event(transition, attempt, worker, second_at)
    };
    evidence.events.extend([
        event(Transition::Accepted, 0, "", 0),
        event(Transition::Started, 1, "c", begins),
        event(Transition::Succeeded, 1, "c", begins + 1),
    ]);
    let attempts = vec![attempt(1, "c", Outcome::Succeeded)];
    let end = EndRecord { job: second.clone(), ..record(JobState::Succeeded, attempts) };
    evidence.records.get_or_insert_default().push(end);
    evidence.limits = vec![Limit { queue: job().queue, by_key: true, most: 1 }];
    evidence
}

#[test]
fn one_too_many_of_a_key_is_found() {
    check(&two_of_a_key(well(), 2), &[]);
    check(&two_of_a_key(well(), 1), &[Defect::OverLimit]);
    // A dead holder is not there any more, but its job is when it runs again.
    check(&two_of_a_key(crashed(), 4), &[]);
    check(&two_of_a_key(crashed(), 8), &[Defect::OverLimit]);
    let mut apart = two_of_a_key(well(), 1);
    apart.submissions[1].key = Some("another".to_owned());
    check(&apart, &[]);
    apart.limits[0].by_key = false;
    check(&apart, &[Defect::OverLimit]);
}

/// A worker that stood still begins with what it was given before, and another had in the meantime.
#[test]
fn an_attempt_that_begins_after_a_later_one_does_not_count() {
    let mut evidence = crashed();
    // The second attempt failed; before the third the first one begins.
    let executions =
        [execution(2, "b", 8, Some(9)), execution(1, "a", 14, Some(17)), execution(3, "b", 20, Some(21))];
    evidence.executions = Some(executions.into());
    evidence.events.pop();
    evidence.events.extend([
        event(Transition::Retried, 2, "b", 9),
        event(Transition::Started, 3, "b", 20),
        event(Transition::Succeeded, 3, "b", 21),
    ]);
    let attempts = [(1, "a", Outcome::Crashed), (2, "b", Outcome::Failed), (3, "b", Outcome::Succeeded)];
    let attempts = attempts.map(|(number, worker, outcome)| attempt(number, worker, outcome));
    evidence.records = Some(vec![record(JobState::Succeeded, attempts.into())]);
    evidence.faults = vec![fault(Victim::Worker("a".to_owned()), 1, 14)];
    let over_limit = |evidence| judge(&two_of_a_key(evidence, 15)).count(Defect::OverLimit);
    assert_eq!(over_limit(evidence.clone()), 0);
    // As a later one it would.
    evidence.executions.as_mut().unwrap()[1].attempt = 3;
    assert_eq!(over_limit(evidence), 1);
}

/// A worker that stands still runs on when its lease has ended: allowed from when another has the job.
#[test]
fn a_holder_whose_lease_has_ended_does_not_count() {
    let mut evidence = crashed();
    let paused = evidence.executions.as_mut().unwrap();
    paused[0].ended_at = Some(at(20));
    evidence.faults = vec![fault(Victim::Worker("a".to_owned()), 3, 15)];
    check(&two_of_a_key(evidence.clone(), 9), &[]);
    check(&two_of_a_key(evidence, 7), &[Defect::OverLimit]);
}
