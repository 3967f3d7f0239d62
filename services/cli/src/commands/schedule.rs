//! `windlass schedule`.

use std::process::ExitCode;

use super::Error;
use crate::args::Global;

/// Work with schedules
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the command.
pub(crate) async fn run(_args: Args, _global: &Global) -> Result<ExitCode, Error> {
    Ok(ExitCode::SUCCESS)
}
