//! The program `windlass-worker`.

use std::process::ExitCode;

fn main() -> ExitCode {
    windlass_service::main::<windlass_worker::Worker>()
}
