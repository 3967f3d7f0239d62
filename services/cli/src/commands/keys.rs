//! `windlass keys`.

use std::process::ExitCode;

use jiff::Timestamp;
use windlass::codec::{Key, KeyId};

use super::Error;
use super::arguments::optional;
use crate::output;

const AFTER_HELP: &str = "\
Example:
  (umask 077; windlass keys generate > /etc/windlass/keys)";

const GENERATE_HELP: &str = "\
Examples:
  (umask 077; windlass keys generate > /etc/windlass/keys)
  windlass keys generate --id 2026-11

The line is a secret. Publishers and workers take a file of such lines (--codec-keys, codec.keys_file): the first one
seals, all of them open. To change the key: add the new line below and restart all who read, move it to the top and
restart all, and take the old one out when nothing that it sealed is left.";

/// Makes keys for sealing payloads
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Prints a new key
    Generate(Generate),
}

/// A new key.
#[derive(Debug, clap::Args)]
#[command(after_help = GENERATE_HELP)]
struct Generate {
    /// Its name, which is no secret: letters, digits, `_`, `-` and `.` [default: today and a random part]
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    id: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Error> {
    let Command::Generate(Generate { id }) = &args.command;
    let id = match optional::<KeyId>("id", id.as_deref())? {
        Some(id) => id,
        None => fresh()?,
    };
    output::text(&format!("{}\n", Key::generate(id).to_line().as_str()))?;
    Ok(ExitCode::SUCCESS)
}

fn fresh() -> Result<KeyId, Error> {
    let day = Timestamp::now().strftime("%Y%m%d").to_string();
    format!("k{day}-{:04x}", rand::random::<u16>()).parse().map_err(|e| Error::input("id", e))
}
