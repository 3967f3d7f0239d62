//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum as _};

use crate::commands::{job, queue, schedule, submit};
use crate::output::Format;
use crate::{dev, provision, run};

/// Runs background work for other services, on NATS JetStream
#[derive(Debug, Parser)]
#[command(name = "windlass", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The broker's address; without it, that of a running `windlass dev`, then WINDLASS_NATS_URL
    #[arg(long, global = true, value_name = "URL", env = "WINDLASS__NATS__URL", hide_env_values = true)]
    pub(crate) nats_url: Option<String>,

    /// The broker's user to be
    #[arg(long, global = true, value_name = "NAME", env = "WINDLASS__NATS__USER")]
    pub(crate) nats_user: Option<String>,

    /// Its password; other users of this machine may see it here, rather use the file or the environment
    #[arg(
        long,
        global = true,
        value_name = "PASSWORD",
        env = "WINDLASS__NATS__PASSWORD",
        hide_env_values = true,
        conflicts_with = "nats_password_file"
    )]
    pub(crate) nats_password: Option<String>,

    /// A file that holds the password
    #[arg(long, global = true, value_name = "FILE", env = "WINDLASS__NATS__PASSWORD_FILE")]
    pub(crate) nats_password_file: Option<PathBuf>,

    /// The folder of `windlass dev`
    #[arg(long, global = true, value_name = "DIR", env = "WINDLASS_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// The first word of every subject, so that several fleets share a broker
    #[arg(long, global = true, value_name = "NAME", env = "WINDLASS__NAMESPACE")]
    pub(crate) namespace: Option<String>,

    /// How answers are printed
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Starts a broker and a whole fleet on this machine
    Dev(dev::Args),
    /// Runs one service in this process
    Run(run::Args),
    /// Makes or checks streams, consumers and buckets
    Provision(provision::Args),
    /// Publishes a task
    Submit(submit::Args),
    /// Reads, lists, watches and cancels jobs
    Job(job::Args),
    /// Lists queues
    Queue(queue::Args),
    /// Applies, lists and deletes schedules
    Schedule(schedule::Args),
}

const AFTER_HELP: &str = "\
Examples:
  windlass dev --demo                                    a broker, four services and a first hundred jobs
  windlass submit file.digest '{\"path\": \"/etc/hosts\"}' --wait
  windlass job list -o json

Exit codes: 0 done; 1 failed, or a job that was waited for did not succeed; 2 wrong usage or configuration;
3 (run) stopped, but work in flight did not end in time; 4 no such job or schedule; 5 the id is in several queues.";

// === impl Cli ===

impl Cli {
    /// Reads a whole command line. After `run SERVICE` all belongs to the service, also what has our options' names.
    pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let arguments: Vec<_> = arguments.into_iter().collect();
        if let [_, word, service, rest @ ..] = arguments.as_slice()
            && word == "run"
            && let Some(program) = service.to_str().and_then(|name| run::Program::from_str(name, false).ok())
        {
            let args = run::Args { program, arguments: rest.to_vec() };
            return Ok(Self { global: Global::default(), command: Command::Run(args) });
        }
        Self::try_parse_from(arguments)
    }
}

// === impl Global ===

impl Global {
    /// The environment variables of a service's configuration that say the same.
    pub(crate) fn variables(&self) -> Vec<(&'static str, OsString)> {
        let text = |value: &Option<String>| value.clone().map(OsString::from);
        [
            ("WINDLASS__NATS__URL", text(&self.nats_url)),
            ("WINDLASS__NATS__USER", text(&self.nats_user)),
            ("WINDLASS__NATS__PASSWORD", text(&self.nats_password)),
            ("WINDLASS__NATS__PASSWORD_FILE", self.nats_password_file.clone().map(OsString::from)),
            ("WINDLASS__NAMESPACE", text(&self.namespace)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn read(line: &str) -> Result<Cli, clap::Error> {
        Cli::read(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        fn check(command: &clap::Command) {
            // What only groups commands leaves the examples to them.
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(command.has_subcommands() || help.contains("Example"), "{}", command.get_name());
            command.get_subcommands().filter(|c| !c.is_hide_set()).for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn what_follows_a_service_is_the_services() {
        let cli = read("windlass run dispatcher -o toml --dump-config --nats-url x --help").unwrap();
        let Command::Run(args) = cli.command else { panic!("{:?}", cli.command) };
        assert_eq!(args.program, run::Program::Dispatcher);
        assert_eq!(args.arguments.len(), 6);
        assert_eq!(cli.global.nats_url, None);
        assert!(read("windlass run nothing").is_err());
    }
}
