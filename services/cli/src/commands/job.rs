//! `windlass job`.

mod cancel;
mod cancel_many;
mod get;
mod list;
pub(super) mod show;
mod watch;
mod why;

use std::process::ExitCode;

use super::Error;
use crate::global::Global;

const AFTER_HELP: &str = "\
Examples:
  windlass job list --state dead
  windlass job why 01890a5d-ac96-774b-bcce-b302099a8057
  windlass job get 01890a5d-ac96-774b-bcce-b302099a8057";

/// What to do with jobs.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Shows a job with its attempts and all that happened to it
    Get(get::Args),
    /// Lists jobs, newest first
    List(list::Args),
    /// Follows a job until it ends
    Watch(watch::Args),
    /// Says why a job does not run
    Why(why::Args),
    /// Ends a job, whatever it does now, or all jobs that match
    Cancel(cancel::Args),
}

/// Runs the command.
pub(crate) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    match args.command {
        Command::Get(args) => get::run(args, global).await,
        Command::List(args) => list::run(args, global).await,
        Command::Watch(args) => Box::pin(watch::run(args, global)).await,
        Command::Why(args) => Box::pin(why::run(args, global)).await,
        Command::Cancel(args) => Box::pin(cancel::run(args, global)).await,
    }
}
