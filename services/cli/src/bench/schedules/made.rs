//! The schedules of a measurement, and the instants that they are to fire.

use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use windlass::Job as _;
use windlass_core::schedule::{
    Cause, Cron, Cursor, Interval, Overlap, Past, Policy, Rule, Schedule, Spec, Template, What,
};
use windlass_core::{JobId, Kind, Priority, QueueName, ScheduleId};

use crate::bench::kinds::Nothing;

/// Jobs, and the instant of each.
#[derive(Debug, Default)]
pub(super) struct Fires(pub(super) Vec<(JobId, Timestamp)>);

/// What they have in common.
pub(super) struct Maker {
    pub(super) payload: usize,
    pub(super) overlap: Overlap,
    /// They are made a minute before.
    pub(super) now: Timestamp,
}

/// Schedules that fire in turn, each once in a period.
pub(super) struct Evenly {
    pub(super) rate: u32,
    pub(super) period: Duration,
    pub(super) from: Timestamp,
    pub(super) time: Duration,
    /// Those of one second at its begin.
    pub(super) at_once: bool,
}

/// Zones of those that do not fire.
const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"];

pub(super) fn id(word: &str, number: u64) -> ScheduleId {
    format!("{word}-{number}").parse().unwrap_or_else(|error| unreachable!("{error}"))
}

pub(super) fn overlap(text: &str) -> Result<Overlap, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

pub(super) fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

// === impl Maker ===

impl Maker {
    fn schedule(&self, id: ScheduleId, spec: Spec) -> Schedule<Bytes> {
        let kind = Kind::try_from(Nothing::KIND.to_owned()).unwrap_or_else(|error| unreachable!("{error}"));
        Schedule {
            id,
            queue: QueueName::default(),
            task: Template {
                kind,
                payload: serde_json::to_vec(&Nothing::of(self.payload)).unwrap_or_default().into(),
                content_type: "application/json".to_owned(),
                priority: Priority::default(),
                retry: None,
                attempt_timeout: None,
                max_wait: None,
            },
            spec,
            policy: Policy { overlap: self.overlap, ..Policy::default() },
            pause: None,
            created_at: self.made_at(),
            requests: Vec::new(),
            edits: Vec::new(),
        }
    }

    fn made_at(&self) -> Timestamp {
        self.now - SignedDuration::from_mins(1)
    }

    /// One that fires on some later day, as most schedules of a fleet.
    pub(super) fn idle(&self, number: u64) -> Schedule<Bytes> {
        let (minute, hour) = (number % 60, number / 60 % 24);
        let expression = match number % 3 {
            0 => format!("{minute} {hour} * * *"),
            1 => format!("{minute} {hour} * * MON-FRI"),
            _ => format!("{minute} {hour} 1,15 * *"),
        };
        let zone = ZONES[usize::try_from(number).unwrap_or_default() % ZONES.len()];
        let cron = Cron::new(&expression, zone).unwrap_or_else(|error| unreachable!("{error}"));
        let tomorrow = self.now + SignedDuration::from_hours(24);
        let spec = Spec::from(Rule::Cron(cron)).between(Some(tomorrow), None);
        self.schedule(id("idle", number), spec.unwrap_or_else(|error| unreachable!("{error}")))
    }

    /// All that is kept of the past.
    pub(super) fn history(&self) -> Cursor {
        let made_at = self.made_at();
        let past = Past { instant: made_at, at: made_at, what: What::Fired(Cause::Rule), count: 1 };
        let fires = Cursor::MOST_RECENT as u64;
        Cursor { fires, recent: vec![past; Cursor::MOST_RECENT], ..Cursor::at(made_at) }
    }

    /// One that is due already.
    pub(super) fn first(&self) -> (Schedule<Bytes>, Timestamp) {
        let due = self.now - SignedDuration::from_secs(1);
        (self.schedule(id("first", 0), Rule::Once(due).into()), due)
    }

    pub(super) fn burst(&self, number: u64, at: Timestamp, fires: &mut Fires) -> Schedule<Bytes> {
        let schedule = self.schedule(id("burst", number), Rule::Once(at).into());
        fires.0.push((JobId::of_fire(&schedule.id, at), at));
        schedule
    }

    pub(super) fn even(&self, number: u64, evenly: &Evenly, fires: &mut Fires) -> Schedule<Bytes> {
        let rate = u64::from(evenly.rate);
        let nanos =
            if evenly.at_once { number / rate * 1_000_000_000 } else { number * 1_000_000_000 / rate };
        // A phase is of whole milliseconds.
        let phase = Duration::from_millis(nanos / 1_000_000);
        let end = evenly.from + evenly.time - SignedDuration::from_nanos(1);
        let spec = Interval::new(evenly.period, phase).map(|interval| Spec::from(Rule::Interval(interval)));
        let spec = spec.and_then(|spec| spec.between(Some(evenly.from), Some(end)));
        let schedule =
            self.schedule(id("even", number), spec.unwrap_or_else(|error| unreachable!("{error}")));
        let instants = schedule.spec.instants_between(self.now, end, usize::MAX);
        fires.0.extend(instants.into_iter().map(|instant| (JobId::of_fire(&schedule.id, instant), instant)));
        schedule
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_are_even_or_at_once() {
        let maker = Maker { payload: 10, overlap: Overlap::AllowAll, now: Timestamp::UNIX_EPOCH };
        for (at_once, expected) in [(false, vec![20_000, 20_250, 20_500, 20_750]), (true, vec![20_000; 4])] {
            let from = Timestamp::from_second(20).unwrap();
            let (period, time) = (Duration::from_secs(10), Duration::from_secs(15));
            let evenly = Evenly { rate: 4, period, from, time, at_once };
            let mut fires = Fires::default();
            for number in 0..40 {
                maker.even(number, &evenly, &mut fires);
            }
            let mut instants: Vec<_> = fires.0.iter().map(|(_, at)| at.as_millisecond()).collect();
            instants.sort_unstable();
            assert_eq!((instants.len(), &instants[..4]), (60, &expected[..]));
        }
        assert!(maker.idle(7).spec.next_after(Timestamp::UNIX_EPOCH).unwrap() > maker.now);
        assert!(overlap("skip") == Ok(Overlap::Skip) && overlap("some").is_err());
    }
}
