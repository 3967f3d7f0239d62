//! `windlass submit`.

use std::process::ExitCode;

use super::Error;
use crate::args::Global;

const EXAMPLES: &str = "\
Examples:
  windlass submit file.digest '{\"path\": \"/etc/hosts\"}' --wait
  windlass submit report.make @order.json --queue reports --priority high --delay 10m
  echo '{\"argv\": [\"date\"]}' | windlass submit command.run - --wait=2m -o json";

/// Submit a task
///
/// Prints the job's id once the task is stored. With --wait, prints what became of it: the exit code is 0 if it
/// succeeded, and 1 if it ended otherwise or did not end in time.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to do, as file.digest
    #[arg(value_name = "KIND", allow_hyphen_values = true)]
    kind: String,
    /// The payload: JSON text, @FILE for a file's bytes, or - for what comes on standard input [default: null]
    #[arg(value_name = "JSON|@FILE|-", allow_negative_numbers = true)]
    payload: Option<String>,
    /// The queue [default: default]
    #[arg(long, short, value_name = "NAME", allow_hyphen_values = true)]
    queue: Option<String>,
    /// critical, high, normal or low [default: normal]
    #[arg(long, value_name = "LEVEL", allow_hyphen_values = true)]
    priority: Option<String>,
    /// Start no sooner than this long after acceptance, as 30s, 1h 30m or PT30S
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    delay: Option<String>,
    /// Start no sooner than this instant, as 2026-01-31T09:00:00Z
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    at: Option<String>,
    /// The job's id, a UUID: submitting it again makes no second job [default: a new one]
    #[arg(long, value_name = "UUID", allow_hyphen_values = true)]
    id: Option<String>,
    /// Failed attempts allowed, the first one included: 1 to 1000 [default: the fleet's]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    max_attempts: Option<String>,
    /// Time allowed for one attempt, as 30s [default: the fleet's]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    timeout: Option<String>,
    /// Of the payload; with another than application/json it is not checked to be JSON
    #[arg(long, value_name = "TYPE", allow_hyphen_values = true)]
    content_type: Option<String>,
    /// Wait for the job's end, for at most this long
    #[arg(
        long,
        value_name = "DURATION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "60s"
    )]
    wait: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(_args: Args, _global: &Global) -> Result<ExitCode, Error> {
    Ok(ExitCode::SUCCESS)
}
