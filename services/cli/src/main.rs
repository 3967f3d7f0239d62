//! The program `windlass`.

mod args;
mod bench;
mod commands;
mod connect;
mod dev;
mod global;
mod output;
mod provision;
mod run;

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use args::{Cli, Command};

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // If nobody reads it, the exit code still says it.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let mut builder = match cli.command {
        Command::Run(_) | Command::Bench(_) => windlass_service::runtime(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, error),
    };
    let exit = runtime.block_on(Box::pin(execute(cli)));
    // What still blocks a thread has had its time.
    runtime.shutdown_timeout(Duration::from_millis(100));
    exit
}

async fn execute(Cli { global, command }: Cli) -> ExitCode {
    let result = match command {
        Command::Run(args) => return run::run(args, &global).await,
        Command::Dev(args) => {
            return dev::run(args, &global).await.unwrap_or_else(|error| fail(error.exit_code(), error));
        }
        Command::Bench(args) => {
            let measured = Box::pin(bench::run(args, &global)).await;
            return measured.unwrap_or_else(|error| fail(error.exit_code(), error));
        }
        Command::Provision(args) => {
            return provision::run(args, &global)
                .await
                .unwrap_or_else(|error| fail(error.exit_code(), error));
        }
        Command::Submit(args) => Box::pin(commands::submit::run(*args, &global)).await,
        Command::Job(args) => commands::job::run(args, &global).await,
        Command::Dead(args) => commands::dead::run(args, &global).await,
        Command::Keys(args) => commands::keys::run(&args),
        Command::Report(args) => Box::pin(commands::report::run(args, &global)).await,
        Command::Queue(args) => commands::queue::run(args, &global).await,
        Command::Schedule(args) => commands::schedule::run(args, &global).await,
    };
    result.unwrap_or_else(|error| {
        output::report(&error, global.output);
        ExitCode::from(error.exit_code())
    })
}

/// Says an error with its causes.
fn fail(exit_code: u8, error: impl Error + Send + Sync + 'static) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "windlass: {:#}", anyhow::Error::new(error));
    ExitCode::from(exit_code)
}
