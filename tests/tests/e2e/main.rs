//! End to end, by guarantee: one program, so that it is linked once.

mod bad_input;
mod credentials;
mod faults;
mod flow;
mod services;
mod structure;
mod support;
mod tracing;
