//! The program `windlass-dispatcher`.

use std::process::ExitCode;

fn main() -> ExitCode {
    windlass_service::main::<windlass_dispatcher::Dispatcher>()
}
