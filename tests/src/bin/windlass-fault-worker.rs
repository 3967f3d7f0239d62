//! The program `windlass-fault-worker`: what runs the jobs of the fault suite.

use std::process::ExitCode;

fn main() -> ExitCode {
    windlass_service::main::<windlass_tests::faults::FaultWorker>()
}
