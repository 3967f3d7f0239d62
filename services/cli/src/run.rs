//! `windlass run`: a service in this process.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::ValueEnum;
use windlass_service::run_with_args;

use crate::dev::broker;
use crate::global::Global;

/// What to run.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Which service
    #[arg(value_enum)]
    pub(crate) program: Program,

    /// What the service's own program takes; --help tells
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub(crate) arguments: Vec<OsString>,
}

/// A program of the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Program {
    /// Publishes tasks when they are due.
    Scheduler,
    /// Admits and routes tasks.
    Dispatcher,
    /// Runs jobs.
    Worker,
    /// Keeps the history and shows it.
    Monitor,
    /// A nats-server that ends with whoever started it; a part of `windlass dev`.
    #[value(hide = true)]
    Broker,
    /// The worker of a measurement; a part of `windlass bench`.
    #[value(hide = true)]
    BenchWorker,
}

const AFTER_HELP: &str = "\
Each service is also a program of its own: `windlass-dispatcher` is `windlass run dispatcher`.

Examples:
  windlass run dispatcher --help
  windlass run worker --nats-url nats://127.0.0.1:4222 --set worker.slots=8

Exit codes: 0 stopped as asked; 1 failed while running; 2 wrong usage or configuration;
3 stopped, but work in flight did not end within drain.timeout.";

/// Runs the service until it is told to stop.
pub(crate) async fn run(args: Args, global: &Global) -> ExitCode {
    let arguments = given_before(global).into_iter().chain(args.arguments);
    match args.program {
        Program::Scheduler => {
            Box::pin(run_with_args::<windlass_scheduler::Scheduler>(arguments)).await.into()
        }
        Program::Dispatcher => {
            Box::pin(run_with_args::<windlass_dispatcher::Dispatcher>(arguments)).await.into()
        }
        Program::Worker => Box::pin(run_with_args::<windlass_worker::Worker>(arguments)).await.into(),
        Program::Monitor => Box::pin(run_with_args::<windlass_monitor::Monitor>(arguments)).await.into(),
        Program::Broker => broker::run(arguments).await,
        Program::BenchWorker => {
            Box::pin(run_with_args::<crate::bench::worker::BenchWorker>(arguments)).await.into()
        }
    }
}

/// Our options before the word `run`, in the service's words.
fn given_before(global: &Global) -> Vec<OsString> {
    [
        ("nats.url", global.nats_url.clone().map(OsString::from)),
        ("nats.user", global.nats_user.clone().map(OsString::from)),
        ("nats.password", global.nats_password.clone().map(OsString::from)),
        ("nats.password_file", global.nats_password_file.clone().map(OsString::from)),
        ("namespace", global.namespace.clone().map(OsString::from)),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
    .flat_map(|(key, value)| {
        let mut assignment = OsString::from(format!("{key}="));
        assignment.push(value);
        ["--set".into(), assignment]
    })
    .collect()
}
