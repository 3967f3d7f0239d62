//! `windlass bench`: how fast a fleet is here, and how near that is to what the broker itself can do.
//!
//! Each run has a dispatcher and a worker of its own, separate processes as they are deployed, and counts the record of
//! every job's end before it says how long that took.

// Figures for people: beyond 2^53 jobs they are a little wrong.
#![allow(clippy::cast_precision_loss)]

mod backlog;
mod beside;
mod delayed;
mod error;
mod fairness;
mod fan_out;
mod floors;
mod given;
mod ground;
mod heard;
mod idle;
mod kinds;
mod latency;
mod load;
mod pace;
mod plot;
mod projection;
mod records;
mod recovery;
mod report;
mod retries;
mod running;
mod scene;
mod schedules;
mod settings;
mod stage;
mod sweep;
mod takeover;
mod throughput;
mod usage;
mod work;
pub(crate) mod worker;

use std::process::ExitCode;

use clap::Subcommand;
use tokio::signal::unix::{SignalKind, signal};

pub(crate) use error::Error;

use self::scene::Scene;
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
    /// Jobs that fail a few times before they succeed, and how late each retry starts
    Retries(retries::Args),
    /// Submits while jobs wait that no worker takes, then starts a fleet on them; with few and with many
    Backlog(backlog::Args),
    /// What a queue without limits does, alone and beside queues whose jobs wait at a limit
    Beside(beside::Args),
    /// How long a few jobs of one tenant wait, alone and beside a great number of another's
    Fairness(fairness::Args),
    /// One job whose handler submits many, until the last of them has ended
    FanOut(fan_out::Args),
    /// Kills a worker whose slots are all taken, until another runs all of its jobs
    Recovery(recovery::Args),
    /// Kills the dispatcher that holds a great number of jobs at a limit, until another lets them go
    Takeover(takeover::Args),
    /// How late schedules fire, with many of them stored
    Schedules(schedules::Args),
    /// How fast the monitor stores what the fleet tells, beside bare inserts
    Projection(projection::Args),
    /// What the services need while nothing happens
    Idle(idle::Args),
}

const AFTER_HELP: &str = "\
With --nats-url the broker's own settings hold, and its CPU and memory are not counted. The streams of the namespace
`windlass-bench` (or --namespace) are made there, which must have none before, and removed again.

Examples:
  windlass bench throughput
  windlass bench throughput --jobs 200000 --queues 200 -o json
  windlass bench latency --rate 100 --jobs 3000 --durability r3
  windlass bench backlog --jobs 1000000 --outcome-ttl 1h
  windlass bench schedules --schedules 100000
  windlass bench delayed --nats-url nats://127.0.0.1:4222

Exit codes: 0 measured; 1 failed, or not every job ended as it must; 2 wrong usage or configuration.";

/// Measures.
pub(crate) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let scene = Scene::of(global)?;
    let measuring = async {
        match args.what {
            What::Throughput(args) => Box::pin(throughput::run(args, &scene)).await,
            What::Latency(args) => Box::pin(latency::run(args, &scene)).await,
            What::Delayed(args) => Box::pin(delayed::run(args, &scene)).await,
            What::Retries(args) => Box::pin(retries::run(args, &scene)).await,
            What::Backlog(args) => Box::pin(backlog::run(args, &scene)).await,
            What::Beside(args) => Box::pin(beside::run(args, &scene)).await,
            What::Fairness(args) => Box::pin(fairness::run(args, &scene)).await,
            What::FanOut(args) => Box::pin(fan_out::run(args, &scene)).await,
            What::Recovery(args) => Box::pin(recovery::run(args, &scene)).await,
            What::Takeover(args) => Box::pin(takeover::run(args, &scene)).await,
            What::Schedules(args) => Box::pin(schedules::run(args, &scene)).await,
            What::Projection(args) => Box::pin(projection::run(args, &scene)).await,
            What::Idle(args) => Box::pin(idle::run(args, &scene)).await,
        }
    };
    let outcome = tokio::select! {
        outcome = measuring => outcome,
        interrupted = interrupted() => Err(interrupted),
    };
    // What went wrong before says more than that this did too.
    let cleaned = scene.clean().await;
    scene.screen.idle();
    outcome.and(cleaned).map(|()| ExitCode::SUCCESS)
}

/// Ctrl-C, or SIGTERM.
async fn interrupted() -> Error {
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => return error::start_error(error.into()),
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    Error::Interrupted
}
