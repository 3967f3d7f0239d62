//! `windlass queue`.

mod change;
mod list;
mod pause;
mod set;
mod show;
mod why;

use std::process::ExitCode;

use windlass_broker::flow::Flow;
use windlass_broker::locate;
use windlass_core::QueueName;

use super::Error;
use crate::connect::Fleet;
use crate::global::Global;

const AFTER_HELP: &str = "\
Examples:
  windlass queue set mail --concurrency 20 --key-concurrency 1 --wait
  windlass queue pause mail --reason \"provider down\"
  windlass queue why mail";

/// What to do with queues.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lists queues, with how many of their jobs stand where
    #[command(after_help = list::AFTER_HELP)]
    List,
    /// Shows a queue: its settings, who set them, and what waits in it
    Show(show::Args),
    /// Changes limits, order, rates and fairness of a queue, while it works
    Set(Box<set::Args>),
    /// Starts nothing more of a queue, of kinds or of keys
    Pause(pause::PauseArgs),
    /// Goes on with what was paused
    Resume(pause::ResumeArgs),
    /// Says why the jobs of a queue wait: each counted under one cause
    Why(why::Args),
}

/// Runs the command.
pub(crate) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    match args.command {
        Command::List => list::run(global).await,
        Command::Show(args) => Box::pin(show::run(args, global)).await,
        Command::Set(args) => Box::pin(set::run(*args, global)).await,
        Command::Pause(args) => Box::pin(pause::pause(args, global)).await,
        Command::Resume(args) => Box::pin(pause::resume(args, global)).await,
        Command::Why(args) => Box::pin(why::run(args, global)).await,
    }
}

/// The queue, in the stream of the pool that serves it.
async fn flow(fleet: &Fleet, queue: &QueueName) -> Result<Flow, Error> {
    let broker = fleet.broker().await?;
    let pool = locate::serving(broker, queue).await.map_err(|source| Error::Why(source.into()))?;
    Ok(Flow::new(broker, pool, queue.clone()))
}
