//! End-to-end tests over real processes; and the fault suite, which a program and a short set of tests run.

pub mod faults;
