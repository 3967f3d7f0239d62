//! `windlass bench`: how fast a fleet is here, and how near that is to what the broker itself can do.
//!
//! Each run has a dispatcher and a worker of its own, separate processes as they are deployed, and counts the record of
//! every job's end before it says how long that took.

// Figures for people: beyond 2^53 jobs they are a little wrong.
#![allow(clippy::cast_precision_loss)]

mod delayed;
mod error;
mod idle;
mod latency;
mod load;
mod records;
mod report;
mod settings;
mod stage;
mod throughput;
mod usage;
mod work;
pub(crate) mod worker;

use std::process::ExitCode;

use clap::Subcommand;

pub(crate) use error::Error;

use crate::dev::screen::Screen;
use crate::global::Global;

/// Measures a fleet on this machine
///
/// Starts a dispatcher and a worker, and a broker unless --nats-url names one, each a process of its own; and removes
/// all of it afterwards.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

/// What is measured.
#[derive(Debug, Subcommand)]
enum What {
    /// Jobs a second, submitted and run at once, beside two floors
    Throughput(throughput::Args),
    /// From the instant at which a job should be submitted to its start, at a steady rate
    Latency(latency::Args),
    /// How late jobs start that are due at one instant
    Delayed(delayed::Args),
    /// What the services need while nothing happens
    Idle(idle::Args),
}

const AFTER_HELP: &str = "\
With --nats-url the broker's own settings hold, and the streams of the namespace `windlass-bench` (or --namespace) are
made there and removed again.

Examples:
  windlass bench throughput
  windlass bench throughput --jobs 200000 --queues 200 -o json
  windlass bench latency --rate 100 --jobs 3000

Exit codes: 0 measured; 1 failed, or not every job ended as it must; 2 wrong usage or configuration.";

/// Measures.
pub(crate) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let screen = Screen::new(global.output);
    let measuring = async {
        match args.what {
            What::Throughput(args) => Box::pin(throughput::run(args, global, &screen)).await,
            What::Latency(args) => Box::pin(latency::run(args, global, &screen)).await,
            What::Delayed(args) => Box::pin(delayed::run(args, global, &screen)).await,
            What::Idle(args) => Box::pin(idle::run(args, global, &screen)).await,
        }
    };
    let outcome = tokio::select! {
        outcome = measuring => outcome,
        // What was started is dropped, and ends with its standard input.
        _ = tokio::signal::ctrl_c() => Err(Error::Interrupted),
    };
    screen.idle();
    outcome.map(|()| ExitCode::SUCCESS)
}
