//! The scheduler: publishes the tasks of schedules when they are due.
//!
//! Schedules stand in a key-value bucket, where operators change them ([`ScheduleStore`]); of any number of schedulers
//! one leads and fires. Each instant of a schedule makes one job, or is recorded as missed; how, is said in the module
//! that fires.
//!
//! The instants are those of this machine's clock: it is not compared with the broker's yet, so the machines that run
//! schedulers must keep theirs in step. A clock that is ahead fires early; none makes an instant fire twice.

pub mod file;
pub mod options;
pub mod store;

mod fire;
mod leading;
mod measure;
mod plan;
mod service;
mod world;

pub use options::Options;
pub use service::Scheduler;
pub use store::ScheduleStore;
