//! The commands that talk to a fleet.

pub(crate) mod error;
pub(crate) mod job;
pub(crate) mod queue;
pub(crate) mod schedule;
pub(crate) mod submit;

pub(crate) use error::Error;
