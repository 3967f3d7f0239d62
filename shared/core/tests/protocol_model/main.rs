//! The JOBS protocol, explored: every interleaving of one job under a bounded number of faults, with the decisions of
//! `windlass_core::protocol` and nothing in their place.
//!
//! - [`state`] is the world: messages of the job in TASKS and JOBS, and who is in the middle of what. A step is one
//!   operation of the broker, so that a crash may fall between any two; even a view is read in two.
//! - [`broker`], [`dispatcher`], [`holder`] and [`operator`] make the steps, [`publish`] and [`reading`] those that
//!   they share. What they decide, they ask of [`defences`], which hands on the real decisions or leaves one out.
//! - [`scenario`] bounds a run, [`model`] names what must hold, [`progress`] shows that nothing is caught in a circle.
//! - [`holds`]: with every defence, every guarantee holds. [`breaks`]: without any one of them, one breaks;
//!   `histories.md` has the shortest history of each, for tests on a real broker.
//!
//! What is assumed: one job at a time; two slots and two dispatchers at once; a `done` outlives every lease, read and
//! command, so that only a create can come after it; a task that waits in TASKS for longer than that is for
//! `admission`; a holder knows by its own clock, or by the connection, that its lease may have ended, unless the broker
//! forgot the delivery unseen.

mod breaks;
mod broker;
mod defences;
mod dispatcher;
mod histories;
mod holder;
mod holds;
mod model;
mod operator;
mod progress;
mod publish;
mod reading;
mod scenario;
mod state;
mod step;
