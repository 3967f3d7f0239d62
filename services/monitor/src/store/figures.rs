//! Sums over the jobs: how many stand where, and what happened in each minute.
//!
//! What a job adds is a function of how it stands. So when it moves, what it added before is taken away and what it adds
//! now is added; events that come twice or in any order lead to the same sums, and so does a rebuild.

use std::collections::HashMap;
use std::sync::LazyLock;

use jiff::Timestamp;
use sqlx::SqliteConnection;
use windlass_core::history::{JobView, state_at};
use windlass_core::{JobState, Outcome};

use super::project::Job;
use super::write::{Sized, ready_at};

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
}

static ADD_COUNTS: LazyLock<Sized> = LazyLock::new(|| {
    Sized::insert(
        "INSERT INTO counts (queue, state, jobs)",
        3,
        "ON CONFLICT (queue, state) DO UPDATE SET jobs = jobs + excluded.jobs",
    )
});
static ADD_FIGURES: LazyLock<Sized> = LazyLock::new(|| {
    Sized::insert(
        "INSERT INTO figures (minute, queue, kind, what, bucket, count)",
        6,
        "ON CONFLICT (minute, queue, kind, what, bucket) DO UPDATE SET count = count + excluded.count",
    )
});

static ADD_HOURS: LazyLock<Sized> = LazyLock::new(|| {
    Sized::insert(
        "INSERT INTO figures_by_hour (hour, queue, kind, what, bucket, count)",
        6,
        "ON CONFLICT (hour, queue, kind, what, bucket) DO UPDATE SET count = count + excluded.count",
    )
});

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
        }
    }
}

/// Adds what these jobs changed.
pub(super) async fn store(connection: &mut SqliteConnection, jobs: &[Job]) -> Result<(), sqlx::Error> {
    let mut counts = HashMap::<(&str, JobState), i64>::new();
    let mut figures = HashMap::<(i64, &str, &str, What, i64), i64>::new();
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
    let counts: Vec<_> = counts.into_iter().filter(|(_, count)| *count != 0).collect();
    ADD_COUNTS
        .execute(connection, &counts, |query, ((queue, state), count)| {
            query.bind((*queue).to_owned()).bind(state.as_str()).bind(*count)
        })
        .await?;
    let mut hours = HashMap::<(i64, &str, &str, What, i64), i64>::new();
    for ((minute, queue, kind, what, bucket), count) in &figures {
        *hours.entry((minute.div_euclid(60), queue, kind, *what, *bucket)).or_default() += count;
    }
    for (add, sums) in [(&ADD_FIGURES, figures), (&ADD_HOURS, hours)] {
        let sums: Vec<_> = sums.into_iter().filter(|(_, count)| *count != 0).collect();
        add.execute(connection, &sums, |query, ((time, queue, kind, what, bucket), count)| {
            query
                .bind(*time)
                .bind((*queue).to_owned())
                .bind((*kind).to_owned())
                .bind(what.as_str())
                .bind(*bucket)
                .bind(*count)
        })
        .await?;
    }
    Ok(())
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
