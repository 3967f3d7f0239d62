//! Executions beyond what was needed, each against a fault that explains it.
//!
//! Execution is at least once: a holder that is lost may have executed its job already. But never without a cause, and
//! one cause repeats a job once. So each execution that settled no attempt needs a fault of its own, that met its
//! worker or the broker, between the execution's start and the next one's.

use jiff::{SignedDuration, Timestamp};

use super::{Evidence, Execution, Fault, Life, Victim};
use crate::{Outcome, Transition};

/// Between an effect and when it was recorded, on one machine's clock.
const SLACK: SignedDuration = SignedDuration::from_millis(500);

/// What [`judge`] found of one job.
#[derive(Debug, Default)]
pub(super) struct Extra {
    pub(super) count: usize,
    pub(super) unexplained: Vec<String>,
}

pub(super) fn judge(life: &Life<'_>, evidence: &Evidence) -> Extra {
    let mut extra = Extra::default();
    let mut used = Vec::new();
    for (place, execution) in superseded(life) {
        // An operator's end cut it off: that is no repetition.
        if was_cancelled(life, execution) {
            continue;
        }
        extra.count += 1;
        let until = next_start(life, place);
        // The narrowest cause first: a worker's own fault leaves the broker's to others.
        let cause = evidence
            .faults
            .iter()
            .enumerate()
            .filter(|(index, fault)| {
                !used.contains(index) && explains(fault, execution, until, evidence.lease)
            })
            .min_by_key(|(_, fault)| (fault.victim == Victim::Broker, fault.until.max(fault.at)));
        if let Some((index, _)) = cause {
            used.push(index);
        } else {
            extra.unexplained.push(format!(
                "attempt {} of {} at {} settled nothing, and no fault explains it; {}",
                execution.attempt,
                execution.worker,
                execution.started_at,
                life.told()
            ));
        }
    }
    extra
}

/// Who takes a job over from a lost holder claims it, and so has a higher number. One number twice is one token twice;
/// and that may be only where the broker was killed, and forgot that it had delivered.
pub(super) fn unfenced(life: &Life<'_>, evidence: &Evidence) -> Option<String> {
    life.executions.iter().enumerate().find_map(|(place, execution)| {
        let rest = &life.executions[place + 1..];
        let second = rest.iter().find(|later| later.attempt == execution.attempt)?;
        let forgot = evidence.faults.iter().any(|fault| {
            fault.victim == Victim::Broker && explains(fault, execution, second.started_at, evidence.lease)
        });
        (!forgot).then(|| {
            format!(
                "attempt {} was executed by {} and by {}; {}",
                execution.attempt,
                execution.worker,
                second.worker,
                life.told()
            )
        })
    })
}

/// The executions whose outcome settled no attempt, with their places.
pub(super) fn superseded<'a>(life: &Life<'a>) -> Vec<(usize, &'a Execution)> {
    let mut settled = settlements(life);
    let unsettled = |(_, execution): &(usize, &Execution)| {
        let place = settled
            .iter()
            .position(|(attempt, worker)| *attempt == execution.attempt && *worker == execution.worker);
        // Each settles one: the same worker may have been given the job twice.
        place.map(|place| settled.swap_remove(place)).is_none()
    };
    life.executions.iter().copied().enumerate().filter(unsettled).collect()
}

/// The attempts that ended by their own handlers, with their workers.
fn settlements<'a>(life: &Life<'a>) -> Vec<(u32, &'a str)> {
    let own = |outcome: Outcome| {
        matches!(outcome, Outcome::Succeeded | Outcome::Failed | Outcome::TimedOut | Outcome::Cancelled)
    };
    let by_record = life.records.iter().flat_map(|record| &record.attempts);
    let by_record = by_record.filter(|attempt| own(attempt.outcome)).map(|a| (a.number, a.worker.as_str()));
    let by_event = life.events.iter().filter(|event| event.outcome.is_some_and(own));
    let by_event = by_event.map(|event| (event.attempt, event.worker.as_str()));
    let mut all: Vec<_> = by_record.chain(by_event).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// When what replaced this execution began: the next one, or the job's end, if there is none. One of a lower attempt
/// replaces nothing: an earlier holder woke up late, and does not know.
pub(super) fn next_start(life: &Life<'_>, place: usize) -> Timestamp {
    let execution = life.executions[place];
    let mut rest = life.executions.iter().skip(place + 1);
    let next = rest.find(|next| next.attempt >= execution.attempt).map(|next| next.started_at);
    let end = life.ends().map(|end| end.at).filter(|at| *at > execution.started_at).max();
    next.or(end).or(execution.ended_at).unwrap_or(execution.started_at)
}

/// Whether this fault may have cost the worker of this execution its job, before the next one began.
pub(super) fn explains(
    fault: &Fault,
    execution: &Execution,
    until: Timestamp,
    lease: SignedDuration,
) -> bool {
    let met = match &fault.victim {
        Victim::Worker(worker) => *worker == execution.worker,
        Victim::Broker => true,
        Victim::Bystander(_) => false,
    };
    let over = fault.until.saturating_add(lease + SLACK).unwrap_or(Timestamp::MAX);
    let begun = fault.at.saturating_sub(SLACK).unwrap_or(Timestamp::MIN);
    met && begun <= until && over >= execution.started_at
}

/// An operator ended the job, while or just before it ran.
fn was_cancelled(life: &Life<'_>, execution: &Execution) -> bool {
    life.ends().any(|end| {
        end.transition == Transition::Cancelled
            && end.at.saturating_add(SLACK).is_ok_and(|at| at >= execution.started_at)
            && execution.ended_at.is_none_or(|ended| ended.saturating_add(SLACK).is_ok_and(|e| e >= end.at))
    })
}
