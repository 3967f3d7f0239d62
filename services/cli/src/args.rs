//! The command line.

use std::ffi::OsString;

use clap::{Parser, Subcommand, ValueEnum as _};

use crate::commands::{dead, job, keys, queue, report, schedule, submit};
use crate::global::Global;
use crate::{bench, dev, provision, run};

/// Runs background work for other services, on NATS JetStream
#[derive(Debug, Parser)]
#[command(name = "windlass", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Starts a broker and a whole fleet on this machine
    Dev(dev::Args),
    /// Runs one service in this process
    Run(run::Args),
    /// Measures a fleet on this machine
    Bench(bench::Args),
    /// Makes or checks streams, consumers and buckets
    Provision(provision::Args),
    /// Publishes a task
    Submit(Box<submit::Args>),
    /// Reads, lists, watches, explains and cancels jobs
    Job(job::Args),
    /// Lists, shows, starts again and discards dead letters
    Dead(dead::Args),
    /// Makes keys for sealing payloads
    Keys(keys::Args),
    /// Shows, limits, pauses and explains queues
    Queue(queue::Args),
    /// Applies, looks at, pauses, triggers and deletes schedules
    Schedule(schedule::Args),
    /// Reports what happened: daily, weekly, failures, handoff, schedules
    Report(report::Args),
}

const AFTER_HELP: &str = "\
Examples:
  windlass dev --demo                                    a broker, four services and a first hundred jobs
  windlass submit file.digest '{\"path\": \"/etc/hosts\"}' --wait
  windlass job list -o json

Exit codes: 0 done; 1 failed, or a job that was waited for did not succeed; 2 wrong usage or configuration;
3 (run) stopped, but work in flight did not end in time; 4 no such job,
dead letter or schedule; 5 the id is in several queues.";

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
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{}", command.get_name());
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
        let help = read("windlass run --help").unwrap_err();
        assert_eq!(help.kind(), clap::error::ErrorKind::DisplayHelp);
    }
}
