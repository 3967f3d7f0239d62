//! Whether a redelivered message may be of a job that has ended and been forgotten.

use std::time::Duration;

use jiff::Timestamp;

use crate::JobId;

/// A time in which no dispatcher was seen, and so no task could be taken, or taken and lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absence {
    /// The last sign of any dispatcher before it.
    pub last_seen: Timestamp,
    /// The first after it.
    pub back: Timestamp,
}

// === impl Absence ===

impl Absence {
    /// From the last sign to the first; nothing if they come in the wrong order, as after the broker's clock was set
    /// back.
    pub fn length(&self) -> Duration {
        Duration::try_from(self.back.duration_since(self.last_seen)).unwrap_or_default()
    }
}

/// Whether it is known that a task's job has not ended and been forgotten.
///
/// A job's `done` refuses its duplicates for the horizon. A task that is delivered again makes a second job only if
/// the first one was made, ended, and its `done` expired, before the redelivery. Redelivery follows within `ack_wait`
/// while a dispatcher asks for tasks, so this takes an absence longer than the horizon; and only tasks that were
/// published before the absence can have been delivered before it. `slack` is how old `last_seen` may be.
///
/// The same holds of work that is delivered again under no `done`: while a dispatcher is there, it removes what an end
/// has left.
pub fn outcome_is_known(
    published_at: Timestamp,
    first_certain_delivery: bool,
    absence: Option<Absence>,
    horizon: Duration,
    slack: Duration,
) -> bool {
    if first_certain_delivery {
        return true;
    }
    let Some(absence) = absence else { return true };
    let away = absence.length() + slack;
    let may_have_been_delivered =
        published_at <= absence.last_seen.saturating_add(slack).unwrap_or(Timestamp::MAX);
    away < horizon || !may_have_been_delivered
}

/// The longest wait of a task for its admission that costs nothing of the horizon.
const LATE_AFTER: Duration = Duration::from_secs(60);
/// How much earlier than its task's publication an id is made.
const FRESH: Duration = Duration::from_secs(60);

/// How long a task may wait for its admission before it may be too late to know of an earlier job of its id.
pub fn late_after(horizon: Duration) -> Duration {
    horizon.min(LATE_AFTER)
}

/// How long the record of a job's end is kept: a duplicate that was published within the horizon is refused, although
/// it waits for its admission for as long as [`late_after`].
pub fn kept_for(horizon: Duration) -> Duration {
    horizon.saturating_add(late_after(horizon))
}

/// A task that is about to make a job, as nothing is known of its id.
#[derive(Debug, Clone, Copy)]
pub struct Admitted {
    /// Its id, as its publisher chose it; none if it was derived from the message itself.
    pub id: Option<JobId>,
    /// When the broker stored it.
    pub published_at: Timestamp,
    /// By the broker's clock.
    pub now: Timestamp,
    /// The latest of the dispatchers' absences.
    pub absence: Option<Absence>,
}

/// How long a task has waited, if an earlier job of its id may have been forgotten in that time: then it repeats that
/// job, and cannot be told from one that is new.
///
/// It is certainly new if its id is younger than ends are kept; or if its id was made for this publication and no
/// dispatcher can have admitted the same id before an absence. `slack` is how old a sign of life may be.
pub fn late_by(admitted: &Admitted, horizon: Duration, slack: Duration) -> Option<Duration> {
    let since = |at: Timestamp| Duration::try_from(admitted.now.duration_since(at)).unwrap_or_default();
    let waited = since(admitted.published_at);
    let id = admitted.id?;
    if waited <= late_after(horizon) {
        return None;
    }
    let Some(made_at) = id.made_at() else { return Some(waited) };
    // The clock of the publisher says so: what it says of the future is not believed.
    let age = admitted.published_at.duration_since(made_at);
    let is_remembered = age > jiff::SignedDuration::from_secs(-60) && since(made_at) <= kept_for(horizon);
    let before_absence = admitted
        .absence
        .is_some_and(|absence| made_at <= absence.last_seen.saturating_add(slack).unwrap_or(Timestamp::MAX));
    let is_new = is_remembered || (age.unsigned_abs() < FRESH && !before_absence);
    (!is_new).then_some(waited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waited_long_is_late_unless_its_id_is_new() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let (horizon, slack) = (Duration::from_secs(900), Duration::from_secs(60));
        let made = |s| JobId::from_parts(at(s), [7; 10]);
        let other = JobId::of_message(at(0), 1);
        let away = |from, to| Some(Absence { last_seen: at(from), back: at(to) });
        let check = |id: Option<JobId>, published: i64, now: i64, absence, expected: Option<u64>| {
            let admitted = Admitted { id, published_at: at(published), now: at(now), absence };
            let found = late_by(&admitted, horizon, slack);
            assert_eq!(found, expected.map(Duration::from_secs), "{admitted:?}");
        };
        check(Some(other), 10_000, 10_060, None, None);
        check(Some(other), 10_000, 10_061, None, Some(61));
        check(None, 10_000, 99_000, None, None);
        // Made long before it was published: it may be a repetition.
        check(Some(made(9_000)), 10_000, 10_061, None, Some(61));
        // Younger than the records of ends.
        check(Some(made(9_200)), 10_000, 10_160, None, None);
        check(Some(made(9_200)), 10_000, 10_161, None, Some(161));
        // Made for this publication: nothing was admitted between the two, but before an absence.
        check(Some(made(9_970)), 10_000, 20_000, None, None);
        check(Some(made(9_970)), 10_000, 20_000, away(5_000, 12_000), None);
        check(Some(made(9_970)), 10_000, 20_000, away(9_980, 12_000), Some(10_000));
        check(Some(made(9_970)), 10_000, 20_000, away(9_911, 12_000), Some(10_000));
        // Of a publisher whose clock is ahead.
        check(Some(made(13_600)), 10_000, 13_700, None, Some(3_700));
    }

    #[test]
    fn ends_outlast_the_wait_of_a_duplicate() {
        let seconds = Duration::from_secs;
        assert_eq!((kept_for(seconds(900)), late_after(seconds(900))), (seconds(960), seconds(60)));
        assert_eq!((kept_for(seconds(4)), late_after(seconds(4))), (seconds(8), seconds(4)));
    }

    #[test]
    fn an_absence_between_the_wrong_instants_is_none() {
        let at = |s| Timestamp::from_second(s).unwrap();
        assert_eq!(Absence { last_seen: at(9_000), back: at(100) }.length(), Duration::ZERO);
    }

    #[test]
    fn only_an_absence_beyond_the_horizon_hides_an_outcome() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let (horizon, slack) = (Duration::from_secs(900), Duration::from_secs(60));
        let long = Some(Absence { last_seen: at(10_000), back: at(11_000) });
        let short = Some(Absence { last_seen: at(10_000), back: at(10_100) });
        let known =
            |published, first, absence| outcome_is_known(at(published), first, absence, horizon, slack);
        assert!(known(9_000, true, long), "delivered for the first time");
        assert!(!known(9_000, false, long), "may have run before the absence");
        assert!(known(10_061, false, long), "published in the absence");
        assert!(known(9_000, false, short), "its record still stands");
        assert!(known(9_000, false, None));
    }
}
