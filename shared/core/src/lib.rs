//! The domain of Windlass, pure.
//!
//! Ids, names, states, the decisions of the protocol, retry and schedules. Nothing here does I/O, reads a clock or
//! draws a random number: instants and random parts come in as arguments, so each decision can be tested, modelled
//! and replayed. The words are those of `ARCHITECTURE.md`.

pub mod admission;
pub mod alert;
pub mod attempt;
pub mod audit;
pub mod dependency;
pub mod duration;
pub mod event;
pub mod expiry;
pub mod fingerprint;
pub mod flow;
pub mod forgetting;
pub mod history;
pub mod id;
pub mod labels;
pub mod letter;
pub mod lookahead;
pub mod name;
pub mod payload;
pub mod priority;
pub mod process;
pub mod protocol;
pub mod relations;
pub mod retry;
pub mod schedule;
pub mod settle;
pub mod state;
pub mod task;
pub mod told;
pub mod trace;
pub mod unique;

pub use attempt::{Attempt, JobError, Outcome};
pub use dependency::{Dependency, OnFailure};
pub use event::Event;
pub use id::JobId;
pub use name::{InvalidName, KeyId, Kind, PoolName, QueueName, ScheduleId};
pub use payload::{Compression, Encoding, Form, ObjectRef};
pub use priority::Priority;
pub use retry::RetryPolicy;
pub use state::{JobState, RecordKind, Transition};
pub use task::{InvalidTask, Limits, Start, Task};
