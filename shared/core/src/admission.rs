//! Whether a redelivered message may be of a job that has ended and been forgotten.

use std::time::Duration;

use jiff::Timestamp;

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
    /// From the last sign to the first.
    pub fn length(&self) -> Duration {
        self.back.duration_since(self.last_seen).unsigned_abs()
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

#[cfg(test)]
mod tests {
    use super::*;

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
