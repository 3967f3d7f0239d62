//! End to end, by guarantee: one program, so that it is linked once.

mod backup;
mod bad_input;
mod bench;
mod cli;
mod credentials;
mod dead_letters;
mod delivered_no_more;
mod examples;
mod execution;
mod fault_rounds;
mod faults;
mod flow;
mod histories;
mod http_actions;
mod newer_versions;
mod payloads;
mod reconciler;
mod redrive;
mod replicated;
mod schedules;
mod services;
mod structure;
mod support;
mod testing_fleet;
mod timers;
mod tracing;
