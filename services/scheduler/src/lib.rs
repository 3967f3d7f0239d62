//! The scheduler: publishes the tasks of schedules when they are due.
//!
//! Schedules stand in a key-value bucket, where operators change them (`windlass_schedules`); of any number of schedulers
//! one leads and fires. Each instant of a schedule makes one job, or is recorded as missed; how, is said in the module
//! that fires.
//!
//! The instants are those of the broker's clock, which goes on by this process's steady clock between two looks at it:
//! a machine whose clock is wrong, or is set, fires neither early nor late. How wrong it is, readiness and a metric say.

pub mod options;

mod fire;
mod leading;
mod measure;
mod misfires;
mod plan;
mod service;
mod world;

pub use options::Options;
pub use service::Scheduler;
