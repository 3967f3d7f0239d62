//! What every Windlass service has: configuration, start and drain, health and metrics endpoints, telemetry.
//!
//! A service implements [`Service`]; its `main.rs` is one line, `windlass_service::main::<Dispatcher>()`.
//!
//! The process binds its HTTP endpoint first, then connects to the broker and provisions, trying again for as long as
//! it takes: until then `/readyz` says what is missing, and `/livez` is green. On SIGTERM or SIGINT it drains within
//! `drain.timeout`; the same signal again stops it at once. Exit codes: 0 stopped as asked, 1 failed while running,
//! 2 wrong usage or configuration, 3 the drain did not end in time.

mod allocator;
mod args;
mod clock;
mod codec;
mod endpoint;
mod export;
mod layers;
mod nats;
mod recorder;
mod run;
mod signal;
mod start;
mod storing;

pub mod config;
pub mod health;
pub mod http;
mod presence;
mod problem;
pub mod secret;
pub mod service;
pub mod telemetry;
mod unread;

pub use codec::CodecSettings;
pub use layers::Assignment;
pub use nats::Nats;
pub use problem::{Problem, Problems, Validate};
pub use run::{main, run_with_args, runtime};
pub use secret::{Secret, ServerUrl};
pub use service::{Context, Exit, Service};
pub use windlass_broker::provision::{Layout, Part};
