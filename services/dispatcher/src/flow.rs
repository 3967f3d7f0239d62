//! Flow control: what a queue's settings let through, and when.
//!
//! A job of a controlled queue comes as `due`, from its admission and after every delay. The queue's *owner*, one
//! dispatcher at a time, reads what is due, and notices that a slot was given back. It decides in rounds: what may run
//! goes to the workers as `ready`, with the slots that it takes; the rest is `held`, with a place in the line that it
//! waits in. A round is written all or none, on the condition that this dispatcher still owns the queue
//! (`windlass_broker::flow`). Nothing is known only here: an owner that is replaced, or in doubt, reads again.

mod ahead;
mod astray;
mod at_limit;
mod audit;
mod bursts;
mod decide;
mod decision;
mod given_back;
mod leave;
mod lookout;
mod owner;
mod ownership;
mod recall;
mod round;
mod settings;
mod state;
mod sweep;

pub(crate) use self::astray::bring_back;
pub(crate) use self::bursts::Bursts;
pub(crate) use self::leave::{leave, unblock};
pub(crate) use self::ownership::run;
pub(crate) use self::settings::Settings;
pub(crate) use self::state::lane_of;

/// For each call beside the decisions.
const CALL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);

/// Why an owner stops, or begins again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Another owns the queue.
    #[error("the queue has another owner")]
    Lost,
    /// What was written may come into force or not.
    #[error("it is not known whether a decision is in force")]
    Unknown,
    /// The consumer is gone.
    #[error("the queue's consumer is gone")]
    NoConsumer,
    /// The broker did not do it.
    #[error("the broker did not do what was asked")]
    Broker(#[from] windlass_broker::connect::Error),
    /// A job could not be read.
    #[error("a job could not be read")]
    Jobs(#[from] windlass_broker::jobs::Error),
    /// A worker could not be told.
    #[error("a worker could not be told to hand a job back")]
    Mark(#[from] windlass_broker::kv::Error),
    /// The consumer could not be made.
    #[error("the queue's consumer could not be made")]
    Provision(#[from] windlass_broker::provision::Error),
}
