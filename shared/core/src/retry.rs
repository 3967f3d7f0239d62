//! When to try again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Exponential back-off with jitter, valid by construction.
///
/// The delay after the n-th failure is `initial_delay * multiplier^(n-1)`, at most `max_delay`, less a random part of
/// up to `jitter` of itself, so that jobs that failed together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
#[derive(Default)]
pub struct RetryPolicy {
    parts: Parts,
}

/// The numbers of a [`RetryPolicy`], not yet checked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parts {
    /// Failed attempts allowed, the first one included: 1 to 1000.
    pub max_attempts: u32,
    /// Before the second attempt, in seconds.
    pub initial_delay_seconds: f64,
    /// The longest, in seconds.
    pub max_delay_seconds: f64,
    /// From one failure to the next: at least 1.
    pub multiplier: f64,
    /// The part of a delay that is random: 0 to 1.
    pub jitter: f64,
}

/// A number is out of its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("retry.{field} is {value}: expected {expected}")]
pub struct InvalidPolicy {
    field: &'static str,
    value: f64,
    expected: &'static str,
}

/// The longest delay that a policy may name: a year.
const LONGEST_SECONDS: f64 = 366.0 * 86_400.0;

// === impl Parts ===

impl Default for Parts {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            initial_delay_seconds: 1.0,
            max_delay_seconds: 600.0,
            multiplier: 3.0,
            jitter: 0.2,
        }
    }
}

// === impl RetryPolicy ===

impl RetryPolicy {
    /// Failed attempts allowed, the first one included.
    pub const fn max_attempts(&self) -> u32 {
        self.parts.max_attempts
    }

    /// The numbers.
    pub const fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The same with another number of attempts.
    pub fn with_max_attempts(self, max_attempts: u32) -> Result<Self, InvalidPolicy> {
        Parts { max_attempts, ..self.parts }.try_into()
    }

    /// How long to wait after this many failures (from 1), or that there is no further attempt.
    ///
    /// `unit` is uniform in `0.0..1.0`; the same number gives the same delay.
    pub fn delay(&self, failures: u32, unit: f64) -> Option<Duration> {
        if failures >= self.parts.max_attempts {
            return None;
        }
        // Saturates to infinity, which the minimum brings back.
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let full = (self.parts.initial_delay_seconds * self.parts.multiplier.powi(exponent))
            .min(self.parts.max_delay_seconds);
        Some(Duration::from_secs_f64(full * (1.0 - self.parts.jitter * unit.clamp(0.0, 1.0))))
    }
}

impl TryFrom<Parts> for RetryPolicy {
    type Error = InvalidPolicy;

    fn try_from(parts: Parts) -> Result<Self, InvalidPolicy> {
        let check = |field, value: f64, low: f64, high: f64, expected| {
            if (low..=high).contains(&value) { Ok(()) } else { Err(InvalidPolicy { field, value, expected }) }
        };
        check("max_attempts", parts.max_attempts.into(), 1.0, 1000.0, "1 to 1000")?;
        check("initial_delay_seconds", parts.initial_delay_seconds, 0.0, LONGEST_SECONDS, "0 to a year")?;
        check("max_delay_seconds", parts.max_delay_seconds, 0.0, LONGEST_SECONDS, "0 to a year")?;
        check("multiplier", parts.multiplier, 1.0, 1000.0, "1 to 1000")?;
        check("jitter", parts.jitter, 0.0, 1.0, "0 to 1")?;
        Ok(Self { parts })
    }
}

impl From<RetryPolicy> for Parts {
    fn from(policy: RetryPolicy) -> Self {
        policy.parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn grows_to_the_cap_and_ends() {
        let policy: RetryPolicy = Parts {
            max_attempts: 5,
            initial_delay_seconds: 1.0,
            max_delay_seconds: 5.0,
            multiplier: 3.0,
            jitter: 0.0,
        }
        .try_into()
        .unwrap();
        let delays: Vec<_> = (1..=6).map(|n| policy.delay(n, 0.5).map(|d| d.as_secs())).collect();
        assert_eq!(delays, [Some(1), Some(3), Some(5), Some(5), None, None]);
    }

    #[test]
    fn ranges_are_checked() {
        for bad in [
            Parts { max_attempts: 0, ..Parts::default() },
            Parts { max_attempts: 1001, ..Parts::default() },
            Parts { multiplier: 0.5, ..Parts::default() },
            Parts { jitter: 1.5, ..Parts::default() },
            Parts { initial_delay_seconds: f64::NAN, ..Parts::default() },
            Parts { max_delay_seconds: -1.0, ..Parts::default() },
        ] {
            assert!(RetryPolicy::try_from(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn never_beyond_the_cap_nor_the_attempts(
            max_attempts in 1u32..=1000, initial in 0.0..1e6f64, cap in 0.0..1e6f64, multiplier in 1.0..1000.0f64,
            jitter in 0.0..=1.0f64, failures in 1u32..2000, unit in 0.0..1.0f64,
        ) {
            let policy: RetryPolicy = Parts {
                max_attempts, initial_delay_seconds: initial, max_delay_seconds: cap, multiplier, jitter,
            }.try_into().unwrap();
            match policy.delay(failures, unit) {
                None => prop_assert!(failures >= max_attempts),
                Some(delay) => {
                    prop_assert!(failures < max_attempts);
                    prop_assert!(delay.as_secs_f64() <= cap + 1e-6);
                    prop_assert_eq!(policy.delay(failures, unit), Some(delay));
                }
            }
        }
    }
}
