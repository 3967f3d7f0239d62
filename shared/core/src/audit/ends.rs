//! How jobs end: each that was accepted, once, by a rightful holder.

use std::collections::BTreeSet;

use super::{Defect, EndRecord, Evidence, Life};
use crate::attempt::failures;
use crate::settle::is_crash_loop;
use crate::{Attempt, Event, JobState, Outcome, Transition};

/// The state that a transition ends in, if it ends a job.
pub(super) fn end_of(transition: Transition) -> Option<JobState> {
    JobState::ALL.iter().copied().find(|state| state.end() == Some(transition))
}

/// All defects of a job's end.
pub(super) fn defects(life: &Life<'_>, evidence: &Evidence) -> Vec<(Defect, String)> {
    let mut found = Vec::new();
    if life.submissions.is_empty() {
        found.push((Defect::Phantom, format!("nobody submitted it; {}", life.told())));
    }
    let ended = life.ends().next().is_some() || !life.records.is_empty();
    let rejected = life.events.iter().any(|event| event.transition == Transition::Rejected);
    if life.submissions.iter().any(|submission| submission.acknowledged) && !ended && !rejected {
        found.push((Defect::Lost, format!("acknowledged, and it never ended; {}", life.told())));
    }
    if let Some(detail) = untold(life, evidence) {
        found.push((Defect::Untold, detail));
    }
    if let Some(detail) = doubled(life) {
        found.push((Defect::Doubled, detail));
    }
    if let Some(detail) = stale_accepted(life) {
        found.push((Defect::StaleAccepted, detail));
    }
    if let Some(detail) = never_ran(life, evidence) {
        found.push((Defect::Phantom, detail));
    }
    if let Some(detail) = wrong_end(life) {
        found.push((Defect::WrongEnd, detail));
    }
    if let Some(detail) = over_policy(life) {
        found.push((Defect::OverPolicy, detail));
    }
    found
}

/// An end that only one of the two streams has.
fn untold(life: &Life<'_>, evidence: &Evidence) -> Option<String> {
    evidence.records.as_ref()?;
    match (life.records.first(), life.ends().next()) {
        (Some(record), None) => Some(format!("JOBS says {}, EVENTS does not", record.state)),
        (None, Some(event)) => Some(format!("EVENTS says {}, JOBS does not", event.transition)),
        _ => None,
    }
}

/// Who ended it, how, and in which attempt: more than one answer is one too many.
fn doubled(life: &Life<'_>) -> Option<String> {
    let told: BTreeSet<_> =
        life.ends().map(|e| (e.transition.as_str(), e.attempt, e.worker.as_str())).collect();
    let states: BTreeSet<_> = life
        .records
        .iter()
        .map(|record| record.state)
        .chain(life.ends().filter_map(|event| end_of(event.transition)))
        .map(JobState::as_str)
        .collect();
    (told.len() > 1 || states.len() > 1 || life.records.len() > 1)
        .then(|| format!("ended more than once: {told:?}, {} records", life.records.len()))
}

/// The attempt whose holder ended the job.
pub(super) fn settled(record: &EndRecord) -> Option<&Attempt> {
    record.attempts.last().filter(|last| match record.state {
        JobState::Succeeded => last.outcome == Outcome::Succeeded,
        JobState::Dead => last.outcome.counts(),
        _ => false,
    })
}

/// A claim ends its former holder's attempt, and so the next one has a higher number. If the job then ends by the
/// lower number, the fence did not hold.
fn stale_accepted(life: &Life<'_>) -> Option<String> {
    let by_record = life.records.iter().filter_map(|record| settled(record)).map(|attempt| attempt.number);
    let by_event = life
        .ends()
        .filter(|event| event.outcome.is_some_and(|o| o == Outcome::Succeeded || o.counts()))
        .map(|event| event.attempt);
    let settled = by_record.chain(by_event).min()?;
    let replaced = life.events.iter().find(|event| match event.transition {
        Transition::Started => event.attempt > settled,
        Transition::Crashed | Transition::HandedBack | Transition::Retried => event.attempt >= settled,
        _ => false,
    })?;
    Some(format!("attempt {settled} ended it, though there is {} {}", replaced.transition, replaced.attempt))
}

/// A success that no handler had.
fn never_ran(life: &Life<'_>, evidence: &Evidence) -> Option<String> {
    evidence.executions.as_ref()?;
    let success = life.ends().find(|event| event.transition == Transition::Succeeded)?;
    let ran = life
        .executions
        .iter()
        .any(|execution| execution.attempt == success.attempt && execution.worker == success.worker);
    (!ran).then(|| format!("no handler recorded attempt {} of {}", success.attempt, success.worker))
}

fn wrong_end(life: &Life<'_>) -> Option<String> {
    let expected = life.submissions.iter().find_map(|submission| submission.expected)?;
    let record = life.records.first()?;
    // It lost its worker too often while it ran alone, also where the injector was the cause.
    let excused = record.state == JobState::Dead && is_crash_loop(&record.attempts);
    (record.state != expected && !excused)
        .then(|| format!("ended as {} instead of {expected}: {}", record.state, life.told()))
}

fn over_policy(life: &Life<'_>) -> Option<String> {
    let most = life.submissions.iter().filter_map(|submission| submission.max_attempts).max()?;
    let used = failures(&life.records.first()?.attempts);
    (used > most).then(|| format!("{used} attempts failed, {most} are allowed"))
}

// === impl Life ===

impl<'a> Life<'a> {
    /// The events that end it.
    pub(super) fn ends(&self) -> impl Iterator<Item = &'a Event> {
        self.events.iter().copied().filter(|event| end_of(event.transition).is_some())
    }

    /// A message that is no task, and nothing else.
    pub(super) fn is_rejection(&self) -> bool {
        self.records.is_empty() && self.events.iter().all(|e| e.transition == Transition::Rejected)
    }

    /// Its events, for people.
    pub(super) fn told(&self) -> String {
        let mut events: Vec<_> = self.events.iter().collect();
        events.sort_by_key(|event| event.at);
        let words: Vec<_> = events.iter().map(|e| format!("{} {}", e.transition, e.attempt)).collect();
        format!("EVENTS: [{}], {} executions", words.join(", "), self.executions.len())
    }
}
