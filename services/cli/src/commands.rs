//! The commands that talk to a fleet.
//!
//! Each checks all that it was given before anything is sent. Exit codes: 0 done; 1 it was not done, or the job that
//! was waited for did not succeed; 2 an argument is wrong; 4 there is no such job or schedule; 5 several queues have
//! the job's id.

pub(crate) mod api;
pub(crate) mod dead;
pub(crate) mod error;
pub(crate) mod job;
pub(crate) mod keys;
pub(crate) mod queue;
pub(crate) mod report;
pub(crate) mod schedule;
pub(crate) mod submit;

mod arguments;
mod bulk;
mod codec;
mod ending;
mod lookup;
mod record;
mod requester;
mod target;

pub(crate) use error::Error;
