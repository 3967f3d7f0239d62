//! `windlass job`.

use std::process::ExitCode;

use super::Error;
use crate::args::Global;

/// Look at jobs, follow and cancel them
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Get(GetArgs),
    List(ListArgs),
    Watch(WatchArgs),
    Cancel(CancelArgs),
}

/// Show one job with its attempts and transitions
#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {}
/// List jobs
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {}
/// Follow a job until it ends
#[derive(Debug, clap::Args)]
pub(crate) struct WatchArgs {}
/// Cancel a job
#[derive(Debug, clap::Args)]
pub(crate) struct CancelArgs {}

/// Runs the command.
pub(crate) async fn run(_args: Args, _global: &Global) -> Result<ExitCode, Error> {
    Ok(ExitCode::SUCCESS)
}
