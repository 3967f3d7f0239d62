//! Sums over the jobs: how many stand where, and what happened in each minute.
//!
//! What a job adds is a function of how it stands. So when it moves, what it added before is taken away and what it adds
//! now is added; events that come twice or in any order lead to the same sums, and so does a rebuild.

use std::collections::HashMap;
use std::sync::LazyLock;

use jiff::Timestamp;
use windlass_core::history::{AttemptView, JobView, state_at};
use windlass_core::{JobState, Outcome};

use super::batch::Insert;
use super::batch::Type::{Int, Text};
use super::database::Connection;
use super::project::Job;
use super::write::ready_at;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// Jobs that were accepted.
    Accepted,
    /// Jobs that ended so.
    Ended(JobState),
    /// Attempts that ended so.
    Attempt(Outcome),
    /// How long jobs waited before their latest attempt, by its beginning.
    Wait,
    /// How long attempts ran, by their end.
    Run,
    /// How long it took jobs that failed at first to succeed, from their first failure on.
    Recovery,
}

static ADD_COUNTS: LazyLock<Insert<3>> = LazyLock::new(|| {
    let columns = [("queue", Text), ("state", Text), ("jobs", Int)];
    let add = "ON CONFLICT (queue, state) DO UPDATE SET jobs = counts.jobs + excluded.jobs";
    Insert::new("counts", columns, add)
});
static ADD_FIGURES: LazyLock<Insert<6>> = LazyLock::new(|| sums("figures", "minute"));
static ADD_FIVES: LazyLock<Insert<4>> = LazyLock::new(|| {
    let columns = [("five", Int), ("what", Text), ("bucket", Int), ("count", Int)];
    let add = "ON CONFLICT (five, what, bucket) DO UPDATE SET count = figures_by_five.count + excluded.count";
    Insert::new("figures_by_five", columns, add)
});
static ADD_HOURS: LazyLock<Insert<6>> = LazyLock::new(|| sums("figures_by_hour", "hour"));
static ADD_DAYS: LazyLock<Insert<6>> = LazyLock::new(|| sums("figures_by_day", "day"));

/// Adds to the sums of a table.
fn sums(table: &str, time: &'static str) -> Insert<6> {
    let columns =
        [(time, Int), ("queue", Text), ("kind", Text), ("what", Text), ("bucket", Int), ("count", Int)];
    let add = format!("DO UPDATE SET count = {table}.count + excluded.count");
    Insert::new(table, columns, &format!("ON CONFLICT ({time}, queue, kind, what, bucket) {add}"))
}

/// A time, a queue, a kind, what happened and for about how long; and how often.
type Sums<'a> = HashMap<(i64, &'a str, &'a str, What, i64), i64>;

/// All queues together, where sums of hours are kept.
pub(super) const ALL_QUEUES: &str = "";

// === impl What ===

impl What {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Ended(state) => state.as_str(),
            Self::Attempt(Outcome::Succeeded) => "attempt_succeeded",
            Self::Attempt(Outcome::Failed) => "attempt_failed",
            Self::Attempt(Outcome::TimedOut) => "attempt_timed_out",
            Self::Attempt(Outcome::Cancelled) => "attempt_cancelled",
            Self::Attempt(Outcome::Crashed) => "attempt_crashed",
            Self::Attempt(Outcome::HandedBack) => "attempt_handed_back",
            Self::Attempt(Outcome::Snoozed) => "attempt_snoozed",
            Self::Attempt(_) => "attempt_unknown",
            Self::Wait => "wait",
            Self::Run => "run",
            Self::Recovery => "recovery",
        }
    }
}

/// Adds what these jobs changed.
pub(super) async fn store(on: &mut Connection<'_>, jobs: &[Job]) -> Result<(), sqlx::Error> {
    let mut counts = HashMap::<(&str, JobState), i64>::new();
    let mut figures = Sums::new();
    for job in jobs {
        for (view, sign) in [(&job.before, -1), (&job.after, 1)] {
            let Some(view) = view else { continue };
            let queue = job.queue.as_str();
            *counts.entry((queue, view.state)).or_default() += sign;
            each(view, |at, what, bucket| {
                *figures.entry((minute(at), queue, view.kind.as_str(), what, bucket)).or_default() += sign;
            });
        }
    }
    let counts = changed(counts, |(queue, state)| (*queue, state.as_str()));
    ADD_COUNTS
        .execute(on, &counts, |((queue, state), count)| {
            [(*queue).into(), state.as_str().into(), (*count).into()]
        })
        .await?;
    let (mut hours, mut days) = (Sums::new(), Sums::new());
    let mut fives = HashMap::<(i64, What, i64), i64>::new();
    for ((minute, queue, kind, what, bucket), count) in &figures {
        let (hour, day) = (minute.div_euclid(HOUR), minute.div_euclid(DAY));
        *fives.entry((minute.div_euclid(FIVE), *what, *bucket)).or_default() += count;
        *hours.entry((hour, queue, kind, *what, *bucket)).or_default() += count;
        *hours.entry((hour, ALL_QUEUES, "", *what, *bucket)).or_default() += count;
        *days.entry((day, queue, kind, *what, *bucket)).or_default() += count;
    }
    let fives = changed(fives, |(five, what, bucket)| (*five, what.as_str(), *bucket));
    ADD_FIVES
        .execute(on, &fives, |((five, what, bucket), count)| {
            [(*five).into(), what.as_str().into(), (*bucket).into(), (*count).into()]
        })
        .await?;
    // Hours are kept by queue first.
    let all = [(&ADD_FIGURES, figures, false), (&ADD_HOURS, hours, true), (&ADD_DAYS, days, false)];
    for (add, sums, by_queue) in all {
        let sums = changed(sums, |(time, queue, kind, what, bucket)| {
            let (first, then) = if by_queue { (0, *time) } else { (*time, 0) };
            (first, *queue, then, *kind, what.as_str(), *bucket)
        });
        add.execute(on, &sums, |((time, queue, kind, what, bucket), count)| {
            let (queue, kind) = ((*queue).into(), (*kind).into());
            [(*time).into(), queue, kind, what.as_str().into(), (*bucket).into(), (*count).into()]
        })
        .await?;
    }
    Ok(())
}

/// What is not zero, in the order of the table's key, so that rows that stand side by side are written one after another.
fn changed<K, O: Ord>(sums: HashMap<K, i64>, order: impl Fn(&K) -> O) -> Vec<(K, i64)> {
    let mut sums: Vec<_> = sums.into_iter().filter(|(_, count)| *count != 0).collect();
    sums.sort_unstable_by_key(|(key, _)| order(key));
    sums
}

/// In minutes.
pub(super) const FIVE: i64 = 5;
/// In minutes.
pub(super) const HOUR: i64 = 60;
/// In minutes.
pub(super) const DAY: i64 = 24 * HOUR;

/// Sums over a time, taken from the longest parts that lie within it: whole days, hours at its ends, and minutes at theirs.
/// From each one up to, and without, the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pieces {
    pub(super) minutes: [(i64, i64); 2],
    pub(super) hours: [(i64, i64); 2],
    pub(super) days: (i64, i64),
}

// === impl Pieces ===

impl Pieces {
    /// From this minute up to that.
    pub(super) fn of(first: i64, end: i64) -> Self {
        let split = |first: i64, end: i64, length: i64| {
            let (from, to) = (-(-first).div_euclid(length), end.div_euclid(length));
            if from < to {
                ([(first, from * length), (to * length, end)], (from, to))
            } else {
                ([(first, end), (0, 0)], (0, 0))
            }
        };
        let (minutes, (from, to)) = split(first, end, HOUR);
        let (hours, days) = split(from, to, DAY / HOUR);
        Self { minutes, hours, days }
    }
}

/// What a job adds.
fn each(view: &JobView, mut add: impl FnMut(Timestamp, What, i64)) {
    if let Some(at) = view.accepted_at {
        add(at, What::Accepted, 0);
    }
    if let Some(at) = view.ended_at {
        add(at, What::Ended(view.state), 0);
    }
    for attempt in &view.attempts {
        let (Some(at), Some(outcome)) = (attempt.ended_at, attempt.outcome) else { continue };
        // Numbers of later versions are one of them.
        add(
            at,
            What::Attempt(if let Outcome::Unknown(_) = outcome { Outcome::Unknown(0) } else { outcome }),
            0,
        );
        if let Some(began) = attempt.started_at {
            add(at, What::Run, bucket(began, at));
        }
    }
    let failed = |attempt: &&AttemptView| {
        matches!(attempt.outcome, Some(Outcome::Failed | Outcome::TimedOut | Outcome::Crashed))
    };
    let first_failure = view.attempts.iter().find(failed).and_then(|attempt| attempt.ended_at);
    if let (JobState::Succeeded, Some(at), Some(failed_at)) = (view.state, view.ended_at, first_failure) {
        add(at, What::Recovery, bucket(failed_at, at));
    }
    let waits = state_at(view.state, view.due_at, Timestamp::MAX) == JobState::Queued;
    if let Some(began) = view.attempts.last().and_then(|attempt| attempt.started_at).filter(|_| !waits)
        && let Some(ready) = ready_at(view)
    {
        add(began, What::Wait, bucket(ready, began));
    }
}

/// Minutes since 1970.
pub(super) fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

/// Four buckets for each doubling, from one microsecond on: what is read from them is at most a tenth off.
fn bucket(from: Timestamp, to: Timestamp) -> i64 {
    let micros = u64::try_from(to.duration_since(from).as_micros()).unwrap_or(0).max(1);
    let doublings = micros.ilog2();
    let quarter =
        if doublings >= 2 { (micros >> (doublings - 2)) & 3 } else { (micros << (2 - doublings)) & 3 };
    i64::from(doublings * 4) + i64::try_from(quarter).unwrap_or_default()
}

/// The middle of a bucket.
pub fn seconds_of(bucket: i64) -> f64 {
    let (doublings, quarter) = (bucket.div_euclid(4), bucket.rem_euclid(4));
    let doublings = f64::from(i32::try_from(doublings).unwrap_or_default());
    let quarter = f64::from(i32::try_from(quarter).unwrap_or_default());
    doublings.exp2() * (1.0 + (quarter + 0.5) / 4.0) / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_each_minute_once() {
        for (first, end) in [
            (0, 0),
            (5, 50),
            (5, 60),
            (0, 60),
            (59, 61),
            (7, 3000),
            (100, 10_000),
            (1440, 4320),
            (1439, 4321),
        ] {
            let Pieces { minutes, hours, days } = Pieces::of(first, end);
            let mut seen: Vec<i64> = minutes.into_iter().flat_map(|(from, to)| from..to).collect();
            let long = |(from, to): (i64, i64), length: i64| from * length..to * length;
            seen.extend(hours.into_iter().flat_map(|part| long(part, HOUR)));
            seen.extend(long(days, DAY));
            seen.sort_unstable();
            assert_eq!(seen, (first..end).collect::<Vec<_>>(), "{first} {end}");
        }
        let long = Pieces::of(10, 100_000);
        let count: i64 = long.minutes.iter().chain(&long.hours).map(|(from, to)| to - from).sum();
        assert!(count < 2 * 59 + 2 * 23, "{long:?}");
    }

    #[test]
    fn a_bucket_tells_its_length_within_a_tenth() {
        for micros in [1, 2, 3, 7, 100, 999, 1_000_000, 3_600_000_000, 86_400_000_000_i64] {
            let (from, to) = (Timestamp::UNIX_EPOCH, Timestamp::from_microsecond(micros).unwrap());
            let told = seconds_of(bucket(from, to)) * 1e6;
            #[allow(clippy::cast_precision_loss, reason = "small numbers")]
            let off = (told / micros as f64 - 1.0).abs();
            assert!(off <= 0.13, "{micros}: {told}");
        }
        assert_eq!(bucket(Timestamp::MAX, Timestamp::UNIX_EPOCH), 0, "clocks differ");
    }
}
