//! How far a schedule has come, and what it did lately.

use jiff::Timestamp;

use crate::{JobId, ScheduleId};

/// How far a schedule has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The latest instant that is done with: fired, recorded as missed, passed over, or waiting.
    pub last_instant: Timestamp,
    /// Instants that its rule has fired.
    pub fires: u64,
    /// Instants that were missed since the schedule was made.
    pub misfires: u64,
    /// Instants that were passed over because the job before was live.
    pub skipped: u64,
    /// What a fire that did not come back may have published.
    pub in_doubt: Option<InDoubt>,
    /// What came up to then came late: the policy for misfires decides about it.
    pub late_through: Option<Timestamp>,
    /// When it fired last, where late instants are paced.
    pub paced_at: Option<Timestamp>,
    /// What fires as soon as it may.
    pub waiting: Vec<Waiting>,
    /// Jobs whose end is not known yet, where the policy asks for it; at most [`Self::MOST_FOLLOWED`].
    pub followed: Vec<Followed>,
    /// Requests up to this one have been taken up.
    pub requests_through: Option<Timestamp>,
    /// The backfill that is being carried out.
    pub backfill: Option<Progress>,
    /// What was done last, the newest at the end; at most [`Self::MOST_RECENT`].
    pub recent: Vec<Past>,
}

/// Instants whose publish was begun, and whose end is not known.
///
/// It is stored before the publish and taken away with the cursor's next step. As the job's id follows from the
/// instant, publishing again is harmless while the broker remembers the job, even if it has ended; later than that it
/// might run a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InDoubt {
    /// The latest of them.
    pub through: Timestamp,
    /// When the first of them was begun.
    pub since: Timestamp,
}

/// An instant that fires later than it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Which.
    pub instant: Timestamp,
    /// Why it fires.
    pub cause: Cause,
    /// Its publish was begun then.
    pub since: Option<Timestamp>,
}

/// A job whose end is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed {
    /// Which.
    pub job_id: JobId,
    /// Where its task stands, or stood, among the tasks: of a job of which nothing else is known this tells whether it
    /// is still to be admitted.
    pub task_sequence: u64,
}

/// Why a schedule makes a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Its rule.
    Rule,
    /// Somebody asked for it at the instant.
    Trigger,
    /// Somebody asked for instants of the past.
    Backfill {
        /// When it was asked for.
        requested_at: Timestamp,
        /// The instant has had a job, which ended or is not to count.
        again: bool,
    },
}

/// How far a backfill has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Which request.
    pub requested_at: Timestamp,
    /// So many of its instants have been published.
    pub done: usize,
    /// The publish of the next ones, up to this number, was begun then.
    pub in_doubt: Option<(usize, Timestamp)>,
    /// Its jobs whose end is not known yet.
    pub live: Vec<Followed>,
}

/// What became of instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// The instant, or the first of several.
    pub instant: Timestamp,
    /// When that was decided.
    pub at: Timestamp,
    /// What.
    pub what: What,
    /// Of how many instants in a row.
    pub count: u64,
}

/// What became of an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// It made a job.
    Fired(Cause),
    /// It came while none could fire, or its fire was in doubt for too long.
    Missed,
    /// The job before was live.
    Skipped,
}

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It has not ended.
    Live,
    /// It has ended, or nothing is known of it any more.
    Ended,
    /// It has ended as dead or expired.
    Failed,
}

// === impl Cause ===

impl Cause {
    /// The job of this cause and instant: the same each time.
    pub fn job_id(self, schedule: &ScheduleId, instant: Timestamp) -> JobId {
        match self {
            Self::Rule | Self::Backfill { again: false, .. } => JobId::of_fire(schedule, instant),
            Self::Trigger => JobId::of_trigger(schedule, instant),
            Self::Backfill { again: true, requested_at } => {
                JobId::of_backfill(schedule, instant, requested_at)
            }
        }
    }

    /// For people, and for spans.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Trigger => "trigger",
            Self::Backfill { .. } => "backfill",
        }
    }
}

// === impl Cursor ===

impl Cursor {
    /// Jobs that are followed at one time; of more the oldest are let go.
    pub const MOST_FOLLOWED: usize = 64;
    /// What is remembered of the past.
    pub const MOST_RECENT: usize = 32;
    /// Instants that wait; more are passed over.
    pub const MOST_WAITING: usize = 1000;

    /// Of a schedule that has done nothing.
    pub const fn at(instant: Timestamp) -> Self {
        Self {
            last_instant: instant,
            fires: 0,
            misfires: 0,
            skipped: 0,
            in_doubt: None,
            late_through: None,
            paced_at: None,
            waiting: Vec::new(),
            followed: Vec::new(),
            requests_through: None,
            backfill: None,
            recent: Vec::new(),
        }
    }

    /// The task of a job was stored under this sequence.
    pub fn stored(&mut self, job_id: JobId, task_sequence: u64) {
        let backfilled = self.backfill.iter_mut().flat_map(|progress| &mut progress.live);
        for followed in
            self.followed.iter_mut().chain(backfilled).filter(|followed| followed.job_id == job_id)
        {
            followed.task_sequence = task_sequence;
        }
    }

    /// Every job whose end is to be looked for.
    pub fn unknown(&self) -> impl Iterator<Item = &Followed> {
        self.followed.iter().chain(self.backfill.iter().flat_map(|progress| &progress.live))
    }

    pub(super) fn follow(&mut self, job_id: JobId) {
        self.followed.retain(|other| other.job_id != job_id);
        self.followed.push(Followed { job_id, task_sequence: 0 });
        let excess = self.followed.len().saturating_sub(Self::MOST_FOLLOWED);
        self.followed.drain(..excess);
    }

    pub(super) fn miss(&mut self, instant: Timestamp, at: Timestamp) {
        self.misfires = self.misfires.saturating_add(1);
        self.remember(instant, at, What::Missed);
    }

    pub(super) fn skip(&mut self, instant: Timestamp, at: Timestamp) {
        self.skipped = self.skipped.saturating_add(1);
        self.remember(instant, at, What::Skipped);
    }

    pub(super) fn remember(&mut self, instant: Timestamp, at: Timestamp, what: What) {
        match self.recent.last_mut() {
            Some(last) if last.what == what && !matches!(what, What::Fired(_)) => {
                last.count += 1;
                last.at = at;
            }
            _ => self.recent.push(Past { instant, at, what, count: 1 }),
        }
        let excess = self.recent.len().saturating_sub(Self::MOST_RECENT);
        self.recent.drain(..excess);
    }
}
