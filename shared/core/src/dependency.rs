//! Jobs that wait for other jobs: what a task may name, and what follows from how those ended.

mod order;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

pub use self::order::in_order;
use crate::{InvalidTask, JobId, JobState, QueueName};

/// The most jobs that one may wait for.
pub const MAX_DEPENDENCIES: usize = 1000;
/// The field of a task that names them.
pub const FIELD: &str = "after";
/// How one is written where it is a text.
pub const EXPECTED: &str =
    "expected <id>[;queue=<queue>][;on=fail|continue|ignore], with commas between several";

/// A job that another one waits for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    /// Its queue; none: that of the job which waits.
    pub queue: Option<QueueName>,
    /// Which.
    pub job_id: JobId,
    /// What follows if it ends otherwise than well.
    pub on_failure: OnFailure,
}

/// What follows for a job from a dependency that did not succeed: dead, cancelled or expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum OnFailure {
    /// The job is dead.
    #[default]
    Fail,
    /// The job starts at once, whatever else it waits for.
    Continue,
    /// The dependency counts as satisfied.
    Ignore,
}

/// How a dependency stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has not ended.
    Open,
    /// It has ended so.
    Ended(JobState),
    /// It has ended, so long ago that nobody knows how.
    Forgotten,
}

/// What the end of one dependency means for the job that waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It has not ended.
    None,
    /// It is no longer waited for.
    Satisfied,
    /// The job starts at once.
    Start,
    /// The job is dead.
    Die,
}

/// What becomes of a job with dependencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It waits for some.
    Waits,
    /// It may start.
    Starts,
    /// It is dead because of this one, counted from 0.
    Dies(usize),
}

// === impl Dependency ===

impl Dependency {
    /// On a job of this queue, with the default policy.
    pub fn new(queue: QueueName, job_id: JobId) -> Self {
        Self { queue: Some(queue), job_id, on_failure: OnFailure::default() }
    }

    /// Its queue, for a job of this queue.
    pub fn queue_or<'a>(&'a self, own: &'a QueueName) -> &'a QueueName {
        self.queue.as_ref().unwrap_or(own)
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.job_id)?;
        if let Some(queue) = &self.queue {
            write!(f, ";queue={queue}")?;
        }
        if self.on_failure != OnFailure::default() {
            write!(f, ";on={}", self.on_failure.as_str())?;
        }
        Ok(())
    }
}

impl FromStr for Dependency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(';').map(str::trim);
        let id = words.next().unwrap_or_default();
        let job_id = id.parse().map_err(|error| format!("{error}: {EXPECTED}"))?;
        let mut read = Self { queue: None, job_id, on_failure: OnFailure::default() };
        let mut seen = HashSet::new();
        for word in words {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            if !seen.insert(name) {
                return Err(format!("`{name}` is given twice: {EXPECTED}"));
            }
            match name {
                "queue" => read.queue = Some(value.parse().map_err(|error| format!("{error}"))?),
                "on" => read.on_failure = value.parse()?,
                _ => return Err(format!("`{}` is not understood: {EXPECTED}", cut(word))),
            }
        }
        Ok(read)
    }
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Reads several with commas between them.
pub fn parse_list(text: &str) -> Result<Vec<Dependency>, String> {
    text.split(',').map(|one| one.trim().parse()).collect()
}

// === impl OnFailure ===

impl OnFailure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fail, Self::Continue, Self::Ignore];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Continue => "continue",
            Self::Ignore => "ignore",
        }
    }

    /// What follows from a dependency that stands so.
    pub fn effect(self, standing: Standing) -> Effect {
        match (standing, self) {
            (Standing::Open, _) => Effect::None,
            (Standing::Ended(JobState::Succeeded), _) | (_, Self::Ignore) => Effect::Satisfied,
            (_, Self::Continue) => Effect::Start,
            (_, Self::Fail) => Effect::Die,
        }
    }
}

impl FromStr for OnFailure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|policy| policy.as_str() == text);
        found.ok_or_else(|| format!("`{}` is no policy: expected fail, continue or ignore", cut(text)))
    }
}

// === impl Standing ===

impl Standing {
    /// For people: what a dependency was found to be.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Open => "has not ended",
            Self::Ended(state) => match state {
                JobState::Dead => "is dead",
                JobState::Cancelled => "was cancelled",
                JobState::Expired => "has expired",
                JobState::Succeeded => "has succeeded",
                _ => "has not ended",
            },
            Self::Forgotten => "ended longer ago than ends are remembered, so it is not known how",
        }
    }
}

/// What becomes of a job whose dependencies are looked at together. One that makes it die counts before one that lets it
/// start; either counts before those that are open.
pub fn readiness(edges: impl IntoIterator<Item = (OnFailure, Standing)>) -> Readiness {
    let (mut open, mut start) = (false, false);
    for (number, (policy, standing)) in edges.into_iter().enumerate() {
        match policy.effect(standing) {
            Effect::Die => return Readiness::Dies(number),
            Effect::Start => start = true,
            Effect::None => open = true,
            Effect::Satisfied => {}
        }
    }
    if start || !open { Readiness::Starts } else { Readiness::Waits }
}

/// Checks what a task of this id and queue waits for.
pub fn check(queue: &QueueName, job_id: JobId, after: &[Dependency]) -> Result<(), InvalidTask> {
    if after.len() > MAX_DEPENDENCIES {
        let reason = format!("names {} jobs: expected at most {MAX_DEPENDENCIES}", after.len());
        return Err(InvalidTask::new(FIELD, reason));
    }
    let mut seen = HashSet::with_capacity(after.len());
    for one in after {
        let of = one.queue_or(queue);
        if (of, one.job_id) == (queue, job_id) {
            return Err(InvalidTask::new(FIELD, format!("names the job itself, {job_id}: expected others")));
        }
        if !seen.insert((of, one.job_id)) {
            return Err(InvalidTask::new(FIELD, format!("names {} of the queue {of} twice", one.job_id)));
        }
    }
    Ok(())
}
