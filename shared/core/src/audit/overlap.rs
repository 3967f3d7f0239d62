//! More at one time than a limit allows.
//!
//! A job counts from the start of an execution until its handler returned, or until its token was void: another had
//! begun to execute the job, the job had ended by another hand, or its worker was killed. A handler that runs on after
//! that is allowed: it is one whose lease had ended. So is one that begins when a later attempt has begun: a worker that
//! stood still goes on with what it was given before.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::executions::superseded;
use super::{Defect, Evidence, Execution, Finding, JobKey, Life, Victim};

/// Each moment at which a job was one too many, as a finding of that job: the first of each limit.
pub(super) fn over_limit(lives: &BTreeMap<JobKey, Life<'_>>, evidence: &Evidence) -> Vec<Finding> {
    let mut findings = Vec::new();
    for limit in &evidence.limits {
        let mut of_key: BTreeMap<Option<&str>, Vec<(Timestamp, bool, &JobKey)>> = BTreeMap::new();
        for (job, life) in lives.iter().filter(|(job, _)| job.queue == limit.queue) {
            let key = life.submissions.iter().find_map(|submission| submission.key.as_deref());
            let key = if limit.by_key { key } else { None };
            if limit.by_key && key.is_none() {
                continue;
            }
            for (from, until) in occupied(life, evidence) {
                of_key.entry(key).or_default().extend([(from, true, job), (until, false, job)]);
            }
        }
        for (key, mut steps) in of_key {
            // Who ends at the instant at which another begins was before it.
            steps.sort_by_key(|(at, begins, _)| (*at, *begins));
            let mut running: BTreeMap<&JobKey, usize> = BTreeMap::new();
            for (at, begins, job) in steps {
                if begins {
                    *running.entry(job).or_default() += 1;
                    if running.len() > limit.most {
                        let others: Vec<_> = running.keys().map(|job| job.id.to_string()).collect();
                        let detail = format!(
                            "at {at} {} ran of key {key:?}, {} may: {}",
                            running.len(),
                            limit.most,
                            others.join(", ")
                        );
                        findings.push(Finding { defect: Defect::OverLimit, job: job.clone(), detail });
                        break;
                    }
                } else if let Some(times) = running.get_mut(job) {
                    *times -= 1;
                    if *times == 0 {
                        running.remove(job);
                    }
                }
            }
        }
    }
    findings
}

/// When executions of a job counted.
fn occupied(life: &Life<'_>, evidence: &Evidence) -> Vec<(Timestamp, Timestamp)> {
    let void: Vec<_> = superseded(life).into_iter().map(|(place, _)| place).collect();
    let ended = life.ends().map(|event| event.at).min();
    let is_late = |execution: &Execution| {
        let later = |other: &&&Execution| other.attempt > execution.attempt;
        life.executions.iter().filter(later).any(|other| other.started_at <= execution.started_at)
    };
    let in_time = life.executions.iter().enumerate().filter(|(_, execution)| !is_late(execution));
    let times = in_time.filter_map(|(place, execution)| {
        let mut until = execution.ended_at;
        if void.contains(&place) || until.is_none() {
            let next = life.executions.get(place + 1).map(|next| next.started_at);
            let killed = until.is_none().then(|| killed(execution, evidence)).flatten();
            let ends = [until, next, ended, killed];
            until = ends.into_iter().flatten().min();
        }
        let until = until?;
        (until > execution.started_at).then_some((execution.started_at, until))
    });
    times.collect()
}

/// When its worker was lost.
fn killed(execution: &Execution, evidence: &Evidence) -> Option<Timestamp> {
    let met = evidence.faults.iter().filter(|fault| {
        fault.victim == Victim::Worker(execution.worker.clone()) && fault.until >= execution.started_at
    });
    met.map(|fault| fault.at.max(execution.started_at)).min()
}
