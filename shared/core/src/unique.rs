//! Uniqueness: of the tasks under one key, at most one has a job that counts.
//!
//! A marker in the stream of jobs names the job that holds a key. It is moved in the one write that makes a job, so of
//! rivals exactly one wins. It is a pointer and no lock: whether its job still counts is decided anew each time, from
//! what the job's own messages show. So a marker that nobody has removed refuses nobody.
//!
//! Debounce and throttle are the same mechanism: a job that waits is replaced, and the rule says when the new one runs.

mod aggregate;
mod fields;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;

pub use self::aggregate::{Aggregate, Gathered, collect, group_token};
pub use self::fields::Field;
use crate::flow::FlowKey;
use crate::{InvalidTask, JobState, Kind, Start, Task};

/// What a publisher asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unique {
    /// Under what.
    pub of: Of,
    /// In which states another job counts; empty: in all in which it has not ended.
    pub states: Vec<JobState>,
    /// How long its own job counts from its acceptance, ended or not; none: as long as its state says.
    pub lasts: Option<Duration>,
    /// What becomes of the two.
    pub on_conflict: OnConflict,
    /// With replace: the job starts no later than this after the first of those that replaced each other was accepted.
    pub max_delay: Option<Duration>,
    /// With replace: at most one job starts in each such time, and who replaces one that waits takes its instant.
    pub period: Option<Duration>,
}

/// What is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// A text of the publisher's, within the queue, whatever the kind.
    Key(FlowKey),
    /// These fields of the task.
    Fields(Vec<Field>),
}

/// What becomes of a task whose key is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// It makes no job.
    #[default]
    Reject,
    /// The job that waits is ended in its favour. One that runs already goes on, and the new one is made beside it.
    Replace,
    /// It makes no job; the earlier of both instants is in force.
    KeepEarlier,
}

/// Why a task has no job of its own, or its job was ended for another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Instead {
    /// Its key was taken.
    Refused,
    /// The other job stands for it as well.
    Merged,
    /// The other job was made in its place.
    Replaced,
}

/// Who holds a key, as its marker and its job's messages show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// None: it has ended.
    pub state: Option<JobState>,
    /// When the first of those that replaced each other was accepted.
    pub since: Timestamp,
    /// From when it may, or might, run.
    pub due_at: Timestamp,
    /// Until when it counts, ended or not.
    pub until: Option<Timestamp>,
}

/// A task that wants a key.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// As it says.
    pub unique: &'a Unique,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When the first was accepted of those that it replaces at once, as they have no job yet; else as above.
    pub first_at: Timestamp,
    /// From when it may run.
    pub due_at: Timestamp,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It gets a job, and the key. Who held it goes on, if it has not ended.
    Make {
        /// From when it may run.
        due_at: Timestamp,
        /// For the marker.
        since: Timestamp,
    },
    /// The same, and who held it is ended.
    Replace {
        /// From when it may run.
        due_at: Timestamp,
        /// For the marker.
        since: Timestamp,
    },
    /// It gets none.
    Refuse,
    /// It gets none, and who holds the key stands for it.
    Merge,
    /// The same, and who holds the key may run from this instant.
    Advance {
        /// The earlier of both.
        due_at: Timestamp,
    },
}

// === impl Unique ===

impl Unique {
    /// Under a key of the publisher's: another task of it is refused while the job lives.
    pub fn key(key: FlowKey) -> Self {
        Self {
            of: Of::Key(key),
            states: Vec::new(),
            lasts: None,
            on_conflict: OnConflict::Reject,
            max_delay: None,
            period: None,
        }
    }

    /// The key itself. Fields are read from the task's plain payload.
    pub fn resolve<P: AsRef<[u8]>>(&self, task: &Task<P>) -> Result<FlowKey, InvalidTask> {
        match &self.of {
            Of::Key(key) => Ok(key.clone()),
            Of::Fields(fields) => fields::derive(fields, task),
        }
    }

    /// Whether it matters if a job that was delivered perhaps runs, or waits for a worker.
    pub fn tells_running(&self) -> bool {
        let of = |state| self.states.contains(&state);
        self.on_conflict == OnConflict::Replace || of(JobState::Queued) != of(JobState::Running)
    }

    /// Until when a job that is accepted now counts at least.
    pub fn until(&self, accepted_at: Timestamp) -> Option<Timestamp> {
        self.lasts.map(|lasts| after(accepted_at, lasts))
    }

    /// Until when the marker of a job that may run from this instant is to be kept, whatever the job.
    pub fn window_until(&self, due_at: Timestamp) -> Option<Timestamp> {
        self.period.map(|period| after(due_at, period))
    }

    /// From when a task may run. A delay before a replacement is counted from its admission: if that came late, others
    /// that came meanwhile are about to follow.
    pub fn due_at(&self, start: Start, accepted_at: Timestamp, now: Timestamp) -> Timestamp {
        match start {
            Start::After(_) if self.on_conflict == OnConflict::Replace => start.due_at(accepted_at.max(now)),
            _ => start.due_at(accepted_at),
        }
    }

    /// Not later than the longest wait allows, and not before the acceptance.
    fn bounded(&self, due_at: Timestamp, first_at: Timestamp, accepted_at: Timestamp) -> Timestamp {
        match self.max_delay {
            Some(max) => due_at.min(after(first_at, max)).max(accepted_at),
            None => due_at,
        }
    }

    /// Checks what concerns more than one field. `max` bounds every time.
    pub fn check(&self, start: Start, max: Duration) -> Result<(), InvalidTask> {
        let times = [
            ("unique.for", self.lasts),
            ("unique.max_delay", self.max_delay),
            ("unique.period", self.period),
        ];
        for (field, time) in times {
            if let Some(time) = time.filter(|time| time.is_zero() || *time > max) {
                return Err(out_of_range(field, time, max));
            }
        }
        if let Of::Fields(fields) = &self.of
            && fields.is_empty()
        {
            return Err(InvalidTask::new("unique.over", "is empty: expected at least one field"));
        }
        for (index, state) in self.states.iter().enumerate() {
            if state.is_terminal() {
                let reason = format!(
                    "{state} is an end: expected scheduled, held, queued, running or retrying; `for` has a job count \
                     after its end"
                );
                return Err(InvalidTask::new("unique.states", reason));
            }
            if self.states[..index].contains(state) {
                return Err(InvalidTask::new("unique.states", format!("{state} is named twice")));
            }
        }
        let replaces = self.on_conflict == OnConflict::Replace;
        if self.lasts.is_some() && replaces {
            let reason = "stands beside on_conflict = replace: a job that has ended cannot be replaced";
            return Err(InvalidTask::new("unique.for", reason));
        }
        if self.max_delay.is_some() && !replaces {
            let reason = format!("goes with on_conflict = replace, and it is {}", self.on_conflict.as_str());
            return Err(InvalidTask::new("unique.max_delay", reason));
        }
        if self.period.is_some() && !replaces {
            let reason = format!("goes with on_conflict = replace, and it is {}", self.on_conflict.as_str());
            return Err(InvalidTask::new("unique.period", reason));
        }
        if self.period.is_some() && self.max_delay.is_some() {
            return Err(InvalidTask::new("unique.max_delay", "stands beside period: expected one of them"));
        }
        if self.period.is_some() && start != Start::Now {
            let field = if matches!(start, Start::At(_)) { "run_at" } else { "delay" };
            return Err(InvalidTask::new(field, "stands beside unique.period, which says when it starts"));
        }
        if let (Start::After(delay), Some(max_delay)) = (start, self.max_delay)
            && max_delay < delay
        {
            let reason = format!(
                "is {} s, less than the delay: expected {} s at least",
                max_delay.as_secs_f64(),
                delay.as_secs_f64()
            );
            return Err(InvalidTask::new("unique.max_delay", reason));
        }
        Ok(())
    }

    fn counts(&self, standing: &Standing, now: Timestamp) -> bool {
        let by_state =
            standing.state.is_some_and(|state| self.states.is_empty() || self.states.contains(&state));
        by_state || standing.until.is_some_and(|until| now < until)
    }
}

/// What becomes of a task, by who holds its key now, if anybody does.
pub fn decide(wish: &Wish<'_>, standing: Option<&Standing>, now: Timestamp) -> Decision {
    let Wish { unique, accepted_at, first_at, due_at } = *wish;
    let due_at = unique.bounded(due_at, first_at, accepted_at);
    let fresh = Decision::Make { due_at, since: first_at };
    let Some(standing) = standing else { return fresh };
    match unique.on_conflict {
        OnConflict::Replace => replace(wish, standing, now),
        _ if !unique.counts(standing, now) => fresh,
        OnConflict::Reject => Decision::Refuse,
        OnConflict::KeepEarlier => match standing.state {
            None => Decision::Refuse,
            Some(JobState::Scheduled) if due_at < standing.due_at => Decision::Advance { due_at },
            Some(_) => Decision::Merge,
        },
    }
}

fn replace(wish: &Wish<'_>, standing: &Standing, now: Timestamp) -> Decision {
    let Wish { unique, accepted_at, first_at, due_at } = *wish;
    let waits = standing.state.is_some_and(|state| state != JobState::Running);
    if waits && unique.counts(standing, now) {
        let since = standing.since;
        let due_at = match unique.period {
            Some(_) => standing.due_at.max(accepted_at),
            None => unique.bounded(due_at, since, accepted_at),
        };
        return Decision::Replace { due_at, since };
    }
    let due_at = match unique.period {
        Some(period) => due_at.max(after(standing.due_at, period)),
        None => unique.bounded(due_at, first_at, accepted_at),
    };
    Decision::Make { due_at, since: first_at }
}

/// Whether a marker may go: its job has ended, and nothing else has it count.
pub fn is_spent(has_ended: bool, until: [Option<Timestamp>; 2], now: Timestamp) -> bool {
    has_ended && until.into_iter().flatten().all(|until| until <= now)
}

fn after(at: Timestamp, time: Duration) -> Timestamp {
    at.saturating_add(time).unwrap_or(Timestamp::MAX)
}

fn out_of_range(field: &'static str, time: Duration, max: Duration) -> InvalidTask {
    let reason = format!("is {} s: expected more than 0 and at most {} s", time.as_secs_f64(), max.as_secs());
    InvalidTask::new(field, reason)
}

/// Checks what a task says of uniqueness and aggregation together.
pub(crate) fn check<P: AsRef<[u8]>>(task: &Task<P>, max: Duration) -> Result<(), InvalidTask> {
    if let Some(unique) = &task.unique {
        unique.check(task.start, max)?;
        unique.resolve(task)?;
    }
    let Some(aggregate) = &task.aggregate else { return Ok(()) };
    if task.unique.is_some() {
        return Err(InvalidTask::new("aggregate", "stands beside unique: expected one of them"));
    }
    aggregate.check(task, max)
}

// === impl OnConflict ===

impl OnConflict {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Reject, Self::Replace, Self::KeepEarlier];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Replace => "replace",
            Self::KeepEarlier => "keep_earlier",
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.as_str() == word)
    }
}

// === impl Instead ===

impl Instead {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Refused, Self::Merged, Self::Replaced];

    /// The code of the error of a job that ends so.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Refused => "unique",
            Self::Merged => "merged",
            Self::Replaced => "replaced",
        }
    }

    /// By that code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|instead| instead.code() == code)
    }

    /// For people: what the other job is to it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Refused => "its unique key is held by the job",
            Self::Merged => "it was merged into the job",
            Self::Replaced => "it was replaced by the job",
        }
    }
}

/// Reads the states in which another job counts.
pub fn states<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Vec<JobState>, InvalidTask> {
    let state = |word: &str| {
        let unknown = || {
            let shown: String = word.chars().take(32).collect();
            let reason =
                format!("`{shown}` is no state: expected scheduled, held, queued, running or retrying");
            InvalidTask::new("unique.states", reason)
        };
        word.parse::<JobState>().map_err(|_| unknown())
    };
    words.into_iter().map(state).collect()
}

/// Reads the fields that a key is made of.
pub fn fields<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Vec<Field>, InvalidTask> {
    words.into_iter().map(Field::read).collect()
}

/// Names a kind in an error.
pub(crate) fn of_kind(kind: &Kind) -> String {
    format!("tasks of the kind {kind}")
}
