//! The fold of events into a view.
//!
//! A history is a set of events, one for each (attempt, transition), and adding to it is a join: commutative,
//! associative and idempotent. The view is a function of that set alone. So events may come twice and in any order,
//! and a fold over the same events ends in the same view.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use jiff::Timestamp;

use super::{AttemptView, JobView, RelationsView, TransitionView, result_value};
use crate::labels::Labels;
use crate::relations::Relations;
use crate::trace::TraceParent;
use crate::{Event, JobError, JobState, Outcome, Transition};

/// The attempt under which the latest acceptance is kept, where an id was accepted more than once.
const AGAIN: u32 = u32::MAX;

/// What is shown of it: the later job's other events are told as the first one's.
const ACCEPTED_AGAIN: &str =
    "this id was accepted again after its end was forgotten: it may have run once more";

/// The known events of one job of one queue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    events: BTreeMap<Rank, Event>,
}

/// How far along the job's life an event stands: an end after all else (and a rejection before any other end, as it
/// only says that no end is known), then by attempt, then by the order within an attempt.
type Rank = (u8, u32, u8);

fn rank(event: &Event) -> Rank {
    let (end, order) = match event.transition {
        Transition::Refused => (0, 0),
        Transition::Redriven => (0, 8),
        Transition::Discarded => (0, 9),
        Transition::Accepted => (0, 1),
        Transition::Started => (0, 2),
        Transition::HandedBack => (0, 3),
        Transition::Crashed => (0, 4),
        Transition::Snoozed => (0, 5),
        Transition::Retried => (0, 6),
        Transition::Released => (0, 7),
        Transition::Held => (0, 10),
        Transition::Queued => (0, 11),
        Transition::Rejected => (1, 0),
        Transition::Expired => (2, 0),
        Transition::Cancelled => (2, 1),
        Transition::Dead => (2, 2),
        Transition::Succeeded => (2, 3),
    };
    (end, event.attempt, order)
}

/// Which of two tellings of one transition is kept: the earlier, then the one that says more.
fn preference(a: &Event, b: &Event) -> Ordering {
    fn content(event: &Event) -> impl Ord + '_ {
        let error = event.error.as_ref().map(|e| (&e.code, &e.message, e.terminal));
        let outcome = event.outcome.map(Outcome::as_str);
        let kind = event.kind.as_ref();
        (
            (&event.traceparent, event.started_at, event.accepted_at, event.due_at, &event.worker, kind),
            (
                outcome,
                error,
                &event.result,
                &event.result_content_type,
                &event.result_form,
                &event.note,
                event.priority,
                event.alone,
                event.claimed_id,
                (&event.key, &event.tenant),
                (event.other_id, &event.relations, &event.labels),
            ),
        )
    }
    b.at.cmp(&a.at).then_with(|| content(a).cmp(&content(b)))
}

// === impl History ===

impl History {
    /// Adds an event of this job; false if it told nothing new.
    pub fn record(&mut self, event: Event) -> bool {
        if event.transition == Transition::Accepted { self.accept(event) } else { self.join(event) }
    }

    fn join(&mut self, event: Event) -> bool {
        match self.events.entry(rank(&event)) {
            Entry::Vacant(entry) => {
                entry.insert(event);
                true
            }
            Entry::Occupied(mut entry) => {
                let better = preference(&event, entry.get()).is_gt();
                if better {
                    entry.insert(event);
                }
                better
            }
        }
    }

    /// An id that was forgotten may be accepted again, and is another job then, whose events are told under the same
    /// ranks. The first acceptance is kept and the latest one, so that this shows.
    fn accept(&mut self, event: Event) -> bool {
        let life = |event: &Event| event.accepted_at.unwrap_or(event.at);
        let (end, _, order) = rank(&event);
        let slots = [0, AGAIN].map(|attempt| (end, attempt, order));
        if slots.iter().all(|slot| !self.events.contains_key(slot)) {
            self.events.insert(slots[0], Event { attempt: 0, ..event });
            return true;
        }
        let before = slots.map(|slot| self.events.remove(&slot));
        let event = Event { attempt: 0, ..event };
        let known = before.iter().flatten().cloned().map(|event| Event { attempt: 0, ..event });
        let all: Vec<Event> = known.chain([event]).collect();
        let of = |at: Option<Timestamp>| {
            all.iter().filter(|e| Some(life(e)) == at).max_by(|a, b| preference(a, b))
        };
        let (first, latest) = (all.iter().map(life).min(), all.iter().map(life).max());
        let after = [
            of(first).cloned(),
            of(latest).filter(|_| latest > first).map(|event| Event { attempt: AGAIN, ..event.clone() }),
        ];
        let is_new = before != after;
        self.events.extend(slots.into_iter().zip(after).filter_map(|(slot, event)| Some((slot, event?))));
        is_new
    }

    /// Whether this very event is kept.
    pub fn has(&self, event: &Event) -> bool {
        self.events.get(&rank(event)) == Some(event)
    }

    /// The events that are kept, in the order of a job's life.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.values()
    }

    /// The job as these events tell it, without regard to the time that has passed since (see [`JobView::at`]); none
    /// while nothing but remarks, as refusals, is known: they move no job.
    pub fn view(&self) -> Option<JobView> {
        let outline = self.outline()?;
        let last = self.moves().next_back()?;
        let result = last.result.as_ref().filter(|_| outline.state == JobState::Succeeded);
        Some(JobView {
            result: result
                .map(|bytes| result_value(&last.result_content_type, bytes, &last.result_form))
                .filter(|value| !value.is_null()),
            result_form: result.and(Some(&last.result_form)).filter(|form| !form.is_plain()).cloned(),
            transitions: self.transitions(),
            ..outline
        })
    }

    /// The view without its result and its transitions, which a list does not show.
    pub fn outline(&self) -> Option<JobView> {
        let last = self.moves().next_back()?;
        let state = state_after(last);
        let attempts = self.attempts(last);
        let error = match state {
            JobState::Succeeded => None,
            _ if state.is_terminal() && last.error.is_some() => last.error.clone(),
            _ => attempts.iter().rev().find_map(|a| a.error.clone()),
        };
        Some(JobView {
            id: last.job_id,
            kind: self.moves().find_map(|e| e.kind.as_ref()).map(ToString::to_string).unwrap_or_default(),
            queue: last.queue.to_string(),
            state,
            priority: self.moves().next().map(|e| e.priority).unwrap_or_default(),
            result: None,
            result_form: None,
            error,
            other_id: last.other_id.filter(|_| state.is_terminal()),
            relations: self.relations().map(RelationsView::of).unwrap_or_default(),
            labels: self.labels().cloned().unwrap_or_default(),
            trace_id: self
                .moves()
                .find_map(|e| e.traceparent.parse::<TraceParent>().ok())
                .map(|trace| trace.trace_id_hex()),
            accepted_at: self.accepted_at(),
            due_at: self.moves().rev().find_map(|e| e.due_at),
            ended_at: state.is_terminal().then_some(last.at),
            attempts,
            transitions: Vec::new(),
            progress: None,
            logs: Vec::new(),
        })
    }

    /// Whether no event is known.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// All but remarks, by rank.
    fn moves(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.events.values().filter(|e| !e.transition.is_remark())
    }

    pub(super) fn accepted_at(&self) -> Option<Timestamp> {
        let of = |event: &Event| {
            event.accepted_at.or_else(|| (event.transition == Transition::Accepted).then_some(event.at))
        };
        self.moves().filter_map(of).min()
    }

    /// Said with the acceptance alone; none if there are none.
    pub fn labels(&self) -> Option<&Labels> {
        self.moves().map(|event| &event.labels).find(|labels| !labels.is_empty())
    }

    /// Said with the acceptance alone.
    pub fn relations(&self) -> Option<&Relations> {
        self.moves().find_map(|event| event.relations.as_deref())
    }

    fn attempts(&self, last: &Event) -> Vec<AttemptView> {
        let mut attempts = BTreeMap::<u32, AttemptView>::new();
        // By rank, so that the end that stands is the one told last.
        for event in self.moves().filter(|e| e.attempt > 0) {
            let ends = attempt_outcome(event);
            if ends.is_none() && event.transition != Transition::Started {
                continue;
            }
            let attempt = attempts.entry(event.attempt).or_insert_with(|| AttemptView::open(event.attempt));
            if !event.worker.is_empty() {
                attempt.worker = Some(event.worker.clone());
            }
            attempt.alone |= event.alone;
            if let Some(outcome) = ends {
                attempt.started_at = event.started_at.or(attempt.started_at);
                attempt.close(event.at, outcome, event.error.as_ref());
            } else {
                attempt.started_at = Some(event.started_at.unwrap_or(event.at));
            }
        }
        // A cancellation from outside ends the attempt that ran; nobody else may tell its end any more.
        if last.transition == Transition::Cancelled
            && let Some(open) = attempts.values_mut().next_back().filter(|a| a.outcome.is_none())
        {
            open.close(last.at, Outcome::Cancelled, None);
        }
        attempts.into_values().collect()
    }

    fn transitions(&self) -> Vec<TransitionView> {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let mut events: Vec<_> = self.events.iter().collect();
        events.sort_by_key(|(rank, event)| (event.at, **rank));
        let view = |(_, event): (_, &Event)| {
            let again = event.transition == Transition::Accepted && event.attempt == AGAIN;
            let note = match (again, event.note.as_str()) {
                (false, note) => {
                    text(note).or_else(|| event.claimed_id.map(|id| format!("it bears the id {id}")))
                }
                (true, "") => text(ACCEPTED_AGAIN),
                (true, note) => Some(format!("{ACCEPTED_AGAIN}; {note}")),
            };
            TransitionView {
                transition: event.transition,
                attempt: if again { 0 } else { event.attempt },
                at: event.at,
                worker: text(&event.worker),
                note,
            }
        };
        events.into_iter().map(view).collect()
    }
}

impl FromIterator<Event> for History {
    fn from_iter<I: IntoIterator<Item = Event>>(events: I) -> Self {
        let mut history = Self::default();
        history.extend(events);
        history
    }
}

impl Extend<Event> for History {
    fn extend<I: IntoIterator<Item = Event>>(&mut self, events: I) {
        for event in events {
            self.record(event);
        }
    }
}

// === impl AttemptView ===

impl AttemptView {
    fn open(number: u32) -> Self {
        Self {
            number,
            worker: None,
            started_at: None,
            ended_at: None,
            outcome: None,
            error: None,
            alone: false,
        }
    }

    fn close(&mut self, at: Timestamp, outcome: Outcome, error: Option<&JobError>) {
        self.ended_at = Some(at);
        self.outcome = Some(outcome);
        self.error = error.cloned();
    }
}

fn state_after(event: &Event) -> JobState {
    match event.transition {
        Transition::Accepted if event.due_at > Some(event.accepted_at.unwrap_or(event.at)) => JobState::Scheduled,
        Transition::Held => JobState::Held,
        Transition::Accepted
        | Transition::Released
        | Transition::Queued
        | Transition::Crashed
        | Transition::HandedBack
        // Move nothing, and never decide.
        | Transition::Refused
        | Transition::Redriven
        | Transition::Discarded => JobState::Queued,
        Transition::Started => JobState::Running,
        // It has run, whether it failed or asked for it.
        Transition::Retried | Transition::Snoozed => JobState::Retrying,
        Transition::Succeeded => JobState::Succeeded,
        Transition::Dead | Transition::Rejected => JobState::Dead,
        Transition::Cancelled => JobState::Cancelled,
        Transition::Expired => JobState::Expired,
    }
}

/// How an event's attempt ended by it, if it did: a job may also end between two attempts.
fn attempt_outcome(event: &Event) -> Option<Outcome> {
    let implied = match event.transition {
        Transition::Crashed => Some(Outcome::Crashed),
        Transition::HandedBack => Some(Outcome::HandedBack),
        Transition::Retried => Some(Outcome::Failed),
        Transition::Snoozed => Some(Outcome::Snoozed),
        Transition::Succeeded => Some(Outcome::Succeeded),
        Transition::Dead | Transition::Cancelled | Transition::Expired => None,
        Transition::Accepted
        | Transition::Released
        | Transition::Held
        | Transition::Queued
        | Transition::Started
        | Transition::Refused
        | Transition::Redriven
        | Transition::Discarded
        | Transition::Rejected => return None,
    };
    event.outcome.or(implied)
}
