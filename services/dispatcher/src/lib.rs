//! The dispatcher: admits tasks, routes them to their queues, and carries out operators' commands.
//!
//! It holds no state that another replica would miss: what it knows it has written to the broker before it
//! acknowledges what it read. Any number of replicas share two durable consumers.

mod absence;
mod admit;
mod cancel;
mod children;
mod command;
mod consume;
mod dependencies;
mod discard;
mod ended;
mod expire;
mod flow;
mod forget;
mod intake;
mod objects;
mod options;
mod order;
mod parents;
mod queues;
mod reconcile;
mod redrive;
mod reject;
mod release;
mod service;
mod shared;
mod unique;
mod zombie;

pub use options::Options;
pub use service::Dispatcher;
