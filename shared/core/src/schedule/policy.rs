//! What a schedule does when instants are late, and when the job before still goes on.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Error, Spec};

/// What to do at an instant while the job of the one before is still live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Fire all the same.
    #[default]
    AllowAll,
    /// Pass the instant over.
    Skip,
    /// Fire once the job has ended, for the first such instant; pass later ones over.
    BufferOne,
    /// Fire all of them, one after the other.
    BufferAll,
    /// Cancel the job, and fire once it has ended.
    CancelOther,
    /// Cancel the job, and fire at once.
    TerminateOther,
}

/// What to do about instants that came while no scheduler could fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfire {
    /// Fire none of them.
    Skip,
    /// Fire the latest of them.
    #[default]
    Latest,
    /// Fire all of them at once.
    All,
    /// Fire all of them, one at a time.
    Paced,
}

/// How a schedule deals with what does not go as planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The job before is live.
    pub overlap: Overlap,
    /// Instants are late.
    pub misfire: Misfire,
    /// Older instants are not made up for, whatever the policy says.
    pub catch_up_window: Duration,
    /// From one fire to the next, where they are paced.
    pub pace: Duration,
    /// A job that ends as dead or expired pauses the schedule.
    pub pause_on_failure: bool,
    /// It fires so often, and then no more.
    pub limit: Option<u64>,
}

// === impl Policy ===

impl Policy {
    /// The default of [`Self::catch_up_window`]: a year.
    pub const CATCH_UP_WINDOW: Duration = Duration::from_secs(365 * 86_400);
    /// The default of [`Self::pace`].
    pub const PACE: Duration = Duration::from_secs(10);

    /// Checks the parts against each other and the spec, whose instants after `from` are looked at.
    pub fn check(&self, spec: &Spec, from: Timestamp) -> Result<(), Error> {
        if self.limit == Some(0) {
            return Err(Error::new("limit", "0", "at least 1"));
        }
        if self.catch_up_window < Duration::from_secs(10) {
            let window = format!("{:?}", self.catch_up_window);
            return Err(Error::new("catch_up_window", &window, "at least 10s"));
        }
        let shortest = spec.shortest_distance(from).unwrap_or(Duration::MAX);
        if self.misfire == Misfire::Paced && (self.pace >= shortest || self.pace < Duration::from_millis(100))
        {
            let expected =
                format!("at least 100ms, and less than {shortest:?}, the shortest time between two instants");
            return Err(Error::new("pace", &format!("{:?}", self.pace), expected));
        }
        Ok(())
    }

    /// Whether it must be known what became of the job before.
    pub fn follows_jobs(&self) -> bool {
        self.pause_on_failure || self.overlap != Overlap::AllowAll
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            overlap: Overlap::default(),
            misfire: Misfire::default(),
            catch_up_window: Self::CATCH_UP_WINDOW,
            pace: Self::PACE,
            pause_on_failure: false,
            limit: None,
        }
    }
}
