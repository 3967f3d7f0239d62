//! The fault suite: a fleet of real processes under load, faults, and a check of all that was recorded.
//!
//! A *family* is one sort of faults. A *round* starts a fleet, submits a seeded workload through several clients,
//! injects the seeded faults of its family, lets everything settle within a bound, and judges what was recorded
//! ([`windlass_core::audit`]): what clients submitted, what handlers executed, what EVENTS and JOBS say, and the faults
//! themselves.
//!
//! What a seed decides: the jobs, their order and pace, and which fault meets whom at which time after the start. What
//! it does not: how the processes are scheduled, and so in which step of the protocol a fault meets them. (Failpoints
//! do: each names its step.)

mod args;
mod elections;
mod evidence;
mod families;
mod history;
mod jobs;
mod ledger;
mod load;
mod report;
mod resubmit;
mod round;
mod seed;
mod settle;
mod stage;
mod worker;

use std::io::Write as _;
use std::process::ExitCode;

pub use self::args::Args;
pub use self::families::Family;
pub use self::report::Total;
pub use self::round::{Backlog, Options, Outcome, round};
pub use self::worker::FaultWorker;

/// The whole of `windlass-faults`: 0 if everything held, 1 if not, 2 for wrong usage.
pub async fn main() -> ExitCode {
    let args = match Args::read(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(&args).await {
        Ok(total) => {
            let text = if args.json() { total.json() } else { total.to_string() };
            let _ = writeln!(std::io::stdout(), "{text}");
            ExitCode::from(total.exit_status())
        }
        Err(error) => {
            say(&format!("windlass-faults: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Rounds of all families that were asked for, each with a seed of its own, until the time is over. An error is one of
/// the arguments.
pub async fn run(args: &Args) -> anyhow::Result<Total> {
    let plan = args.plan()?;
    let mut total = Total::new(plan.seed);
    let mut number = 0;
    'all: loop {
        for family in &plan.families {
            // Each family once before any has a second round, as far as the time goes.
            if number > 0 && tokio::time::Instant::now() >= plan.until {
                break 'all;
            }
            number += 1;
            let options = Options { seed: plan.seed_of(number), ..plan.options.clone() };
            match round(*family, &options).await {
                Ok(outcome) => {
                    say(&format!("round {number}: {outcome}"));
                    total.add(&outcome);
                }
                Err(error) => {
                    say(&format!("round {number}: {} seed {}: {error:?}", family.name(), options.seed));
                    total.add_failure();
                }
            }
        }
    }
    total.finish();
    Ok(total)
}

/// Progress, for people.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
