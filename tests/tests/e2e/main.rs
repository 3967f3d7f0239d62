//! End to end, by guarantee: one program, so that it is linked once.

mod backup;
mod bad_input;
mod cli;
mod credentials;
mod examples;
mod fault_rounds;
mod faults;
mod flow;
mod histories;
mod reconciler;
mod replicated;
mod schedules;
mod services;
mod structure;
mod support;
mod timers;
mod tracing;
