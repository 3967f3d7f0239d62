//! When to try again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::JobId;

/// How long to wait before the next attempt, and when to give up; valid by construction.
///
/// The delay after the n-th failure is that of the [`Backoff`], at most `max_delay`, or the n-th of an explicit list;
/// less a random part of up to `jitter` of itself, so that jobs that failed together do not come back together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct RetryPolicy {
    parts: Parts,
}

/// How delays grow from one failure to the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// `initial_delay * multiplier^(n-1)`.
    #[default]
    Exponential,
    /// `initial_delay * n`.
    Linear,
    /// `initial_delay`.
    Fixed,
}

/// The numbers of a [`RetryPolicy`], not yet checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parts {
    /// Failed attempts allowed, the first one included: 1 to 1000.
    pub max_attempts: u32,
    /// How delays grow.
    pub backoff: Backoff,
    /// Before the second attempt, in seconds.
    pub initial_delay_seconds: f64,
    /// The longest, in seconds.
    pub max_delay_seconds: f64,
    /// From one failure to the next, where they grow exponentially: at least 1.
    pub multiplier: f64,
    /// The part of a delay that is random: 0 to 1.
    pub jitter: f64,
    /// The delays themselves, in seconds, instead of a rule; the last one repeats. At most 100.
    pub delays_seconds: Vec<f64>,
    /// No attempt begins later than this after the job was accepted, in seconds.
    pub max_elapsed_seconds: Option<f64>,
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
            backoff: Backoff::Exponential,
            delays_seconds: Vec::new(),
            max_elapsed_seconds: None,
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

    /// For how long after its acceptance a job may begin another attempt.
    pub fn max_elapsed(&self) -> Option<Duration> {
        self.parts.max_elapsed_seconds.map(Duration::from_secs_f64)
    }

    /// How long to wait after this many failures (from 1), or that there is no further attempt.
    ///
    /// `unit` is uniform in `0.0..1.0`; the same number gives the same delay, see [`unit()`].
    pub fn delay(&self, failures: u32, unit: f64) -> Option<Duration> {
        let parts = &self.parts;
        if failures >= parts.max_attempts {
            return None;
        }
        let before = failures.saturating_sub(1);
        let full = match (parts.delays_seconds.as_slice(), parts.backoff) {
            ([.., last], _) => {
                let listed = usize::try_from(before).ok().and_then(|n| parts.delays_seconds.get(n));
                *listed.unwrap_or(last)
            }
            // Saturates to infinity, which the minimum brings back.
            ([], Backoff::Exponential) => {
                parts.initial_delay_seconds * parts.multiplier.powi(i32::try_from(before).unwrap_or(i32::MAX))
            }
            ([], Backoff::Linear) => parts.initial_delay_seconds * f64::from(failures),
            ([], Backoff::Fixed) => parts.initial_delay_seconds,
        };
        let full = if parts.delays_seconds.is_empty() { full.min(parts.max_delay_seconds) } else { full };
        Some(Duration::from_secs_f64(full * (1.0 - parts.jitter * unit.clamp(0.0, 1.0))))
    }
}

/// The random part of the delay after a job's n-th failure: uniform in `0.0..1.0`, and the same wherever it is asked
/// for, so that a job's whole sequence of delays can be told from its id. (SplitMix64: Steele, Lea and Flood, "Fast
/// splittable pseudorandom number generators", 2014.)
pub fn unit(job_id: JobId, failures: u32) -> f64 {
    let (high, low) = job_id.as_uuid().as_u64_pair();
    let mut state = high ^ low.rotate_left(32) ^ u64::from(failures).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let bits = u32::try_from((state ^ (state >> 31)) >> 32).unwrap_or_default();
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
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
        #[allow(clippy::cast_precision_loss, reason = "a bound on a length")]
        check("delays_seconds", parts.delays_seconds.len() as f64, 0.0, 100.0, "at most 100 of them")?;
        for delay in &parts.delays_seconds {
            check("delays_seconds", *delay, 0.0, LONGEST_SECONDS, "each 0 to a year")?;
        }
        if let Some(elapsed) = parts.max_elapsed_seconds {
            check("max_elapsed_seconds", elapsed, 0.001, LONGEST_SECONDS, "more than 0, to a year")?;
        }
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
            ..Parts::default()
        }
        .try_into()
        .unwrap();
        let delays: Vec<_> = (1..=6).map(|n| policy.delay(n, 0.5).map(|d| d.as_secs())).collect();
        assert_eq!(delays, [Some(1), Some(3), Some(5), Some(5), None, None]);
    }

    #[test]
    fn the_rules_differ_in_growth() {
        let delays = |parts: Parts| {
            let policy =
                RetryPolicy::try_from(Parts { jitter: 0.0, max_delay_seconds: 5.0, ..parts }).unwrap();
            (1..=4).filter_map(|n| policy.delay(n, 0.5)).map(|d| d.as_secs()).collect::<Vec<_>>()
        };
        let rule = |backoff| Parts { initial_delay_seconds: 2.0, backoff, ..Parts::default() };
        assert_eq!(delays(rule(Backoff::Linear)), [2, 4, 5, 5]);
        assert_eq!(delays(rule(Backoff::Fixed)), [2, 2, 2, 2]);
        // What is listed is meant: the cap is for rules.
        let list = Parts { delays_seconds: vec![1.0, 30.0], ..Parts::default() };
        assert_eq!(delays(list), [1, 30, 30, 30]);
    }

    #[test]
    fn a_jobs_delays_can_be_told_from_its_id() {
        let job_id: JobId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let policy = RetryPolicy::default();
        let delays: Vec<_> =
            (1..5).filter_map(|n| policy.delay(n, unit(job_id, n))).map(|d| d.as_millis()).collect();
        assert_eq!(delays, [943, 2617, 7840, 24073]);
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
            Parts { delays_seconds: vec![1.0; 101], ..Parts::default() },
            Parts { delays_seconds: vec![1.0, -1.0], ..Parts::default() },
            Parts { max_elapsed_seconds: Some(0.0), ..Parts::default() },
        ] {
            assert!(RetryPolicy::try_from(bad.clone()).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn the_random_part_is_within_its_range_and_differs(random: [u8; 10], failures in 1u32..100) {
            let job_id = JobId::from_parts(jiff::Timestamp::UNIX_EPOCH, random);
            let (now, next) = (unit(job_id, failures), unit(job_id, failures + 1));
            prop_assert!((0.0..1.0).contains(&now) && now.to_bits() != next.to_bits());
        }

        #[test]
        fn never_beyond_the_cap_nor_the_attempts(
            max_attempts in 1u32..=1000, initial in 0.0..1e6f64, cap in 0.0..1e6f64, multiplier in 1.0..1000.0f64,
            jitter in 0.0..=1.0f64, failures in 1u32..2000, unit in 0.0..1.0f64,
        ) {
            let policy: RetryPolicy = Parts {
                max_attempts, initial_delay_seconds: initial, max_delay_seconds: cap, multiplier, jitter,
                ..Parts::default()
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
