//! Attempts and how they end.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use crate::fingerprint::fingerprint;

/// How an attempt ended. As JSON it is its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", from = "String")]
pub enum Outcome {
    /// The handler returned a result.
    Succeeded,
    /// The handler returned an error, or panicked.
    Failed,
    /// The handler took longer than an attempt may.
    TimedOut,
    /// An operator ended the job while it ran.
    Cancelled,
    /// Its worker was lost: uses no attempt of the policy.
    Crashed,
    /// Its worker was told to stop: uses no attempt of the policy.
    HandedBack,
    /// The handler asked to run again later: uses no attempt of the policy.
    Snoozed,
    /// A newer version wrote this number, and knows what it means. Here it is carried on, and decides nothing.
    Unknown(i32),
}

impl Outcome {
    /// Those that this version knows.
    pub const KNOWN: [Self; 7] = [
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Crashed,
        Self::HandedBack,
        Self::Snoozed,
    ];

    /// Whether this version knows what it means.
    pub const fn is_known(self) -> bool {
        !matches!(self, Self::Unknown(_))
    }

    /// Whether the retry policy counts it.
    pub const fn counts(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }

    /// The word for it, the same in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Crashed => "crashed",
            Self::HandedBack => "handed_back",
            Self::Snoozed => "snoozed",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl From<Outcome> for &'static str {
    fn from(outcome: Outcome) -> Self {
        outcome.as_str()
    }
}

/// A word has lost the number, which only messages have.
impl From<String> for Outcome {
    fn from(word: String) -> Self {
        Self::KNOWN.into_iter().find(|known| known.as_str() == word).unwrap_or(Self::Unknown(-1))
    }
}

/// Why an attempt or a job failed. As JSON it also has its `fingerprint`, which is derived and not read back.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct JobError {
    /// For people.
    pub message: String,
    /// A short stable word to group by: `handler`, `panic`, `timeout`, `unknown_kind`, …
    pub code: String,
    /// No retry can help.
    pub terminal: bool,
}

/// One execution of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// The worker's id; empty where a crash hid it.
    pub worker: String,
    /// Where it is known.
    pub started_at: Option<Timestamp>,
    /// When it ended, or was found to have.
    pub ended_at: Timestamp,
    /// How.
    pub outcome: Outcome,
    /// Why, where it did not succeed.
    pub error: Option<JobError>,
    /// It ran with no neighbour in its process, see [`runs_alone`](crate::settle::runs_alone).
    #[serde(default)]
    pub alone: bool,
    /// Which of those that the policy counts, from 1; 0 where it does not, or is not known. Set by [`push_bounded`], so
    /// that what has left the history is counted still.
    #[serde(skip)]
    pub failure: u32,
}

// === impl JobError ===

impl JobError {
    /// The same for errors that are alike, see [`crate::fingerprint`].
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.code, &self.message)
    }
}

impl Serialize for JobError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "JobError")]
        struct Shown<'a> {
            message: &'a str,
            code: &'a str,
            terminal: bool,
            fingerprint: String,
        }
        let Self { message, code, terminal } = self;
        Shown { message, code, terminal: *terminal, fingerprint: self.fingerprint() }.serialize(serializer)
    }
}

/// The number of the attempt that follows these.
pub fn next_number(attempts: &[Attempt]) -> u32 {
    attempts.iter().map(|a| a.number).max().unwrap_or(0) + 1
}

/// How many of them the retry policy counts, those that have left the history included.
pub fn failures(attempts: &[Attempt]) -> u32 {
    let here = attempts.iter().filter(|a| a.outcome.counts()).count();
    let ever = attempts.iter().map(|a| a.failure).max().unwrap_or(0);
    u32::try_from(here).unwrap_or(u32::MAX).max(ever)
}

/// How many of them lost their worker.
pub fn crashes(attempts: &[Attempt]) -> usize {
    attempts.iter().filter(|a| a.outcome == Outcome::Crashed).count()
}

/// How many of them lost their worker while no other job ran in its process.
pub fn crashes_alone(attempts: &[Attempt]) -> usize {
    attempts.iter().filter(|a| a.outcome == Outcome::Crashed && a.alone).count()
}

/// The most entries of an attempt history that travel with a job, so that a job's messages stay bounded however
/// often it is snoozed or crashes.
pub const HISTORY_LIMIT: usize = 100;

/// Adds an attempt; past [`HISTORY_LIMIT`] the oldest snooze or hand-back makes room, else the oldest crash, and only
/// when the policy counts all, the oldest of them. Everything that was dropped is still told by the job's events.
pub fn push_bounded(attempts: &mut Vec<Attempt>, mut attempt: Attempt) {
    attempt.failure = if attempt.outcome.counts() { failures(attempts) + 1 } else { 0 };
    attempts.push(attempt);
    if attempts.len() > HISTORY_LIMIT {
        let decides_nothing = |a: &Attempt| matches!(a.outcome, Outcome::Snoozed | Outcome::HandedBack);
        let oldest = attempts
            .iter()
            .position(decides_nothing)
            .or_else(|| attempts.iter().position(|a| !a.outcome.counts()))
            .unwrap_or(0);
        attempts.remove(oldest);
    }
}

/// These without what their errors said, for a record that would be too large with it: their outcomes, codes and
/// times are what decides, and their events have told the rest.
pub fn without_messages(attempts: &[Attempt]) -> Vec<Attempt> {
    let mut attempts = attempts.to_vec();
    for error in attempts.iter_mut().filter_map(|attempt| attempt.error.as_mut()) {
        LEFT_OUT.clone_into(&mut error.message);
    }
    attempts
}

const LEFT_OUT: &str = "left out: the record would have been too large";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_its_word() {
        for outcome in Outcome::KNOWN {
            let json = serde_json::to_value(outcome).unwrap();
            assert_eq!(json, outcome.as_str());
            assert_eq!(serde_json::from_value::<Outcome>(json).unwrap(), outcome);
        }
        assert_eq!(serde_json::to_value(Outcome::Unknown(9)).unwrap(), "unknown");
        assert!(!serde_json::from_value::<Outcome>("deferred".into()).unwrap().is_known());
    }
}
