//! The section `[dispatcher]` of the configuration.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass_core::Limits;
use windlass_service::config::check_duration;
use windlass_service::{Problems, Validate};

/// What a dispatcher can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How many tasks, and how many commands, are worked on at one time: 1 to 10000.
    pub max_in_flight: usize,
    /// The largest payload in a task itself, in bytes: 1 to 1048576. The broker's own limit on messages holds as well.
    pub max_payload_bytes: usize,
    /// The largest payload in Object Store, in bytes as stored: up to 1 GiB.
    pub max_object_bytes: u64,
    /// The longest delay before a task's start: 1s to 366 days.
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
    /// The longest time that a task may allow for one attempt: 1s to 30 days.
    #[serde(with = "humantime_serde")]
    pub max_attempt_timeout: Duration,
}

// === impl Options ===

impl Options {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            max_payload_bytes: self.max_payload_bytes,
            max_object_bytes: self.max_object_bytes,
            max_delay: self.max_delay,
            max_attempt_timeout: self.max_attempt_timeout,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            max_in_flight: 256,
            max_payload_bytes: limits.max_payload_bytes,
            max_object_bytes: limits.max_object_bytes,
            max_delay: limits.max_delay,
            max_attempt_timeout: limits.max_attempt_timeout,
        }
    }
}

impl Validate for Options {
    fn validate(&self, problems: &mut Problems) {
        if !(1..=10_000).contains(&self.max_in_flight) {
            problems
                .add("max_in_flight", format!("{} is out of range: expected 1 to 10000", self.max_in_flight));
        }
        if !(1..=1_048_576).contains(&self.max_payload_bytes) {
            problems.add(
                "max_payload_bytes",
                format!("{} is out of range: expected 1 to 1048576", self.max_payload_bytes),
            );
        }
        if self.max_object_bytes > 1 << 30 {
            problems.add(
                "max_object_bytes",
                format!("{} is out of range: expected 0 to {}", self.max_object_bytes, 1 << 30),
            );
        }
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
        check_duration(problems, "max_delay", self.max_delay, second, day * 366);
        check_duration(problems, "max_attempt_timeout", self.max_attempt_timeout, second, day * 30);
    }
}
