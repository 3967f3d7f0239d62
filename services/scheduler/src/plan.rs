//! Which schedule is to be looked at when: the leader's memory, pure.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use windlass_core::ScheduleId;
use windlass_core::schedule::{Cursor, Schedule};

/// What is known of a schedule's cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// It must be read first.
    Unknown,
    /// There is none yet.
    None,
    /// It stands here, under this revision.
    At(Box<Cursor>, u64),
}

/// A schedule to look at now.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) schedule: Arc<Schedule<Bytes>>,
    pub(crate) place: Place,
    /// When it was to be looked at.
    pub(crate) at: Timestamp,
    /// Tells this entry from a later one of the same id.
    ticket: u64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything that was due up to then is done with.
    Done(Place),
    /// Some of it is; go on at once.
    More(Place),
    /// Not all could be done; try again then, from the stored cursor.
    Retry(Timestamp),
}

#[derive(Debug)]
struct Entry {
    schedule: Arc<Schedule<Bytes>>,
    place: Place,
    ticket: u64,
    /// Absent while it is worked on, and where nothing is ever due.
    wake: Option<Timestamp>,
    working: bool,
    failures: u32,
}

/// A cursor that is not needed for so long is not kept: it is read again then.
const KEEP_CURSOR: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

/// All schedules, and the order in which they are to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    entries: HashMap<ScheduleId, Entry>,
    wakes: BTreeSet<(Timestamp, ScheduleId)>,
    tickets: u64,
}

// === impl Place ===

impl Place {
    pub(crate) fn cursor(&self) -> Option<&Cursor> {
        match self {
            Self::At(cursor, _) => Some(cursor),
            Self::Unknown | Self::None => None,
        }
    }
}

// === impl Work ===

impl Work {
    pub(crate) fn id(&self) -> &ScheduleId {
        &self.schedule.id
    }
}

// === impl Plan ===

impl Plan {
    /// How many schedules there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A schedule was made or changed. `place` is where it stands, if it is new here.
    pub(crate) fn upsert(&mut self, schedule: Schedule<Bytes>, place: Place, now: Timestamp) {
        let id = schedule.id.clone();
        let schedule = Arc::new(schedule);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.schedule = schedule;
        } else {
            self.tickets += 1;
            let ticket = self.tickets;
            let entry = Entry { schedule, place, ticket, wake: None, working: false, failures: 0 };
            self.entries.insert(id.clone(), entry);
        }
        self.rearm(&id, now);
    }

    /// A schedule was removed.
    pub(crate) fn remove(&mut self, id: &ScheduleId) {
        if let Some(Entry { wake: Some(wake), .. }) = self.entries.remove(id) {
            self.wakes.remove(&(wake, id.clone()));
        }
    }

    /// When to look next.
    pub(crate) fn next_wake(&self) -> Option<Timestamp> {
        self.wakes.first().map(|(wake, _)| *wake)
    }

    /// The first schedule that is to be looked at by now.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<Work> {
        if self.next_wake()? > now {
            return None;
        }
        let (at, id) = self.wakes.pop_first()?;
        let entry = self.entries.get_mut(&id)?;
        entry.wake = None;
        entry.working = true;
        Some(Work { schedule: entry.schedule.clone(), place: entry.place.clone(), at, ticket: entry.ticket })
    }

    /// The work on a schedule ended. `now` is not before the instant at which it was to be looked at.
    pub(crate) fn finish(&mut self, work: &Work, outcome: Outcome, now: Timestamp) {
        let id = work.id();
        // The schedule may have gone meanwhile, and another of its name have come.
        let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.ticket == work.ticket) else {
            return;
        };
        entry.working = false;
        match outcome {
            Outcome::Done(place) | Outcome::More(place) => {
                entry.place = place;
                entry.failures = 0;
                self.rearm(id, now);
            }
            Outcome::Retry(wake) => {
                entry.place = Place::Unknown;
                entry.failures = entry.failures.saturating_add(1);
                self.arm(id, Some(wake));
            }
        }
    }

    /// How often in a row work on this schedule has failed.
    pub(crate) fn failures(&self, work: &Work) -> u32 {
        self.entries.get(work.id()).map_or(0, |entry| entry.failures)
    }

    fn rearm(&mut self, id: &ScheduleId, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let wake = match &entry.place {
            // At once: the cursor says when.
            Place::Unknown => Some(Timestamp::MIN),
            place => entry.schedule.next_wake(place.cursor(), now),
        };
        let is_far = wake.is_none_or(|wake| wake.duration_since(now) > KEEP_CURSOR);
        if is_far && matches!(entry.place, Place::At(..)) && !entry.working {
            entry.place = Place::Unknown;
        }
        self.arm(id, wake);
    }

    fn arm(&mut self, id: &ScheduleId, wake: Option<Timestamp>) {
        let Some(entry) = self.entries.get_mut(id).filter(|entry| !entry.working) else { return };
        if let Some(old) = std::mem::replace(&mut entry.wake, wake) {
            self.wakes.remove(&(old, id.clone()));
        }
        if let Some(wake) = wake {
            self.wakes.insert((wake, id.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::schedule::Pause;

    use super::*;
    use crate::fire::tests::{at, schedule};

    fn id(text: &str) -> ScheduleId {
        text.parse().unwrap()
    }

    fn place(second: i64) -> Place {
        Place::At(Box::new(Cursor::at(at(second))), 1)
    }

    #[test]
    fn the_earliest_comes_first() {
        let mut plan = Plan::default();
        plan.upsert(schedule("slow", 60, 0), Place::Unknown, at(0));
        plan.upsert(schedule("fast", 10, 0), Place::Unknown, at(0));
        // Both cursors must be read first.
        for _ in 0..2 {
            let work = plan.take_due(at(0)).unwrap();
            assert_eq!(work.place, Place::Unknown);
            plan.finish(&work, Outcome::Done(Place::None), at(0));
        }
        assert_eq!(plan.next_wake(), Some(at(10)));
        assert!(plan.take_due(at(9)).is_none());
        let work = plan.take_due(at(10)).unwrap();
        assert_eq!(work.id(), &id("fast"));
        // While it is worked on it is not given out again.
        assert_eq!(plan.next_wake(), Some(at(60)));
        plan.finish(&work, Outcome::Done(place(10)), at(0));
        assert_eq!(plan.next_wake(), Some(at(20)));
    }

    #[test]
    fn changes_take_effect_at_once() {
        let mut plan = Plan::default();
        plan.upsert(schedule("a", 60, 0), Place::Unknown, at(0));
        let work = plan.take_due(at(0)).unwrap();
        // While it is worked on.
        plan.upsert(schedule("a", 30, 0), Place::Unknown, at(0));
        assert_eq!(plan.next_wake(), None);
        plan.finish(&work, Outcome::Done(Place::None), at(0));
        assert_eq!(plan.next_wake(), Some(at(30)));
        plan.upsert(schedule("a", 20, 0), Place::Unknown, at(0));
        assert_eq!(plan.next_wake(), Some(at(20)));
        let mut paused = schedule("a", 20, 0);
        paused.pause = Some(Pause::default());
        plan.upsert(paused, Place::Unknown, at(0));
        assert_eq!(plan.next_wake(), None);
        plan.upsert(schedule("a", 20, 50), Place::Unknown, at(0));
        assert_eq!(plan.next_wake(), Some(at(60)));
        plan.remove(&id("a"));
        assert_eq!((plan.next_wake(), plan.len()), (None, 0));
    }

    #[test]
    fn work_on_a_removed_schedule_says_nothing_of_its_successor() {
        let mut plan = Plan::default();
        plan.upsert(schedule("a", 60, 0), Place::Unknown, at(0));
        let old = plan.take_due(at(0)).unwrap();
        plan.remove(&id("a"));
        plan.upsert(schedule("a", 60, 0), Place::Unknown, at(0));
        plan.finish(&old, Outcome::Done(place(6000)), at(0));
        assert_eq!(plan.take_due(at(0)).unwrap().place, Place::Unknown);
    }

    #[test]
    fn a_failure_waits_and_forgets_the_cursor() {
        let mut plan = Plan::default();
        plan.upsert(schedule("a", 60, 0), Place::Unknown, at(0));
        let work = plan.take_due(at(0)).unwrap();
        plan.finish(&work, Outcome::Retry(at(7)), at(0));
        assert!(plan.take_due(at(6)).is_none());
        let work = plan.take_due(at(7)).unwrap();
        assert_eq!((&work.place, plan.failures(&work)), (&Place::Unknown, 1));
        plan.finish(&work, Outcome::Done(Place::None), at(0));
        let work = plan.take_due(at(60)).unwrap();
        assert_eq!(plan.failures(&work), 0);
    }

    #[test]
    fn a_cursor_that_is_not_needed_for_long_is_read_again() {
        let mut plan = Plan::default();
        for (period, kept) in [(60, true), (6000, false)] {
            plan.upsert(schedule("a", period, 0), Place::Unknown, at(0));
            let work = plan.take_due(at(0)).unwrap();
            plan.finish(&work, Outcome::Done(place(0)), at(0));
            let due = i64::try_from(period).unwrap();
            assert_eq!(plan.next_wake(), Some(at(due)));
            let work = plan.take_due(at(due)).unwrap();
            assert_eq!(work.place != Place::Unknown, kept);
            plan.remove(work.id());
        }
    }
}
