//! Windlass on NATS JetStream: names, provisioning, conditional publishes, leases, trace headers.
//!
//! The only crate that uses `async-nats`. It moves bytes and says what became of them; what they mean is decided in
//! `windlass-core`.

pub mod absence;
pub mod ahead;
mod answer;
mod await_done;
mod batch;
pub mod cancel;
pub mod clock;
pub mod commands;
pub mod connect;
pub mod consumers;
pub mod dead;
pub mod delivery;
mod elections;
pub mod events;
pub mod failpoint;
pub mod floor;
pub mod flow;
mod grouped;
pub mod jobs;
pub mod kv;
pub mod leader;
pub mod local;
pub mod locate;
pub mod names;
pub mod objects;
pub mod options;
pub mod presence;
pub mod provision;
pub mod publish;
pub mod pull;
pub mod queues;
pub mod retry;
mod silence;
pub mod storing;
pub mod stream_state;
pub mod tasks;
pub mod trace;
pub mod unread;
pub mod why;

pub use connect::{Broker, Status};
pub use names::Names;
pub use options::{Auth, Options, Secret};
