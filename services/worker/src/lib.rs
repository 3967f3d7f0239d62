//! The worker: runs the jobs of its queues, of the kinds that are shipped.
//!
//! It is a program on the public SDK and nothing else: a worker of anybody's own can do what it does. What the kinds
//! take and give is said in [`kinds`].

pub mod kinds;
pub mod options;

mod codec;
mod service;

pub use options::Options;
pub use service::{Worker, serve};
