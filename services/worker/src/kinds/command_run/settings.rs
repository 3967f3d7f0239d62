//! The section `[worker.command]` of the configuration.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass_service::config::check_duration;
use windlass_service::{Problems, Validate};

use crate::kinds::excerpt;

/// What `command.run` may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The programs that tasks may name, compared with the first of `argv` as it is written. Empty: any, so that
    /// whoever may publish runs what he likes with the worker's rights.
    pub allow: Vec<String>,
    /// Variables of the worker's own environment that programs see. No other reaches them.
    pub environment: Vec<String>,
    /// Variables that a task may set. Some, as `LD_PRELOAD` and `PATH`, choose what code runs.
    pub task_environment: Vec<String>,
    /// How much of a program's output is kept, of each of the two: at most 30720. The rest is read and dropped.
    pub output_limit_bytes: usize,
    /// From SIGTERM to SIGKILL, at most 60s, and less than the worker's `cancel_grace`.
    #[serde(with = "humantime_serde")]
    pub kill_grace: Duration,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        Self {
            allow: Vec::new(),
            environment: words(&["PATH", "HOME", "LANG", "TZ"]),
            task_environment: Vec::new(),
            output_limit_bytes: 16 * 1024,
            kill_grace: Duration::from_secs(2),
        }
    }
}

impl Validate for Settings {
    fn validate(&self, problems: &mut Problems) {
        if self.allow.iter().any(String::is_empty) {
            problems.add("allow", "has an empty name: expected programs as tasks name them");
        }
        for (key, names) in [("environment", &self.environment), ("task_environment", &self.task_environment)]
        {
            if let Some(bad) = names.iter().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
                problems.add(key, format!("`{bad}` is not the name of a variable"));
            }
        }
        if self.output_limit_bytes > excerpt::LIMIT_BYTES {
            let (found, most) = (self.output_limit_bytes, excerpt::LIMIT_BYTES);
            problems.add("output_limit_bytes", format!("{found} is out of range: expected at most {most}"));
        }
        check_duration(problems, "kill_grace", self.kill_grace, Duration::ZERO, Duration::from_mins(1));
    }
}
