//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use tokio::time::Instant;

use super::families::Family;
use super::round::{Backlog, Options};
use super::seed::Seed;

/// Injects faults into fleets of real processes, and checks that every job ends once
#[derive(Debug, Clone, Parser)]
#[command(name = "windlass-faults", version, after_help = help())]
pub struct Args {
    /// How long to go on: all families once take about nine
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,

    /// Decides the workload and the faults; without it, one is drawn and printed
    #[arg(long)]
    seed: Option<u64>,

    /// Only this family of faults; may be repeated
    #[arg(long, value_name = "FAULT")]
    only: Vec<Family>,

    /// Jobs that all clients submit together in a second
    #[arg(long, default_value_t = 25)]
    jobs_per_second: u64,

    /// Jobs that the family "limits" submits at once
    #[arg(long, default_value_t = 3000, value_name = "JOBS")]
    backlog: u64,

    /// Keys that they are of, in turn
    #[arg(long, default_value_t = 60)]
    keys: u64,

    /// A folder with the programs of another version, to run beside these
    #[arg(long, value_name = "DIR")]
    old_programs: Option<PathBuf>,

    /// Keeps each round's folder (histories, logs, events), also where everything held
    #[arg(long)]
    keep: bool,

    /// How the last line is printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// A format of the last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// What the arguments come to.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) families: Vec<Family>,
    pub(super) until: Instant,
    pub(super) options: Options,
}

fn help() -> String {
    let families: Vec<_> =
        Family::ALL.iter().map(|family| format!("  {:<18} {}", family.name(), family.about())).collect();
    format!(
        "Faults:\n{}\n\n\
         Examples:\n  \
         windlass-faults --minutes 20 -o json\n  \
         windlass-faults --only worker-kill --only broker-kill --minutes 2\n  \
         windlass-faults --only limits --backlog 100000 --keys 1000\n  \
         windlass-faults --only failpoints --seed 7          the same workload and the same faults again\n\n\
         Progress goes to standard error, a line for each round; the last line of standard output is the verdict.\n\
         What a seed does not decide is how the machine schedules the processes.\n\n\
         Exit codes: 0 everything held; 1 something did not (its folder is kept, and printed); 2 wrong usage.",
        families.join("\n")
    )
}

// === impl Args ===

impl Args {
    /// Reads a whole command line.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(arguments)
    }

    pub(super) fn json(&self) -> bool {
        self.output == Output::Json
    }

    pub(super) fn plan(&self) -> Result<Plan> {
        ensure!(
            self.minutes > 0.0 && self.minutes < 100_000.0,
            "--minutes is {}: expected more than 0",
            self.minutes
        );
        ensure!((1..=1000).contains(&self.jobs_per_second), "--jobs-per-second: expected 1 to 1000");
        ensure!((1..=1_000_000).contains(&self.backlog), "--backlog: expected 1 to 1000000");
        ensure!((1..=self.backlog).contains(&self.keys), "--keys: expected 1 to that of --backlog");
        let drawn = || u64::from_le_bytes(*uuid::Uuid::now_v7().as_bytes().last_chunk().unwrap_or(&[0; 8]));
        // Short enough to be typed.
        let seed = self.seed.unwrap_or_else(|| drawn() >> 32);
        let families = if self.only.is_empty() { Family::ALL.to_vec() } else { self.only.clone() };
        let options = Options {
            seed,
            jobs_per_second: self.jobs_per_second,
            backlog: Backlog { jobs: self.backlog, keys: self.keys },
            short: false,
            named: !self.only.is_empty(),
            keep: self.keep,
            old_programs: self.old_programs.clone(),
        };
        Ok(Plan {
            seed,
            families,
            until: Instant::now() + Duration::from_secs_f64(self.minutes * 60.0),
            options,
        })
    }
}

// === impl Plan ===

impl Plan {
    /// The first round's is the one that was given, so that a round can be repeated alone.
    pub(super) fn seed_of(&self, round: u64) -> u64 {
        if round == 1 { self.seed } else { Seed::new(self.seed).fork(round).next() >> 32 }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
        let help = Args::command().get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("Examples:"));
        for family in Family::ALL {
            assert!(help.contains(family.name()), "{help}");
            assert_eq!(Family::from_str(family.name(), false), Ok(*family));
        }
        assert!(Family::from_str("sabotage", false).is_err(), "that is for the tests");
    }

    #[test]
    fn a_seed_and_a_family_can_be_named() {
        let read = |line: &str| Args::read(line.split(' ').map(OsString::from));
        let args = read("windlass-faults --only worker-kill --seed 7 -o json").unwrap();
        let plan = args.plan().unwrap();
        assert_eq!((plan.seed, plan.seed_of(1), plan.families.len(), args.json()), (7, 7, 1, true));
        assert_ne!(plan.seed_of(2), plan.seed_of(3));
        assert!(read("windlass-faults --only nothing").is_err());
        assert!(read("windlass-faults --minutes 0").unwrap().plan().is_err());
    }
}
