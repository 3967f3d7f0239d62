//! Instants at even distances.

use std::time::Duration;

use jiff::Timestamp;

use super::Error;

/// The instants that are a whole number of periods after the Unix epoch.
///
/// They depend on nothing else, so whoever computes them, and whenever it started, finds the same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    period: Duration,
}

/// The shortest period: a second.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest: a hundred years. A longer one would have no instant that can be written.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

// === impl Interval ===

impl Interval {
    /// Checks the period: at least a second.
    pub fn new(period: Duration) -> Result<Self, Error> {
        if !(SHORTEST..=LONGEST).contains(&period) {
            return Err(Error::new("interval", &format!("{period:?}"), "at least 1s, at most 100 years"));
        }
        Ok(Self { period })
    }

    /// From one instant to the next.
    pub const fn period(&self) -> Duration {
        self.period
    }

    pub(super) fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        let period = i128::try_from(self.period.as_nanos()).ok()?;
        let periods = instant.as_nanosecond().div_euclid(period) + 1;
        Timestamp::from_nanosecond(periods.checked_mul(period)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn periods_have_bounds() {
        assert!(Interval::new(Duration::from_secs(1)).is_ok() && Interval::new(LONGEST).is_ok());
        for bad in [Duration::ZERO, Duration::from_nanos(999_999_999), LONGEST * 2, Duration::MAX] {
            assert_eq!(Interval::new(bad).unwrap_err().field, "interval");
        }
    }

    #[test]
    fn beyond_the_calendar_there_is_none() {
        assert!(Interval::new(LONGEST).unwrap().next_after(Timestamp::UNIX_EPOCH).is_some());
        assert_eq!(Interval::new(SHORTEST).unwrap().next_after(Timestamp::MAX), None);
    }

    proptest! {
        #[test]
        fn next_is_aligned_later_and_within_a_period(
            nanos in -4_000_000_000_000_000_000i128..4_000_000_000_000_000_000,
            millis in 1_000u64..100_000_000,
        ) {
            let interval = Interval::new(Duration::from_millis(millis)).unwrap();
            let at = Timestamp::from_nanosecond(nanos).unwrap();
            let next = interval.next_after(at).unwrap();
            let period = i128::from(millis) * 1_000_000;
            prop_assert_eq!(next.as_nanosecond().rem_euclid(period), 0);
            prop_assert!(next > at && next.as_nanosecond() - nanos <= period);
        }
    }
}
