//! The command line of a service.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser, ValueEnum};

use crate::config::Sources;
use crate::layers::Assignment;
use crate::problem::Problems;

/// What a service takes on its command line.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, version, args_override_self = true)]
pub(crate) struct Args {
    /// A TOML file; WINDLASS_CONFIG names one too
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Sets one value above the file and the environment; may be repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,

    /// The broker's address: the same as --set nats.url=URL
    #[arg(long, value_name = "URL")]
    nats_url: Option<String>,

    /// Address and port of the HTTP endpoint, port 0 for any: the same as --set http.listen=ADDRESS
    #[arg(long, value_name = "ADDRESS:PORT")]
    http_listen: Option<String>,

    /// auto, json or pretty: the same as --set log.format=FORMAT
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,

    /// Says all that is wrong with the configuration, and exits with 0 or 2
    #[arg(long, conflicts_with = "dump_config")]
    pub(crate) check_config: bool,

    /// Prints the configuration in effect, without secrets
    #[arg(long)]
    pub(crate) dump_config: bool,

    /// How --dump-config prints
    #[arg(short, long, value_enum, default_value_t = Output::Toml, requires = "dump_config")]
    pub(crate) output: Output,

    /// Drains when standard input ends, so that a supervisor that dies takes its services along
    #[arg(long, hide = true)]
    pub(crate) exit_with_stdin: bool,
}

/// A format of `--dump-config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Toml,
    Json,
}

// === impl Args ===

impl Args {
    /// Reads the command line of a service, without the program's name.
    pub(crate) fn parse_from(
        service: &'static str,
        about: &'static str,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, clap::Error> {
        let program = format!("windlass-{service}");
        let command = Self::command()
            .name(service)
            .bin_name(&program)
            .display_name(&program)
            .about(about)
            .after_help(help(&program, service));
        Self::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    /// The layers of the configuration that the command line and the environment give.
    pub(crate) fn sources(
        &self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Sources, Problems> {
        let mut problems = Problems::default();
        let mut sources = Sources::from_environment(environment).unwrap_or_else(|found| {
            problems = found;
            Sources::default()
        });
        if let Some(file) = &self.config {
            sources.file = Some(file.clone());
        }
        for text in &self.set {
            match Assignment::from_flag(text) {
                Ok(assignment) => sources.flags.push(assignment),
                Err(problem) => problems.push(problem),
            }
        }
        for (flag, key, value) in [
            ("--nats-url", "nats.url", &self.nats_url),
            ("--http-listen", "http.listen", &self.http_listen),
            ("--log-format", "log.format", &self.log_format),
        ] {
            let assign = |value: &String| Assignment {
                key: key.to_owned(),
                value: value.clone(),
                origin: flag.to_owned(),
            };
            sources.flags.extend(value.as_ref().map(assign));
        }
        if problems.is_empty() { Ok(sources) } else { Err(problems) }
    }
}

fn help(program: &str, service: &str) -> String {
    format!(
        "Configuration, each above the one before: defaults, the file, the environment, flags.\n\
         In the environment, WINDLASS__NATS__URL is nats.url; a list has commas between its members.\n\
         \n\
         Examples:\n  \
         {program} --config /etc/windlass/{service}.toml\n  \
         {program} --nats-url nats://127.0.0.1:4222 --set provision=verify\n  \
         WINDLASS__LOG__FORMAT=json {program} --check-config\n\
         \n\
         Exit codes: 0 stopped as asked; 1 failed while running; 2 wrong usage or configuration;\n\
         3 stopped, but work in flight did not end within drain.timeout."
    )
}
