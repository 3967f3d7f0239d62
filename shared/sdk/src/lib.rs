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
//! A service publishes it with a [`Client`]; a handler is a function that takes it, and a [`Worker`] runs handlers:
//!
//! ```
//! # #[derive(serde::Serialize, serde::Deserialize)]
//! # struct SendMail { to: String }
//! # impl windlass::Job for SendMail { const KIND: &'static str = "mail.send"; }
//! use windlass::{Failure, Handlers, JobId, Logger};
//!
//! async fn send_mail(mail: SendMail, id: JobId, log: Logger) -> Result<String, Failure> {
//!     if !mail.to.contains('@') {
//!         return Err(Failure::new("not an address").code("bad_address").terminal());
//!     }
//!     log.info(format!("sending to {}", mail.to));
//!     Ok(format!("sent under the key {id}"))
//! }
//!
//! let handlers = Handlers::new().register(send_mail)?;
//! # Ok::<_, windlass::handler::Error>(())
//! ```
//!
//! **A handler may run twice**: its effects are to be idempotent, by the job's id.
//!
//! | to | see |
//! |---|---|
//! | publish, and wait for an end | [`Client`], [`Submission`] |
//! | publish many, all or none, or millions | [`Client::batch`], [`client::Bulk`] |
//! | let a job wait for others | [`Submission::after`], [`OnFailure`] |
//! | have one job of a key at a time, debounce, throttle, or collect tasks into one job | [`Unique`], [`Aggregate`] |
//! | write handlers, blocking ones and ones for batches | [`handler`], [`blocking()`], [`handler::batch`] |
//! | know what a handler may ask for | [`handler::extract`] |
//! | say what follows an attempt | [`Failure`] |
//! | say when failures are tried again | [`Job::retry`], [`RetryPolicy`], [`core::retry`] |
//! | stop in time | [`Cancellation`], [`Deadline`], [`worker::context::Reason`] |
//! | go on where the last attempt stopped | [`Checkpoint`] |
//! | tell people how far it is | [`Progress`], [`Logger`] |
//! | put something around every handler | [`handler::middleware`] |
//! | run handlers | [`Worker`], [`worker::Options`] |
//! | compress and seal payloads | [`codec`] |
//! | test without a broker | [`testing`] |
//!
//! Two complete programs are in `examples/`; the guide is `docs/writing-a-worker.md` of the repository.

pub mod client;
pub mod codec;
pub mod failure;
pub mod handler;
pub mod testing;
pub mod worker;

pub use client::{Aggregate, Client, Submission, Unique};
pub use codec::{Codec, Keyring};
pub use failure::Failure;
pub use handler::extract::{
    AttemptNumber, Cancellation, Checkpoint, Deadline, Logger, Payload, Progress, State,
};
pub use handler::{Extract, Handlers, Job, blocking};
pub use windlass_broker::{Auth, Options, Secret};
pub use windlass_core as core;
pub use windlass_core::dependency::{Dependency, OnFailure};
pub use windlass_core::told::LogLevel;
pub use windlass_core::unique::{Instead, OnConflict};
pub use windlass_core::{JobId, JobState, Kind, Priority, QueueName, RetryPolicy};
pub use worker::Worker;
pub use worker::context::{Context, NotSaved, Reason};
