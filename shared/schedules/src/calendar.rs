//! What all schedules are going to fire on some days: how many in each hour, and which of them at one instant. Pure.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use jiff::civil::Date;
use jiff::{SignedDuration, Span, Timestamp};
use serde::{Deserialize, Serialize};
use windlass_core::ScheduleId;
use windlass_core::schedule::{Schedule, Zone};

use crate::store::Stored;

/// What is going to fire on some days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calendar {
    /// Of the days and hours.
    pub zone: String,
    /// The days, in order.
    pub days: Vec<Day>,
    /// Schedules that fire at one instant, those of most first; at most [`MOST_COLLISIONS`].
    pub collisions: Vec<Collision>,
    /// At how many instants several schedules fire.
    pub collisions_count: u64,
    /// Of a single day: every instant, in order, at most [`MOST_MOMENTS`]; empty for several days.
    pub instants: Vec<Moment>,
    /// Schedules that fire more often than [`OFTEN`] on average: they are counted in none of the above.
    pub frequent: Vec<Frequent>,
    /// The zones that the schedules name, by name.
    pub zones: Vec<String>,
    /// How many schedules were looked at.
    pub schedules: u64,
    /// How many of them are paused, with nothing that ends the pause.
    pub paused: u64,
    /// How many were not looked at, as there were too many instants before them.
    pub left_out: u64,
}

/// A day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// Which.
    pub date: Date,
    /// How often something fires on it.
    pub fires: u64,
    /// The most schedules that fire within one second of it.
    pub at_once: u64,
    /// Its hours in which anything fires, in order.
    pub hours: Vec<Hour>,
}

/// An hour of a day; where the clock is set back, both passes are one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hour {
    /// 0 to 23.
    pub hour: i8,
    /// How often something fires in it.
    pub fires: u64,
    /// The most schedules that fire within one second of it.
    pub at_once: u64,
}

/// An instant at which something fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// When, to the second, jitter included.
    pub at: Timestamp,
    /// How many schedules.
    pub count: u64,
    /// Which, by id; at most [`MOST_NAMED`].
    pub schedules: Vec<ScheduleId>,
}

/// Schedules that fire at one instant, once or more often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collision {
    /// How many schedules.
    pub count: u64,
    /// Which, by id; at most [`MOST_NAMED`].
    pub schedules: Vec<ScheduleId>,
    /// The first of the instants at which these and no others fire.
    pub first_at: Timestamp,
    /// How many instants that are.
    pub instants: u64,
}

/// A schedule that fires so often that it would hide all others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frequent {
    /// Which.
    pub id: ScheduleId,
    /// The shortest time between two of its instants.
    pub shortest_seconds: u64,
}

/// Days of one calendar.
pub const MOST_DAYS: u32 = 42;
/// Groups of schedules that are told.
pub const MOST_COLLISIONS: usize = 100;
/// Instants of one day that are told.
pub const MOST_MOMENTS: usize = 2000;
/// Schedules that an instant names.
pub const MOST_NAMED: usize = 50;
/// What fires more often, on average, is not drawn.
pub const OFTEN: SignedDuration = SignedDuration::from_mins(15);
/// Instants of all schedules together, so that it ends in time however many there are.
const MOST_LOOKED_AT: usize = 500_000;

/// The calendar of so many days from this one on, by the clock of a zone. What lies before `now` is left out.
pub fn calendar(all: &[Stored], now: Timestamp, from: Date, days: u32, zone: &Zone) -> Calendar {
    let days = days.clamp(1, MOST_DAYS);
    let tz = zone.time_zone();
    let dates: Vec<Date> =
        (0..i64::from(days)).filter_map(|day| from.checked_add(Span::new().days(day)).ok()).collect();
    let begins = |date: Date| date.to_zoned(tz.clone()).map_or(Timestamp::MAX, |day| day.timestamp());
    let past = |at: Timestamp| at.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MIN);
    let after = past(begins(from)).max(now);
    let until = past(dates.last().and_then(|last| last.tomorrow().ok()).map_or(Timestamp::MAX, begins));
    let room = until.duration_since(after).max(SignedDuration::ZERO);
    let most = usize::try_from(room.as_secs() / OFTEN.as_secs()).unwrap_or(usize::MAX).saturating_add(1);

    let mut drawn: BTreeMap<Timestamp, Vec<&ScheduleId>> = BTreeMap::new();
    let (mut looked_at, mut left_out, mut frequent) = (0, 0, Vec::new());
    let is_over =
        |stored: &&Stored| stored.schedule.pause.as_ref().is_some_and(|pause| pause.until.is_none());
    for Stored { schedule, cursor, .. } in all {
        if looked_at >= MOST_LOOKED_AT {
            left_out += 1;
            continue;
        }
        let found = schedule.upcoming_until(cursor.as_ref(), now, after, until, most + 1).instants;
        looked_at += found.len() + 1;
        if found.len() > most {
            frequent.push(Frequent { id: schedule.id.clone(), shortest_seconds: shortest(schedule, now) });
            continue;
        }
        for instant in found {
            let second = schedule.fires_at(instant).as_second();
            let at = Timestamp::from_second(second).unwrap_or(instant);
            let together = drawn.entry(at).or_default();
            if together.last() != Some(&&schedule.id) {
                together.push(&schedule.id);
            }
        }
    }
    let mut days: Vec<Day> =
        dates.into_iter().map(|date| Day { date, fires: 0, at_once: 0, hours: Vec::new() }).collect();
    for (at, together) in &drawn {
        let there = at.to_zoned(tz.clone());
        // What a jitter takes past midnight of the last day is left to the next.
        let Some(day) = days.iter_mut().find(|day| day.date == there.date()) else { continue };
        day.add(there.hour(), together.len() as u64);
    }
    for together in drawn.values_mut() {
        together.sort();
    }
    let named = |together: &[&ScheduleId]| together.iter().take(MOST_NAMED).copied().cloned().collect();
    let moment = |(at, together): (&Timestamp, &Vec<&ScheduleId>)| Moment {
        at: *at,
        count: together.len() as u64,
        schedules: named(together),
    };
    let is_of_one_day = days.len() == 1;
    let instants = drawn.iter().filter(|_| is_of_one_day).take(MOST_MOMENTS).map(moment).collect();
    let mut several: HashMap<&[&ScheduleId], (Timestamp, u64)> = HashMap::new();
    for (at, together) in drawn.iter().filter(|(_, together)| together.len() > 1) {
        several.entry(together.as_slice()).or_insert((*at, 0)).1 += 1;
    }
    let collisions_count = several.values().map(|(_, instants)| instants).sum();
    let mut collisions: Vec<_> = several
        .into_iter()
        .map(|(together, (first_at, instants))| Collision {
            count: together.len() as u64,
            schedules: named(together),
            first_at,
            instants,
        })
        .collect();
    collisions.sort_by(|a, b| (b.count, b.instants, a.first_at).cmp(&(a.count, a.instants, b.first_at)));
    collisions.truncate(MOST_COLLISIONS);
    let mut zones: Vec<String> = all.iter().filter_map(|stored| zone_of(&stored.schedule)).collect();
    zones.sort();
    zones.dedup();
    Calendar {
        zone: zone.name().to_owned(),
        days,
        collisions,
        collisions_count,
        instants,
        frequent,
        zones,
        schedules: all.len() as u64,
        paused: all.iter().filter(is_over).count() as u64,
        left_out,
    }
}

/// The zone of a schedule's rule; none where it has no need of one.
pub fn zone_of(schedule: &Schedule<Bytes>) -> Option<String> {
    crate::describe::describe(schedule).get("zone")?.as_str().map(ToOwned::to_owned)
}

fn shortest(schedule: &Schedule<Bytes>, now: Timestamp) -> u64 {
    schedule.spec.shortest_distance(now).map_or(0, |distance| distance.as_secs())
}

// === impl Day ===

impl Day {
    /// By the order of instants, so of hours too, but where the clock is set back.
    fn add(&mut self, hour: i8, count: u64) {
        self.fires += count;
        self.at_once = self.at_once.max(count);
        let place = self.hours.partition_point(|known| known.hour < hour);
        if self.hours.get(place).is_none_or(|known| known.hour != hour) {
            self.hours.insert(place, Hour { hour, fires: 0, at_once: 0 });
        }
        let of = &mut self.hours[place];
        of.fires += count;
        of.at_once = of.at_once.max(count);
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::schedule::{Pause, Rule};

    use super::*;
    use crate::sample;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn stored(id: &str, rule: &str, zone: &str) -> Stored {
        let schedule = sample::schedule(id, 60, 0);
        let schedule = Schedule { spec: Rule::parse(rule, zone).unwrap().into(), ..schedule };
        Stored { schedule, revision: 1, cursor: None }
    }

    fn of(all: &[Stored], from: &str, days: u32, zone: &str) -> Calendar {
        let (now, zone) = (at("2026-03-27T10:30:00Z"), Zone::new(zone).unwrap());
        calendar(all, now, from.parse().unwrap(), days, &zone)
    }

    fn hours(day: &Day) -> Vec<(i8, u64, u64)> {
        day.hours.iter().map(|hour| (hour.hour, hour.fires, hour.at_once)).collect()
    }

    #[test]
    fn fires_are_counted_by_the_hour_of_a_zone_from_now_on() {
        let all = [
            stored("a", "0 9,12 * * *", "Europe/Berlin"),
            stored("b", "0 12 * * *", "Europe/Berlin"),
            stored("c", "30 23 * * SAT", "UTC"),
        ];
        let found = of(&all, "2026-03-27", 4, "Europe/Berlin");
        // It is half past eleven on the first day; the clock is set forward on the third.
        assert_eq!(found.days.iter().map(|day| day.fires).collect::<Vec<_>>(), [2, 3, 4, 3]);
        assert_eq!(hours(&found.days[0]), [(12, 2, 2)]);
        assert_eq!(hours(&found.days[2]), [(0, 1, 1), (9, 1, 1), (12, 2, 2)]);
        assert_eq!((found.collisions_count, found.instants.len()), (4, 0));
        let first = &found.collisions[0];
        assert_eq!((first.first_at, first.count), (at("2026-03-27T11:00:00Z"), 2));
        assert_eq!((found.collisions.len(), first.instants), (1, 4));
        assert_eq!(first.schedules, ["a", "b"].map(|id| id.parse().unwrap()));
        assert_eq!(found.zones, ["Europe/Berlin", "UTC"]);
        let utc = of(&all, "2026-03-28", 1, "UTC");
        assert_eq!(hours(&utc.days[0]), [(8, 1, 1), (11, 2, 2), (23, 1, 1)]);
        let instants: Vec<_> = utc.instants.iter().map(|moment| (moment.at, moment.count)).collect();
        assert_eq!(
            instants,
            [("2026-03-28T08:00:00Z", 1), ("2026-03-28T11:00:00Z", 2), ("2026-03-28T23:30:00Z", 1)]
                .map(|(text, count)| (at(text), count))
        );
    }

    #[test]
    fn an_hour_that_comes_twice_is_one() {
        let found = of(&[stored("a", "30 * * * *", "Europe/Berlin")], "2026-10-25", 1, "Europe/Berlin");
        assert_eq!(found.days[0].fires, 25);
        assert_eq!(hours(&found.days[0])[1..4], [(1, 1, 1), (2, 2, 1), (3, 1, 1)]);
    }

    #[test]
    fn what_fires_often_or_not_at_all_is_said() {
        let mut paused = stored("p", "0 * * * *", "UTC");
        paused.schedule.pause = Some(Pause::default());
        let mut later = stored("q", "0 * * * *", "UTC");
        later.schedule.pause = Some(Pause { until: Some(at("2026-03-28T22:00:00Z")), ..Pause::default() });
        let all = [stored("m", "* * * * *", "UTC"), stored("n", "*/15 * * * *", "UTC"), paused, later];
        let found = of(&all, "2026-03-28", 1, "UTC");
        assert_eq!(found.frequent, [Frequent { id: "m".parse().unwrap(), shortest_seconds: 60 }]);
        assert_eq!((found.days[0].fires, found.paused, found.schedules), (96 + 1, 1, 4));
        assert_eq!(hours(&found.days[0])[22..], [(22, 4, 1), (23, 5, 2)]);
        assert_eq!(found.left_out, 0);
    }

    #[test]
    fn what_has_come_is_left_out_and_bounds_hold() {
        let found = of(&[stored("a", "0 * * * *", "UTC")], "2026-03-26", 2, "UTC");
        assert_eq!(found.days.iter().map(|day| day.fires).collect::<Vec<_>>(), [0, 13]);
        assert_eq!(of(&[], "2026-03-26", 0, "UTC").days.len(), 1);
        assert_eq!(of(&[], "2026-03-26", 99, "UTC").days.len(), 42);
        assert_eq!(of(&[stored("a", "0 * * * *", "UTC")], "9999-12-30", 9, "UTC").days.len(), 2);
    }
}
