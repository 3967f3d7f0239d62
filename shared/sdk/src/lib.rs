//! Windlass: publish tasks, write handlers, run workers.
//!
//! A task is a value of a type that names its kind:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct SendMail {
//!     to: String,
//! }
//!
//! impl windlass::Job for SendMail {
//!     const KIND: &'static str = "mail.send";
//! }
//! ```
//!
//! A service publishes it with a [`Client`]; a handler is an async function that takes it, and a [`Worker`] runs
//! handlers. See `examples/`. How both are tested without a broker is in [`testing`].

pub mod client;
pub mod codec;
pub mod failure;
pub mod handler;
pub mod testing;
pub mod worker;

pub use client::{Client, Submission};
pub use codec::{Codec, Keyring};
pub use failure::Failure;
pub use handler::extract::{
    AttemptNumber, Cancellation, Checkpoint, Deadline, Logger, Payload, Progress, State,
};
pub use handler::{Extract, Handlers, Job, blocking};
pub use windlass_broker::{Auth, Options, Secret};
pub use windlass_core as core;
pub use windlass_core::{JobId, JobState, Kind, Priority, QueueName, RetryPolicy};
pub use worker::Worker;
pub use worker::context::Context;
