//! The program `windlass-scheduler`.

use std::process::ExitCode;

fn main() -> ExitCode {
    windlass_service::main::<windlass_scheduler::Scheduler>()
}
