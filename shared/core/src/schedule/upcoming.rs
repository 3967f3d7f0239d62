//! Which instants a schedule is going to fire, as it stands: without those of a pause, and no more than its limit allows.

use jiff::Timestamp;

use super::cursor::Cursor;
use super::{Pause, Schedule};

/// Instants that are going to fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upcoming {
    /// In order.
    pub instants: Vec<Timestamp>,
    /// Why there are fewer than were asked for; none if there are not.
    pub ends: Option<Ends>,
}

/// Why no further instant fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ends {
    /// It is paused, and nothing ends the pause by itself.
    Paused {
        /// Why, for people.
        note: String,
    },
    /// It has fired as often as it may, or will have by then.
    Limit {
        /// So often.
        limit: u64,
    },
    /// Its end.
    End {
        /// When.
        at: Timestamp,
    },
    /// Its rules name no further instant, or all of them are excluded.
    Rules,
    /// So many instants lie between now and the one asked for that it is not counted whether its limit is reached by then.
    TooFar,
}

/// For a limit, so many instants are counted.
const MOST_COUNTED: u64 = 1_000_000;

// === impl Ends ===

impl Ends {
    /// A word for programs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Paused { .. } => "paused",
            Self::Limit { .. } => "limit",
            Self::End { .. } => "end",
            Self::Rules => "rules",
            Self::TooFar => "too_far",
        }
    }
}

impl std::fmt::Display for Ends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Paused { note } if note.is_empty() => f.write_str("it is paused until somebody resumes it"),
            Self::Paused { note } => write!(f, "it is paused until somebody resumes it: {note}"),
            Self::Limit { limit } => write!(f, "its limit is {limit} fires"),
            Self::End { at } => write!(f, "it ends at {at}"),
            Self::Rules => f.write_str("its rules name no further instant"),
            Self::TooFar => write!(
                f,
                "it has a limit, and more than {MOST_COUNTED} instants lie before that time: they are not counted"
            ),
        }
    }
}

// === impl Schedule ===

impl<P> Schedule<P> {
    /// The first `count` instants after `after` that its rule is going to fire, if every one before them does and nobody
    /// changes anything. Those that come up to `now`, and have not fired, are among them only if `after` lies before.
    pub fn upcoming(
        &self,
        cursor: Option<&Cursor>,
        now: Timestamp,
        after: Timestamp,
        count: usize,
    ) -> Upcoming {
        self.upcoming_until(cursor, now, after, Timestamp::MAX, count)
    }

    /// As [`Self::upcoming`], up to this instant: where further ones follow it, nothing ends them.
    pub fn upcoming_until(
        &self,
        cursor: Option<&Cursor>,
        now: Timestamp,
        after: Timestamp,
        until: Timestamp,
        count: usize,
    ) -> Upcoming {
        let mut start = self.start(cursor, now);
        match &self.pause {
            Some(Pause { note, until: None }) => {
                let ends = Some(Ends::Paused { note: note.clone() });
                return Upcoming { instants: Vec::new(), ends };
            }
            // Those that lie in the pause are not made up for.
            Some(Pause { until: Some(until), .. }) => start = start.max(*until),
            None => {}
        }
        let Some(limit) = self.policy.limit else {
            let after = start.max(after);
            let found = self.spec.instants_between(after, until, count);
            let last = found.last().copied().unwrap_or(after);
            let is_last = found.len() < count && self.spec.next_after(last).is_none();
            return Upcoming { instants: found, ends: is_last.then(|| self.why_not_after(last)) };
        };
        let mut left = limit.saturating_sub(cursor.map_or(0, |cursor| cursor.fires));
        let mut instants = Vec::new();
        // Those between now and then fire as well.
        let mut at = start.max(after.min(now));
        let mut counted = 0;
        while instants.len() < count {
            let Some(next) = self.spec.next_after(at).filter(|_| left > 0) else {
                let ends = if left == 0 { Ends::Limit { limit } } else { self.why_not_after(at) };
                return Upcoming { instants, ends: Some(ends) };
            };
            if next > until {
                break;
            }
            (at, left) = (next, left - 1);
            if next > after {
                instants.push(next);
            } else if counted == MOST_COUNTED {
                return Upcoming { instants, ends: Some(Ends::TooFar) };
            } else {
                counted += 1;
            }
        }
        Upcoming { instants, ends: None }
    }

    fn why_not_after(&self, instant: Timestamp) -> Ends {
        match self.spec.ends_at() {
            Some(at) if self.spec.rules().iter().any(|rule| rule.next_after(instant).is_some()) => {
                Ends::End { at }
            }
            _ => Ends::Rules,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::due::tests::{at, every};
    use super::super::{Interval, Rule, Spec};
    use super::*;

    /// Of a schedule of every ten seconds, made at 0, the instants after `after` at the time 100.
    fn check(
        change: impl FnOnce(&mut Schedule<()>),
        fires: u64,
        after: i64,
        expected: &[i64],
        ends: Option<Ends>,
    ) {
        let mut schedule = every(10, super::super::Policy::default());
        change(&mut schedule);
        let cursor = Cursor { fires, ..Cursor::at(at(80)) };
        let found = schedule.upcoming(Some(&cursor), at(100), at(after), 3);
        let instants: Vec<_> = found.instants.iter().map(|instant| instant.as_second()).collect();
        assert_eq!((instants.as_slice(), found.ends), (expected, ends), "{schedule:?}");
    }

    fn pause(until: Option<i64>) -> impl FnOnce(&mut Schedule<()>) {
        move |schedule| schedule.pause = Some(Pause { note: "moving".into(), until: until.map(at) })
    }

    fn limit(limit: u64) -> impl FnOnce(&mut Schedule<()>) {
        move |schedule| schedule.policy.limit = Some(limit)
    }

    #[test]
    fn what_fires_is_told_and_why_no_more_does() {
        check(|_| {}, 9, 100, &[110, 120, 130], None);
        // What is done with does not fire again, and what is due has not fired.
        check(|_| {}, 9, 0, &[90, 100, 110], None);
        check(|_| {}, 9, 1000, &[1010, 1020, 1030], None);

        check(pause(None), 9, 100, &[], Some(Ends::Paused { note: "moving".into() }));
        check(pause(Some(125)), 9, 100, &[130, 140, 150], None);
        check(pause(Some(130)), 9, 100, &[140, 150, 160], None);
        check(pause(Some(125)), 9, 500, &[510, 520, 530], None);
        // One that has ended.
        check(pause(Some(95)), 9, 0, &[100, 110, 120], None);

        let over = Some(Ends::Limit { limit: 11 });
        check(limit(11), 9, 100, &[110, 120], over.clone());
        check(limit(11), 11, 100, &[], over.clone());
        check(limit(11), 12, 100, &[], over.clone());
        check(limit(12), 9, 100, &[110, 120, 130], None);
        // Those before the instant that is asked for count.
        check(limit(12), 9, 115, &[120, 130], Some(Ends::Limit { limit: 12 }));
        check(limit(11), 9, 125, &[], over);
        check(limit(u64::MAX), 9, 100_000_000_000, &[], Some(Ends::TooFar));

        let until = |end: i64| {
            move |schedule: &mut Schedule<()>| {
                schedule.spec = schedule.spec.clone().between(Some(at(115)), Some(at(end))).unwrap();
            }
        };
        check(until(135), 9, 100, &[120, 130], Some(Ends::End { at: at(135) }));
        check(until(125), 9, 500, &[], Some(Ends::End { at: at(125) }));
        let both = |schedule: &mut Schedule<()>| {
            until(125)(schedule);
            limit(99)(schedule);
        };
        check(both, 9, 100, &[120], Some(Ends::End { at: at(125) }));
        let once = |schedule: &mut Schedule<()>| schedule.spec = Spec::from(Rule::Once(at(140)));
        check(once, 0, 100, &[140], Some(Ends::Rules));
        let interval = Interval::new(Duration::from_secs(10), Duration::from_secs(3)).unwrap();
        check(|schedule| schedule.spec = Rule::Interval(interval).into(), 0, 100, &[103, 113, 123], None);
    }
    #[test]
    fn what_fires_up_to_an_instant_is_told() {
        let check = |change: &dyn Fn(&mut Schedule<()>), until: i64, expected: &[i64], ends: Option<Ends>| {
            let mut schedule = every(10, super::super::Policy::default());
            change(&mut schedule);
            let found = schedule.upcoming_until(None, at(100), at(100), at(until), 5);
            let instants: Vec<_> = found.instants.iter().map(|instant| instant.as_second()).collect();
            assert_eq!((instants.as_slice(), found.ends), (expected, ends), "{schedule:?} {until}");
        };
        let limited = |schedule: &mut Schedule<()>| schedule.policy.limit = Some(2);
        for (until, expected) in
            [(130, &[110, 120, 130][..]), (129, &[110, 120]), (109, &[]), (900, &[110, 120, 130, 140, 150])]
        {
            check(&|_| {}, until, expected, None);
        }
        check(&limited, 119, &[110], None);
        check(&limited, 900, &[110, 120], Some(Ends::Limit { limit: 2 }));
        let once = |schedule: &mut Schedule<()>| schedule.spec = Spec::from(Rule::Once(at(140)));
        check(&once, 130, &[], None);
        check(&once, 140, &[140], Some(Ends::Rules));
    }
}
