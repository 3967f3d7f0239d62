//! `windlass job get`.

use std::process::ExitCode;

use jiff::Timestamp;
use tokio::time::Instant;

use super::show;
use crate::commands::arguments::Which;
use crate::commands::{Error, codec, lookup};
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::{self, Format};

const AFTER_HELP: &str = "\
Examples:
  windlass job get 01890a5d-ac96-774b-bcce-b302099a8057
  windlass job get 01890a5d-ac96-774b-bcce-b302099a8057 --queue mail -o json
  windlass job get 01890a5d-ac96-774b-bcce-b302099a8057 --reveal --codec-keys /etc/windlass/keys

The monitor is asked, which has the job's history. Where it cannot be reached, or has not heard of the job yet, the
live record is shown: it has no transitions, and a job that a worker has for the first time is still shown as queued.
A result in Object Store is fetched. What is sealed is shown as that, unless --reveal opens it.

Exit codes: 0 shown; 1 failed; 2 an argument is wrong; 4 no such job; 5 several queues have a job of this id.";

/// Which job.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    /// Open what is sealed, with the keys of --codec-keys
    #[arg(long)]
    reveal: bool,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let (id, queue) = args.which.read()?;
    let codec = codec::of(global)?;
    let fleet = Fleet::find(global)?;
    let view = lookup::find(&fleet, id, queue.as_ref()).await?;
    let opened =
        codec::open(&fleet, &codec, args.reveal, view.clone(), Instant::now() + codec::FETCH_TIMEOUT);
    let view = match opened.await {
        Ok(opened) => opened,
        Err(error) if args.reveal => return Err(error),
        // The rest is worth showing.
        Err(error) => {
            output::report(&error, global.output);
            view
        }
    };
    match global.output {
        Format::Json => output::json(&view)?,
        Format::Table => output::text(&show::job(&view, Timestamp::now()))?,
    }
    Ok(ExitCode::SUCCESS)
}
