//! `windlass dead`.

mod act;
mod list;
mod select;
mod show;

use std::process::ExitCode;

use super::Error;
use crate::global::Global;

const AFTER_HELP: &str = "\
Examples:
  windlass dead list --by-fingerprint
  windlass dead show 01890a5d-ac96-774b-bcce-b302099a8057
  windlass dead redrive --queue mail --fingerprint 0123456789abcdef --dry-run";

/// What to do with dead letters.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lists dead letters, the oldest first, or counts those that are alike
    List(list::Args),
    /// Shows a dead letter with its payload, its headers and every attempt
    Show(show::Args),
    /// Starts dead jobs again, as new ones
    #[command(after_help = act::REDRIVE_AFTER_HELP)]
    Redrive(act::Args),
    /// Removes dead letters
    #[command(after_help = act::DISCARD_AFTER_HELP)]
    Discard(act::Args),
}

/// Runs the command.
pub(crate) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    match args.command {
        Command::List(args) => list::run(args, global).await,
        Command::Show(args) => show::run(args, global).await,
        Command::Redrive(args) => Box::pin(act::run(act::Action::Redrive, args, global)).await,
        Command::Discard(args) => Box::pin(act::run(act::Action::Discard, args, global)).await,
    }
}
