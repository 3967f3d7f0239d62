//! The program `windlass-faults`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    windlass_tests::faults::main().await
}
