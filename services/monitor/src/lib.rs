//! The monitor: projects EVENTS into a database, and shows from there what became of the jobs.
//!
//! EVENTS is history, never the truth of a live job; so is all that is shown here. Nothing here writes to the broker but
//! the monitor's own address, and the commands of an operator who acts by the API.

pub mod access;
pub mod alerts;
pub mod api;
pub mod audit;
pub mod database_url;
pub mod floor;
pub mod job_set;
pub mod live;
pub mod operations;
pub mod options;
pub mod progress;
pub mod ranges;
pub mod report;
pub mod reports;
pub mod retention;
pub mod store;
pub mod trace_url;
pub mod webhook;

mod endpoint;
mod projection;
mod service;
mod trace;
mod web_address;

pub use options::Options;
pub use service::Monitor;
