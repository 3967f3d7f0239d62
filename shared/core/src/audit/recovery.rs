//! How long jobs took to get over the faults that met them.

use jiff::{SignedDuration, Timestamp};

use super::executions::{explains, next_start, superseded};
use super::{Evidence, Fault, Life, Victim};

/// Beyond the lease, for a job to run again after its worker's death.
const MARGIN: SignedDuration = SignedDuration::from_secs(2);
/// A job that lost so many workers may wait for a worker that runs nothing else.
const RUNS_ALONE_AFTER: usize = 2;

/// From each injected fault that met this job to its end.
pub(super) fn times(life: &Life<'_>, evidence: &Evidence) -> Vec<SignedDuration> {
    let Some(ended_at) = life.ends().map(|end| end.at).min() else { return Vec::new() };
    let accepted_at = life.events.iter().filter_map(|event| event.accepted_at).min();
    // What waited for its own instant was not kept by the fault.
    let due_at = life.events.iter().filter_map(|event| event.due_at).min().or(accepted_at);
    let superseded = superseded(life);
    let met = |fault: &&Fault| {
        let lives = accepted_at.is_some_and(|at| at <= fault.at) && ended_at > fault.at;
        lives
            && match &fault.victim {
                Victim::Worker(_) => superseded.iter().any(|(place, execution)| {
                    explains(fault, execution, next_start(life, *place), SignedDuration::ZERO)
                }),
                Victim::Broker => due_at.is_some_and(|due| due <= fault.at),
                Victim::Bystander(_) => {
                    due_at.is_some_and(|due| due <= fault.at)
                        && life.executions.first().is_none_or(|first| first.started_at > fault.at)
                }
            }
    };
    let injected = evidence.faults.iter().filter(|fault| fault.injected);
    injected.filter(met).map(|fault| ended_at.duration_since(fault.at)).collect()
}

/// A job that its worker's fault cut off did not begin again in time, though nothing else was wrong.
pub(super) fn late(life: &Life<'_>, evidence: &Evidence) -> Option<String> {
    let bound = evidence.lease + MARGIN;
    superseded(life).into_iter().take(RUNS_ALONE_AFTER).find_map(|(place, execution)| {
        let next = life.executions.get(place + 1)?;
        let cause = evidence.faults.iter().find(|fault| {
            let ran = execution.started_at <= fault.at
                && execution.ended_at.is_none_or(|ended| ended >= fault.at)
                && next.started_at > fault.at;
            fault.injected && ran && fault.victim == Victim::Worker(execution.worker.clone())
        })?;
        let waited = next.started_at.duration_since(cause.at);
        (waited > bound && is_alone(cause, next.started_at, evidence)).then(|| {
            format!("{} of its worker: ran again after {waited:#}, at most {bound:#} is promised", cause.what)
        })
    })
}

/// Whether no other fault was about until then.
fn is_alone(cause: &Fault, until: Timestamp, evidence: &Evidence) -> bool {
    let over = |fault: &Fault| fault.until.saturating_add(evidence.lease).unwrap_or(Timestamp::MAX);
    evidence
        .faults
        .iter()
        .filter(|fault| *fault != cause && !matches!(fault.victim, Victim::Bystander(_)))
        .all(|fault| fault.at > until || over(fault) < cause.at)
}
