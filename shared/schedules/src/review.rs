//! A review of all schedules: what they did lately, and which of them fire at the same instants. Pure.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use windlass_core::schedule::{Cause, Past, What};
use windlass_core::{JobId, JobState, ScheduleId};

use crate::store::Stored;

/// What is to be known of all schedules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Review {
    /// How many schedules there are.
    pub count: usize,
    /// Each of them, by id; in a report, those first that somebody should look at.
    pub schedules: Vec<Reviewed>,
    /// Schedules that fire at the same instants, most of them first; at most [`MOST_COLLISIONS`].
    pub collisions: Vec<Collision>,
}

/// What one schedule did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Reviewed {
    /// Which.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub id: ScheduleId,
    /// Instants that fired, since it was made.
    pub fires: u64,
    /// Instants that were missed.
    pub misfires: u64,
    /// Instants that were passed over, because a job was live.
    pub skipped: u64,
    /// Of its last fires: the median of how late they were decided. None if nothing fired.
    #[cfg_attr(feature = "schema", schema(required))]
    pub lateness_median_seconds: Option<f64>,
    /// And the most.
    #[cfg_attr(feature = "schema", schema(required))]
    pub lateness_max_seconds: Option<f64>,
    /// Of its last jobs: how many have ended, as far as is known.
    pub ended: usize,
    /// How many of them did not succeed.
    pub failed: usize,
    /// Jobs have ended, and none has succeeded.
    pub never_succeeded: bool,
}

/// Schedules that fire at the same instants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Collision {
    /// Which, in a suggested order.
    pub schedules: Vec<Shift>,
    /// The first of the instants.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub first_at: Timestamp,
    /// How many instants it is.
    pub instants: usize,
}

/// A schedule, and by how much it could fire later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Shift {
    /// Which.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub id: ScheduleId,
    /// A `phase`, or another second or minute, that would spread them evenly.
    pub shift_seconds: u64,
}

/// Of the review.
pub const MOST_COLLISIONS: usize = 20;
/// Of one schedule, for collisions.
const MOST_INSTANTS: usize = 2000;
/// What is spread is spread over no more than this.
const WIDEST_SPREAD: Duration = Duration::from_mins(5);

/// The jobs of the last fires of a schedule's rule, whose outcomes a review asks for.
pub fn last_jobs(stored: &Stored) -> impl Iterator<Item = JobId> {
    let id = &stored.schedule.id;
    let recent = stored.cursor.iter().flat_map(|cursor| cursor.recent.iter().rev());
    recent.filter(|past| past.what == What::Fired(Cause::Rule)).map(|past| JobId::of_fire(id, past.instant))
}

/// Looks at the schedules: at what they did, with the outcomes that are known, and at their instants from `now` for so
/// long.
pub fn review(
    all: &[Stored],
    outcomes: &HashMap<JobId, JobState, impl std::hash::BuildHasher>,
    now: Timestamp,
    ahead: SignedDuration,
) -> Review {
    let schedules = all.iter().map(|stored| reviewed(stored, outcomes)).collect();
    let until = now.checked_add(ahead).unwrap_or(Timestamp::MAX);
    let mut at: BTreeMap<Timestamp, Vec<usize>> = BTreeMap::new();
    for (place, stored) in all.iter().enumerate().filter(|(_, stored)| !stored.schedule.is_paused(now)) {
        // What has a jitter is spread already.
        if stored.schedule.spec.jitter().is_zero() {
            for instant in stored.schedule.spec.instants_between(now, until, MOST_INSTANTS) {
                at.entry(instant).or_default().push(place);
            }
        }
    }
    let mut groups: HashMap<Vec<usize>, (Timestamp, usize)> = HashMap::new();
    for (instant, places) in at.into_iter().filter(|(_, places)| places.len() > 1) {
        groups.entry(places).or_insert((instant, 0)).1 += 1;
    }
    let mut collisions: Vec<_> = groups
        .into_iter()
        .map(|(places, (first_at, instants))| Collision {
            schedules: spread(all, &places, now),
            first_at,
            instants,
        })
        .collect();
    collisions.sort_by(|a, b| {
        let weight = |collision: &Collision| (collision.schedules.len(), collision.instants);
        weight(b).cmp(&weight(a)).then(a.first_at.cmp(&b.first_at))
    });
    collisions.truncate(MOST_COLLISIONS);
    Review { count: all.len(), schedules, collisions }
}

// === impl Review ===

impl Review {
    /// No more than so many schedules: those that never succeed first, then by what they missed, failed and were late.
    #[must_use]
    pub fn worst(mut self, most: usize) -> Self {
        let late = |one: &Reviewed| one.lateness_max_seconds.unwrap_or_default();
        self.schedules.sort_by(|a, b| {
            let of = |one: &Reviewed| (one.never_succeeded, one.misfires, one.failed);
            of(b).cmp(&of(a)).then(late(b).total_cmp(&late(a))).then_with(|| a.id.cmp(&b.id))
        });
        self.schedules.truncate(most);
        self
    }
}

fn reviewed(stored: &Stored, outcomes: &HashMap<JobId, JobState, impl std::hash::BuildHasher>) -> Reviewed {
    let schedule = &stored.schedule;
    let cursor = stored.cursor.as_ref();
    let is_fire = |past: &&Past| past.what == What::Fired(Cause::Rule);
    let fires = cursor.into_iter().flat_map(|cursor| cursor.recent.iter().filter(is_fire));
    let mut late: Vec<f64> = fires
        .map(|past| past.at.duration_since(schedule.fires_at(past.instant)).as_secs_f64().max(0.0))
        .collect();
    late.sort_by(f64::total_cmp);
    let states: Vec<_> = last_jobs(stored).filter_map(|job| outcomes.get(&job)).collect();
    let ended = states.iter().filter(|state| state.is_terminal()).count();
    let succeeded = states.iter().filter(|state| ***state == JobState::Succeeded).count();
    Reviewed {
        id: schedule.id.clone(),
        fires: cursor.map_or(0, |cursor| cursor.fires),
        misfires: cursor.map_or(0, |cursor| cursor.misfires),
        skipped: cursor.map_or(0, |cursor| cursor.skipped),
        lateness_median_seconds: late.get(late.len() / 2).copied(),
        lateness_max_seconds: late.last().copied(),
        ended,
        failed: ended - succeeded,
        never_succeeded: ended > 0 && succeeded == 0,
    }
}

/// Evenly over the shortest time between two instants of one of them, in whole seconds.
fn spread(all: &[Stored], places: &[usize], now: Timestamp) -> Vec<Shift> {
    let stored: Vec<_> = places.iter().filter_map(|place| all.get(*place)).collect();
    let shortest = stored.iter().filter_map(|stored| stored.schedule.spec.shortest_distance(now)).min();
    let room = shortest.unwrap_or(WIDEST_SPREAD).min(WIDEST_SPREAD).as_secs();
    let count = stored.len().max(1) as u64;
    let shifts = (0..count).map(|number| room * number / count);
    stored
        .iter()
        .zip(shifts)
        .map(|(stored, shift_seconds)| Shift { id: stored.schedule.id.clone(), shift_seconds })
        .collect()
}

#[cfg(test)]
mod tests {
    use windlass_core::schedule::Cursor;

    use super::*;
    use crate::sample::{at, schedule};

    fn stored(id: &str, period: u64, recent: Vec<Past>) -> Stored {
        let cursor = Cursor { fires: recent.len() as u64, misfires: 2, recent, ..Cursor::at(at(0)) };
        Stored { schedule: schedule(id, period, 0), revision: 1, cursor: Some(cursor) }
    }

    #[test]
    fn what_a_schedule_did() {
        let past = |second, late| Past {
            instant: at(second),
            at: at(second + late),
            what: What::Fired(Cause::Rule),
            count: 1,
        };
        let missed = Past { what: What::Missed, ..past(0, 500) };
        let all =
            [stored("a", 60, vec![missed, past(60, 1), past(120, 9), past(180, 3)]), stored("b", 60, vec![])];
        let outcomes: HashMap<_, _> =
            last_jobs(&all[0]).zip([JobState::Dead, JobState::Cancelled, JobState::Running]).collect();
        let review = review(&all, &outcomes, at(200), SignedDuration::ZERO);
        let a = &review.schedules[0];
        assert_eq!((a.fires, a.misfires, a.ended, a.failed, a.never_succeeded), (4, 2, 2, 2, true));
        assert_eq!((a.lateness_median_seconds, a.lateness_max_seconds), (Some(3.0), Some(9.0)));
        let b = &review.schedules[1];
        assert_eq!((b.lateness_max_seconds, b.never_succeeded), (None, false));
    }

    #[test]
    fn what_fires_together_is_spread() {
        let all = [
            stored("a", 60, vec![]),
            stored("b", 60, vec![]),
            stored("c", 3600, vec![]),
            stored("d", 7, vec![]),
        ];
        let review = review(&all[..3], &HashMap::<_, _>::new(), at(0), SignedDuration::from_hours(2));
        let shown: Vec<_> = review
            .collisions
            .iter()
            .map(|c| {
                let shifts: Vec<_> = c.schedules.iter().map(|s| (s.id.as_str(), s.shift_seconds)).collect();
                (shifts, c.first_at, c.instants)
            })
            .collect();
        assert_eq!(
            shown,
            [(vec![("a", 0), ("b", 20), ("c", 40)], at(3600), 2), (vec![("a", 0), ("b", 30)], at(60), 118),]
        );
        let apart = super::review(&all[3..], &HashMap::<_, _>::new(), at(0), SignedDuration::from_hours(2));
        assert_eq!(apart.collisions, []);
    }
}
