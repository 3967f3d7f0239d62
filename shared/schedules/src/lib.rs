//! Schedules as people give them and as the broker keeps them.
//!
//! What a scheduler does with them is decided in `windlass_core::schedule` and done in `windlass-scheduler`; here is what
//! all others need, the command line and the HTTP API among them: the files, the two buckets with who changed what, what
//! is shown of a schedule, and what is asked of it by hand.

pub mod application;
pub mod backfill;
pub mod calendar;
pub mod describe;
pub mod file;
pub mod misfires;
pub mod review;
pub mod store;
pub mod view;

#[cfg(test)]
mod sample;

pub use store::ScheduleStore;

/// Something that is asked of a schedule is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Invalid {
    /// Which part.
    pub field: &'static str,
    /// What it is, and what was expected.
    pub reason: String,
}
