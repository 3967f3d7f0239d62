//! The section `[scheduler]` of the configuration.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass_core::schedule::{self, CatchUp};
use windlass_service::config::check_duration;
use windlass_service::{Problems, Validate};

/// What a scheduler can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// For how long a leader that is not heard of is still the leader. In whole seconds: 2s to 60s. Another scheduler
    /// takes over within this and a second.
    #[serde(with = "humantime_serde")]
    pub lease_ttl: Duration,
    /// How late an instant may be and still fire beside later ones: at most 1h. Of older ones only the latest fires,
    /// if nothing came after it; the others are recorded as missed.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// How many schedules may fire at one time: 1 to 4096. Of those that are due at one instant so many are published
    /// before the first cursors follow.
    pub max_concurrent_fires: usize,
}

// === impl Options ===

impl Options {
    /// `horizon` is for how long a queue remembers a job that has ended. A fire in doubt is tried again for a third of
    /// it: what is published then still passes the dispatcher before the first try can be forgotten.
    pub(crate) fn catch_up(&self, horizon: Duration) -> Result<CatchUp, schedule::Error> {
        CatchUp::new(self.grace, horizon / 3)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { lease_ttl: Duration::from_secs(3), grace: Duration::from_mins(1), max_concurrent_fires: 1024 }
    }
}

impl Validate for Options {
    fn validate(&self, problems: &mut Problems) {
        let seconds = Duration::from_secs;
        check_duration(problems, "lease_ttl", self.lease_ttl, seconds(2), seconds(60));
        if self.lease_ttl.subsec_nanos() != 0 {
            problems.add("lease_ttl", "has a part of a second: expected whole seconds");
        }
        check_duration(problems, "grace", self.grace, Duration::ZERO, seconds(3600));
        if !(1..=4096).contains(&self.max_concurrent_fires) {
            problems.add(
                "max_concurrent_fires",
                format!("{} is out of range: expected 1 to 4096", self.max_concurrent_fires),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        let check = |change: fn(&mut Options), good: bool| {
            let mut options = Options::default();
            change(&mut options);
            let mut problems = Problems::default();
            options.validate(&mut problems);
            assert_eq!(problems.is_empty(), good, "{options:?}");
        };
        check(|_| {}, true);
        check(|o| o.lease_ttl = Duration::from_secs(1), false);
        check(|o| o.lease_ttl = Duration::from_millis(2500), false);
        check(|o| o.grace = Duration::from_hours(1), true);
        check(|o| o.grace = Duration::from_secs(3601), false);
        check(|o| o.max_concurrent_fires = 0, false);
        check(|o| o.max_concurrent_fires = 4097, false);
    }
}
