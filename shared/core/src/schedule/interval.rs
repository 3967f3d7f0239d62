//! Instants at even distances.

use std::time::Duration;

use jiff::Timestamp;

use super::Error;
use crate::duration;

/// The instants that are a whole number of periods, and a phase, after the Unix epoch.
///
/// They depend on nothing else, so whoever computes them, and whenever it started, finds the same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    period: Duration,
    phase: Duration,
}

/// The shortest period: a second.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest: a hundred years. A longer one would have no instant that can be written.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

// === impl Interval ===

impl Interval {
    /// Checks the period, at least a second, and the phase, which is less than the period.
    pub fn new(period: Duration, phase: Duration) -> Result<Self, Error> {
        if !(SHORTEST..=LONGEST).contains(&period) {
            return Err(Error::new("interval", &format!("{period:?}"), "at least 1s, at most 100 years"));
        }
        if phase >= period {
            return Err(Error::new(
                "phase",
                &format!("{phase:?}"),
                format!("less than the period, {period:?}"),
            ));
        }
        Ok(Self { period, phase })
    }

    /// Reads a period, perhaps with a phase behind a slash, as `1h` or `1h/15m`.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let (period, phase) =
            text.split_once('/').map_or((text, None), |(period, phase)| (period, Some(phase)));
        let read = |field, text: &str| {
            duration::parse(text).ok_or_else(|| Error::new(field, text.trim(), duration::EXPECTED))
        };
        let phase = phase.map(|phase| read("phase", phase)).transpose()?;
        Self::new(read("interval", period)?, phase.unwrap_or_default())
    }

    /// From one instant to the next.
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// From the epoch to the first instant that is not before it.
    pub const fn phase(&self) -> Duration {
        self.phase
    }

    pub(super) fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        let (period, phase) =
            (i128::try_from(self.period.as_nanos()).ok()?, i128::try_from(self.phase.as_nanos()).ok()?);
        let periods = (instant.as_nanosecond() - phase).div_euclid(period) + 1;
        Timestamp::from_nanosecond(periods.checked_mul(period)?.checked_add(phase)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn periods_have_bounds() {
        let new = |period| Interval::new(period, Duration::ZERO);
        assert!(new(Duration::from_secs(1)).is_ok() && new(LONGEST).is_ok());
        for bad in [Duration::ZERO, Duration::from_nanos(999_999_999), LONGEST * 2, Duration::MAX] {
            assert_eq!(new(bad).unwrap_err().field, "interval");
        }
        assert!(Interval::new(SHORTEST, Duration::from_millis(999)).is_ok());
        assert_eq!(Interval::new(SHORTEST, SHORTEST).unwrap_err().field, "phase");
    }

    #[test]
    fn beyond_the_calendar_there_is_none() {
        let new = |period| Interval::new(period, Duration::ZERO).unwrap();
        assert!(new(LONGEST).next_after(Timestamp::UNIX_EPOCH).is_some());
        assert_eq!(new(SHORTEST).next_after(Timestamp::MAX), None);
    }

    proptest! {
        #[test]
        fn next_is_aligned_later_and_within_a_period(
            nanos in -4_000_000_000_000_000_000i128..4_000_000_000_000_000_000,
            millis in 1_000u64..100_000_000, phase in 0u64..1_000,
        ) {
            let phase = Duration::from_millis(millis * phase / 1000);
            let interval = Interval::new(Duration::from_millis(millis), phase).unwrap();
            let at = Timestamp::from_nanosecond(nanos).unwrap();
            let next = interval.next_after(at).unwrap();
            let period = i128::from(millis) * 1_000_000;
            prop_assert_eq!(next.as_nanosecond().rem_euclid(period), i128::try_from(phase.as_nanos()).unwrap());
            prop_assert!(next > at && next.as_nanosecond() - nanos <= period);
        }
    }
}
