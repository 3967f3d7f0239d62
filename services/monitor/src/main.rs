//! The program `windlass-monitor`.

use std::process::ExitCode;

fn main() -> ExitCode {
    windlass_service::main::<windlass_monitor::Monitor>()
}
