//! Schedules: which instants a rule names, and which of them to fire after a pause of the scheduler.

mod cron;
mod cursor;
mod due;
mod exclusions;
mod interval;
mod policy;
mod rule;
mod upcoming;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use cron::{Cron, Zone};
pub use cursor::{Cause, Cursor, Fate, Followed, InDoubt, Past, Progress, Waiting, What};
pub use due::{CatchUp, Fates, Fire, Step};
pub use exclusions::{Exclusions, MAX_EXCLUSIONS};
pub use interval::Interval;
pub use policy::{Misfire, Overlap, Policy};
pub use rule::{MAX_RULES, Rule, Spec};
pub use upcoming::{Ends, Upcoming};

use crate::{JobId, Kind, Priority, QueueName, RetryPolicy, ScheduleId, Task};

/// A rule that publishes tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule<P> {
    /// Names it among all schedules.
    pub id: ScheduleId,
    /// Where its tasks go.
    pub queue: QueueName,
    /// What it publishes.
    pub task: Template<P>,
    /// When.
    pub spec: Spec,
    /// What it does when it does not go as planned.
    pub policy: Policy,
    /// While this lasts, it fires nothing but what is asked for.
    pub pause: Option<Pause>,
    /// When it was made, given another rule or resumed: instants up to then are never made up for.
    pub created_at: Timestamp,
    /// What was asked for, in order of time.
    pub requests: Vec<Request>,
    /// Who changed what, the last at the end; at most [`MOST_EDITS`].
    pub edits: Vec<Edit>,
}

/// Why a schedule does not fire.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pause {
    /// For people.
    pub note: String,
    /// It ends by itself then.
    pub until: Option<Timestamp>,
}

/// Something that somebody asked a schedule for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// When; no two requests of a schedule have the same.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What.
    pub wish: Wish,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// A job now.
    Trigger,
    /// Jobs of instants of the past.
    Backfill(Backfill),
}

/// Jobs of instants of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfill {
    /// In the order in which they are to be made.
    pub instants: Vec<Timestamp>,
    /// So many of its jobs may be live at one time.
    pub concurrency: usize,
    /// The instants have had jobs: these are further ones.
    pub again: bool,
}

/// A change of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// When.
    pub at: Timestamp,
    /// Who, as told.
    pub by: String,
    /// What.
    pub what: String,
    /// In which it was made.
    pub trace: Option<crate::trace::TraceParent>,
}

/// Changes that are remembered with a schedule.
pub const MOST_EDITS: usize = 20;
/// Instants of one backfill.
pub const MOST_BACKFILLED: usize = 10_000;

/// Whether what waits can fire is looked at so often.
const LOOK_AT_WAITING: SignedDuration = SignedDuration::from_millis(500);
/// Whether a job has failed.
const LOOK_AT_JOBS: SignedDuration = SignedDuration::from_secs(5);

/// A task without its id and its start: each fire gives both.
#[derive(Debug, Clone, PartialEq)]
pub struct Template<P> {
    /// Chooses the handler.
    pub kind: Kind,
    /// What the handler works on.
    pub payload: P,
    /// Of the payload.
    pub content_type: String,
    /// Among the jobs of its queue.
    pub priority: Priority,
    /// The fleet's default, if none.
    pub retry: Option<RetryPolicy>,
    /// Time allowed for one attempt; the fleet's default, if none.
    pub attempt_timeout: Option<Duration>,
    /// Time allowed to wait for the first attempt; for ever, if none.
    pub max_wait: Option<Duration>,
}

/// A part of a rule is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {}", self.reason())]
pub struct Error {
    /// Which part, as `cron.hour`.
    pub field: &'static str,
    /// What it was, cut to a length that can be shown.
    pub value: String,
    /// What it must be.
    pub expected: String,
    /// Where in a text it stands.
    pub place: Option<Place>,
}

/// A place in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The character, from 1.
    pub character: usize,
    /// The text, cut to a length that can be shown.
    pub text: String,
}

// === impl Pause ===

impl Pause {
    /// Whether it lasts.
    pub fn lasts(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

// === impl Schedule ===

impl<P> Schedule<P> {
    /// Whether its rule fires nothing now.
    pub fn is_paused(&self, now: Timestamp) -> bool {
        self.pause.as_ref().is_some_and(|pause| pause.lasts(now))
    }

    /// When an instant fires: it, and a part of the jitter.
    pub fn fires_at(&self, instant: Timestamp) -> Timestamp {
        self.spec.fires_at(&self.id, instant)
    }

    /// The instant after which it is to fire: those up to it are done with.
    fn start(&self, cursor: Option<&Cursor>, now: Timestamp) -> Timestamp {
        let resumed = self.pause.as_ref().filter(|pause| !pause.lasts(now)).and_then(|pause| pause.until);
        let start = cursor.map_or(self.created_at, |cursor| cursor.last_instant.max(self.created_at));
        resumed.map_or(start, |resumed| start.max(resumed))
    }

    /// The instant that its rule fires next, which may have passed; none while it is paused, and after its last.
    pub fn next(&self, cursor: Option<&Cursor>, now: Timestamp) -> Option<Timestamp> {
        let is_exhausted = self.policy.limit.is_some_and(|limit| cursor.is_some_and(|c| c.fires >= limit));
        if is_exhausted || self.is_paused(now) {
            return None;
        }
        self.spec.next_after(self.start(cursor, now))
    }

    /// When there is something to do next; it may have passed.
    pub fn next_wake(&self, cursor: Option<&Cursor>, now: Timestamp) -> Option<Timestamp> {
        let taken_up = cursor.and_then(|cursor| cursor.requests_through);
        // A backfill waits for the one before.
        let is_busy = cursor.is_some_and(|cursor| cursor.backfill.is_some());
        let first = self.requests.iter().find(|request| taken_up.is_none_or(|through| request.at > through));
        if first.is_some_and(|request| !is_busy || request.wish == Wish::Trigger) {
            return Some(Timestamp::MIN);
        }
        let soon = |after| now.checked_add(after).unwrap_or(Timestamp::MAX);
        let mut wakes = Vec::with_capacity(4);
        if let Some(instant) = self.next(cursor, now) {
            let due_at = self.fires_at(instant);
            let paced = cursor.and_then(|c| c.paced_at).filter(|_| self.policy.misfire == Misfire::Paced);
            let paced = paced.map(|at| at.checked_add(self.policy.pace).unwrap_or(Timestamp::MAX));
            wakes.push(paced.map_or(due_at, |paced| paced.max(due_at)));
        }
        if self.is_paused(now) {
            wakes.extend(self.pause.as_ref().and_then(|pause| pause.until));
        }
        if let Some(cursor) = cursor {
            if cursor.waiting.iter().any(|w| w.cause == Cause::Trigger || !self.is_paused(now)) {
                wakes.push(soon(LOOK_AT_WAITING));
            }
            if cursor.backfill.is_some() {
                wakes.push(soon(LOOK_AT_WAITING));
            }
            if self.policy.pause_on_failure && !cursor.followed.is_empty() {
                wakes.push(soon(LOOK_AT_JOBS));
            }
        }
        wakes.into_iter().min()
    }

    /// What to do now: see [`Step`].
    ///
    /// `fates` says what became of jobs that the cursor names. Looks at no more than `limit` instants (at least one),
    /// so that the work of one call is bounded after any downtime.
    pub fn step(
        &self,
        cursor: Option<&Cursor>,
        fates: Fates<'_>,
        now: Timestamp,
        catch_up: &CatchUp,
        limit: usize,
    ) -> Step {
        due::decide(self, cursor, fates, now, catch_up, limit)
    }
}

impl<P: Clone> Schedule<P> {
    /// The task of this instant: the same id each time.
    pub fn task_at(&self, instant: Timestamp) -> Task<P> {
        self.task_of(JobId::of_fire(&self.id, instant))
    }

    /// The task that makes this job.
    pub fn task_of(&self, id: JobId) -> Task<P> {
        Task {
            content_type: self.task.content_type.clone(),
            priority: self.task.priority,
            retry: self.task.retry.clone(),
            attempt_timeout: self.task.attempt_timeout,
            max_wait: self.task.max_wait,
            schedule_id: Some(self.id.clone()),
            ..Task::new(id, self.task.kind.clone(), self.task.payload.clone())
        }
    }
}

// === impl Error ===

/// Of what is shown of a wrong text, in characters.
const SHOWN: usize = 200;

impl Error {
    fn new(field: &'static str, value: &str, expected: impl Into<String>) -> Self {
        Self { field, value: value.chars().take(80).collect(), expected: expected.into(), place: None }
    }

    fn at_character(self, character: usize, text: &str) -> Self {
        // One line, in which each character keeps its place.
        let text = text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { place: Some(Place { character, text }), ..self }
    }

    /// What it is and what was expected, without the field.
    pub fn reason(&self) -> String {
        let Self { value, expected, .. } = self;
        match &self.place {
            None => format!("is `{value}`: expected {expected}"),
            Some(Place { character, text }) => {
                format!("is `{value}` at character {character} of `{text}`: expected {expected}")
            }
        }
    }

    /// The text, and under it a mark at the character, where there is a place.
    pub fn marked(&self) -> Option<String> {
        let Place { character, text } = self.place.as_ref()?;
        Some(format!("{text}\n{}^", " ".repeat(character.saturating_sub(1))))
    }
}
