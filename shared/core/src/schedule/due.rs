//! What to fire now, and what was missed.

use std::time::Duration;

use jiff::Timestamp;

use super::{Error, Spec};

/// How far a schedule has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The latest instant that was fired or recorded as missed.
    pub last_instant: Timestamp,
    /// Instants that were passed over since the schedule was made.
    pub misfires: u64,
    /// What a fire that did not come back may have published.
    pub in_doubt: Option<InDoubt>,
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

/// What to do about instants that are late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatchUp {
    grace: Duration,
    in_doubt_limit: Duration,
}

/// What to do about the instants that have come: first some were missed, then some fire.
///
/// The policy: an instant within the grace fires; of those that are later than it, the latest fires if no instant
/// came after it, and all others are missed. An instant that is in doubt fires again, whatever its age, until it has
/// been in doubt for the limit; then it is missed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// How many were passed over.
    pub missed: u64,
    /// The latest of them.
    pub missed_through: Option<Timestamp>,
    /// To be published, in this order; all are later than those that were missed.
    pub fire: Vec<Timestamp>,
    /// What must be stored before any of them is published.
    pub in_doubt: Option<InDoubt>,
    /// Further instants have come: ask again after this step.
    pub more: bool,
}

// === impl CatchUp ===

impl CatchUp {
    /// `grace`: how late an instant may be and still fire beside later ones, at most an hour.
    ///
    /// `in_doubt_limit`: for how long a fire in doubt is tried again. It must be well under the time for which the
    /// broker remembers a job that has ended.
    pub fn new(grace: Duration, in_doubt_limit: Duration) -> Result<Self, Error> {
        if grace > Duration::from_hours(1) {
            return Err(Error::new("grace", &format!("{grace:?}"), "at most 1h"));
        }
        if in_doubt_limit.is_zero() {
            return Err(Error::new("in_doubt_limit", &format!("{in_doubt_limit:?}"), "more than 0s"));
        }
        Ok(Self { grace, in_doubt_limit })
    }
}

impl Default for CatchUp {
    fn default() -> Self {
        Self { grace: Duration::from_mins(1), in_doubt_limit: Duration::from_mins(5) }
    }
}

// === impl Due ===

impl Due {
    /// The cursor to store before anything is published: past what was missed, with what is in doubt. None if there
    /// is nothing to do. `start` is where a schedule without a cursor begins.
    pub fn before(&self, cursor: Option<&Cursor>, start: Timestamp) -> Option<Cursor> {
        if self.missed_through.is_none() && self.fire.is_empty() {
            return None;
        }
        let last_instant = self.missed_through.unwrap_or_else(|| cursor.map_or(start, |c| c.last_instant));
        Some(Cursor {
            last_instant,
            misfires: cursor.map_or(0, |c| c.misfires).saturating_add(self.missed),
            in_doubt: self.in_doubt.or_else(|| still_in_doubt(cursor, last_instant)),
        })
    }

    /// The cursor to store once everything was published, from the one before. None if nothing was.
    pub fn after(&self, before: &Cursor) -> Option<Cursor> {
        let last_instant = *self.fire.last()?;
        Some(Cursor { last_instant, in_doubt: still_in_doubt(Some(before), last_instant), ..*before })
    }
}

/// What lies beyond this instant.
fn still_in_doubt(cursor: Option<&Cursor>, last_instant: Timestamp) -> Option<InDoubt> {
    cursor.and_then(|c| c.in_doubt).filter(|doubt| doubt.through > last_instant)
}

fn age(now: Timestamp, instant: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(instant)).unwrap_or_default()
}

pub(super) fn decide(
    spec: &Spec,
    after: Timestamp,
    in_doubt: Option<InDoubt>,
    now: Timestamp,
    catch_up: &CatchUp,
    limit: usize,
) -> Due {
    let limit = limit.max(1);
    let mut instants = spec.instants_between(after, now, limit + 1);
    let more = instants.len() > limit;
    instants.truncate(limit);

    let last = if more { None } else { instants.last().copied() };
    let mut due = Due { more, ..Due::default() };
    for instant in instants {
        // Since when it is in doubt, if it fires.
        let since = match in_doubt.filter(|doubt| instant <= doubt.through) {
            Some(doubt) => (age(now, doubt.since) <= catch_up.in_doubt_limit).then_some(doubt.since),
            None => (last == Some(instant) || age(now, instant) <= catch_up.grace).then_some(now),
        };
        match (since, due.in_doubt) {
            (None, None) => {
                due.missed += 1;
                due.missed_through = Some(instant);
            }
            (Some(since), None) => {
                let through = in_doubt.map_or(instant, |doubt| doubt.through.max(instant));
                due.in_doubt = Some(InDoubt { through, since });
                due.fire.push(instant);
            }
            (Some(since), Some(doubt)) if since == doubt.since => {
                let through = doubt.through.max(instant);
                due.in_doubt = Some(InDoubt { through, since });
                due.fire.push(instant);
            }
            // Missed ones, or ones of another doubt, are a step of their own.
            (_, Some(_)) => {
                due.more = true;
                break;
            }
        }
    }
    due
}

#[cfg(test)]
mod tests {
    use super::super::Interval;
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn every(seconds: u64) -> Spec {
        Spec::Interval(Interval::new(Duration::from_secs(seconds)).unwrap())
    }

    fn window() -> CatchUp {
        CatchUp::new(Duration::from_mins(1), Duration::from_mins(5)).unwrap()
    }

    /// Steps of every 30 s at `now`, until nothing more is due: what fires, and the cursor then.
    fn run(mut cursor: Cursor, now: i64, limit: usize) -> (Vec<Timestamp>, Cursor) {
        let mut fired = Vec::new();
        loop {
            let due = decide(&every(30), cursor.last_instant, cursor.in_doubt, at(now), &window(), limit);
            let Some(before) = due.before(Some(&cursor), at(0)) else { break };
            assert!(due.fire.is_empty() || before.in_doubt.is_some());
            fired.extend_from_slice(&due.fire);
            cursor = due.after(&before).unwrap_or(before);
            if !due.more {
                break;
            }
        }
        (fired, cursor)
    }

    fn check(after: i64, doubt: Option<(i64, i64)>, now: i64, fire: &[i64], missed: u64) {
        let in_doubt = doubt.map(|(through, since)| InDoubt { through: at(through), since: at(since) });
        let fire: Vec<_> = fire.iter().map(|s| at(*s)).collect();
        for limit in [1, 2, 3, 100] {
            let (fired, cursor) = run(Cursor { last_instant: at(after), misfires: 0, in_doubt }, now, limit);
            assert_eq!((fired, cursor.misfires), (fire.clone(), missed), "limit {limit}");
        }
    }

    #[test]
    fn within_the_grace_all_fire() {
        check(0, None, 29, &[], 0);
        check(0, None, 30, &[30], 0);
        check(0, None, 90, &[30, 60, 90], 0);
        // 30 is 61 s late, and later ones came.
        check(0, None, 91, &[60, 90], 1);
    }

    #[test]
    fn after_downtime_the_latest_fires() {
        let due = decide(&every(3600), at(0), None, at(3600 * 3 + 1800), &window(), 9);
        assert_eq!((due.fire, due.missed, due.more), (vec![at(3600 * 3)], 2, false));
    }

    #[test]
    fn a_long_downtime_is_counted_in_steps() {
        let due = decide(&every(30), at(0), None, at(300), &window(), 4);
        assert_eq!((due.missed, due.missed_through, due.more), (4, Some(at(120)), true));
        assert_eq!((due.fire, due.in_doubt), (vec![], None));
    }

    #[test]
    fn in_doubt_fires_again_until_the_limit() {
        // Begun at 30 for the instant 30; at 330 that is the limit, at 331 it is over.
        check(0, Some((30, 30)), 330, &[30, 270, 300, 330], 7);
        check(0, Some((30, 30)), 331, &[300, 330], 9);
        // Even the latest instant.
        check(0, Some((30, 30)), 59, &[30], 0);
        let doubt = Some(InDoubt { through: at(3600), since: at(3600) });
        let due = decide(&every(3600), at(0), doubt, at(4000), &window(), 9);
        assert_eq!((due.fire, due.missed, due.missed_through), (vec![], 1, Some(at(3600))));
    }

    #[test]
    fn what_fires_again_keeps_the_time_since_when() {
        let doubt = InDoubt { through: at(60), since: at(61) };
        let due = decide(&every(30), at(0), Some(doubt), at(95), &window(), 9);
        // 90 is a doubt of its own.
        assert_eq!((due.fire, due.in_doubt, due.more), (vec![at(30), at(60)], Some(doubt), true));
        let due = decide(&every(30), at(60), None, at(95), &window(), 9);
        assert_eq!(due.in_doubt, Some(InDoubt { through: at(90), since: at(95) }));
    }

    #[test]
    fn the_cursor_follows() {
        let cursor = Cursor { last_instant: at(0), misfires: 2, in_doubt: None };
        let due = decide(&every(30), at(0), None, at(91), &window(), 9);
        let before = due.before(Some(&cursor), at(0)).unwrap();
        // What was missed is done with, whatever becomes of the rest.
        let in_doubt = Some(InDoubt { through: at(90), since: at(91) });
        assert_eq!(before, Cursor { last_instant: at(30), misfires: 3, in_doubt });
        assert_eq!(due.after(&before), Some(Cursor { last_instant: at(90), misfires: 3, in_doubt: None }));
    }

    proptest! {
        #[test]
        fn each_instant_fires_or_is_missed_once(
            downtime in 0i64..4000, limit in 1usize..40,
            doubt in proptest::option::of((0i64..4000, 0i64..4000)),
        ) {
            let start = 1_000_000;
            let in_doubt =
                doubt.map(|(through, since)| InDoubt { through: at(start + through), since: at(start + since) });
            let expected = every(30).instants_between(at(start), at(start + downtime), usize::MAX);
            let cursor = Cursor { last_instant: at(start), misfires: 0, in_doubt };
            let (fired, cursor) = run(cursor, start + downtime, limit);
            prop_assert_eq!(fired.len() + usize::try_from(cursor.misfires).unwrap(), expected.len());
            prop_assert_eq!(cursor.last_instant, expected.last().copied().unwrap_or(at(start)));
            prop_assert!(fired.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(fired.iter().all(|instant| expected.contains(instant)));
            prop_assert!(doubt.is_some() || expected.last() == fired.last());
        }
    }
}
