//! Doing one thing to many: the set is fixed and shown first, then asked about, then acted on at a pace, until all is
//! done or somebody has had enough.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use windlass_broker::Broker;
use windlass_broker::commands::paced::{self, End, MOST_A_SECOND, Progress};
use windlass_broker::commands::set::{MOST, Member, Set};
use windlass_broker::commands::{self, Verb};

use super::Error;
use super::arguments::number;
use super::requester::who;
use crate::global::Global;
use crate::output::table::{printable, seconds};
use crate::output::{self, Format};

/// How to go about it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Many at once")]
pub(super) struct Options {
    /// Do not ask before
    #[arg(long)]
    yes: bool,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// How many at most in a second, 1 to 1000
    #[arg(long, value_name = "N/s", default_value = "50/s", allow_hyphen_values = true)]
    rate: String,
}

/// [`Options`], checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    yes: bool,
    dry_run: bool,
    per_second: u32,
}

/// What is to be done to which set.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) verb: Verb,
    /// As `dead letters`.
    pub(super) things: &'static str,
    /// Why some that match are left out.
    pub(super) unfit_as: &'static str,
    pub(super) set: Set,
}

/// What became of it, as it is shown.
#[derive(Debug, Serialize)]
struct Report {
    matched: usize,
    unfit: usize,
    more: bool,
    dry_run: bool,
    estimated_seconds: f64,
    sample: Vec<String>,
    commanded: usize,
    failed: usize,
    aborted: bool,
    errors: Vec<String>,
}

// === impl Options ===

impl Options {
    pub(super) fn check(&self) -> Result<Manner, Error> {
        let text = self.rate.strip_suffix("/s").unwrap_or(&self.rate);
        let per_second = number("rate", text, 1, MOST_A_SECOND)?;
        Ok(Manner { yes: self.yes, dry_run: self.dry_run, per_second })
    }

    /// Whether any of them was given.
    pub(super) fn are_given(&self) -> bool {
        self.yes || self.dry_run
    }
}

// === impl Plan ===

impl Plan {
    /// What is about to happen, for people.
    fn preview(&self, manner: Manner) -> String {
        let (verb, things, count) = (self.verb, self.things, self.set.members.len());
        let mut text = format!("{count} {things} match");
        if self.set.unfit > 0 {
            text = format!("{text}; {} more match and are left out: {}", self.set.unfit, self.unfit_as);
        }
        if self.set.more {
            text = format!("{text}; there are more than {MOST}, which are not in this set: do it again then");
        }
        for line in &self.set.sample {
            text = format!("{text}\n  {}", printable(line));
        }
        if count > self.set.sample.len() {
            text = format!("{text}\n  and {} more", count - self.set.sample.len());
        }
        let took = seconds(self.set.estimate(manner.per_second).as_secs_f64());
        format!("{text}\nto {verb} them at {}/s takes about {took}\n", manner.per_second)
    }

    /// Shows the plan, asks, and commands one after the other. Exit code 1 says that not all of it was done.
    pub(super) async fn carry_out(
        self,
        manner: Manner,
        reason: &str,
        broker: &Broker,
        global: &Global,
    ) -> Result<ExitCode, Error> {
        let Self { verb, things, .. } = self;
        let count = self.set.members.len();
        if global.output == Format::Table || !manner.yes {
            // Nobody may be there to read it.
            let _ = write!(std::io::stderr().lock(), "{}", self.preview(manner));
        }
        if count > 0 && !manner.dry_run && !manner.yes && !asked(verb, things, count)? {
            return Err(Error::Declined);
        }
        let estimated_seconds = self.set.estimate(manner.per_second).as_secs_f64();
        let Set { members, unfit, more, sample, .. } = self.set;
        let (Progress { commanded, failed, errors }, end) = if manner.dry_run {
            (Progress::default(), End::All)
        } else {
            let (bar, by) = (progress_bar(count), who());
            let by = by.as_str();
            let send = |member: Member| async move {
                let sent = commands::publish(broker, member.command(verb, reason, by)).await;
                sent.map(|_| ()).map_err(|error| output::chain(&Error::Command(error)))
            };
            let ended = paced::all(members, manner.per_second, interrupted(), |_| bar.inc(1), send).await;
            bar.finish_and_clear();
            ended
        };
        let undone = !manner.dry_run && commanded < count;
        let report = Report {
            matched: count,
            unfit,
            more,
            dry_run: manner.dry_run,
            estimated_seconds,
            sample,
            commanded,
            failed,
            aborted: end != End::All,
            errors,
        };
        report.show(verb, things, global.output)?;
        Ok(if undone { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

// === impl Report ===

impl Report {
    fn show(self, verb: Verb, things: &str, format: Format) -> Result<(), Error> {
        if format == Format::Json {
            return Ok(output::json(&self)?);
        }
        let Self { matched, commanded, failed, aborted, errors, .. } = self;
        let mut text = String::new();
        for error in errors {
            text = format!("{text}failed: {}\n", printable(&error));
        }
        text = if self.dry_run {
            format!("{text}nothing was done: would {verb} {matched} {things}\n")
        } else {
            let end = if aborted { ": stopped before the others" } else { "" };
            let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
            format!("{text}commanded to {verb} {commanded} of {matched} {things}{failed}{end}\n")
        };
        Ok(output::text(&text)?)
    }
}

/// Asks on the terminal. Without one, nobody can have said yes.
fn asked(verb: Verb, things: &str, count: usize) -> Result<bool, Error> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let reason = "there is no terminal to ask on: give it to do this unasked, or --dry-run to look";
        return Err(Error::input("yes", reason));
    }
    write!(std::io::stderr().lock(), "{verb} {count} {things}? [y/N] ")?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Ctrl-C. Where it cannot be heard, nothing is interrupted.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn progress_bar(count: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed}, {eta} left");
    ProgressBar::new(u64::try_from(count).unwrap_or(u64::MAX))
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(rate: &str) -> Options {
        Options { yes: false, dry_run: false, rate: rate.to_owned() }
    }

    #[test]
    fn a_rate_is_a_number_a_second() {
        for (text, expected) in [("50/s", 50), ("7", 7), ("1000/s", 1000)] {
            assert_eq!(options(text).check().unwrap().per_second, expected);
        }
        for bad in ["0/s", "1001/s", "-1/s", "5/m", "", "fast"] {
            assert_eq!(options(bad).check().unwrap_err().field(), Some("rate"), "{bad}");
        }
    }

    #[test]
    fn a_preview_tells_the_set_and_the_time() {
        let mut set = Set::default();
        set.unfit = 3;
        for n in 0..120 {
            let job_id = format!("01890a5d-ac96-774b-bcce-{n:012x}").parse().unwrap();
            let member = Member { queue: "mail".parse().unwrap(), job_id, dead_at: None };
            set.add(member, || format!("{n}\u{1b}[31m"));
        }
        let plan = Plan { verb: Verb::Redrive, things: "dead letters", unfit_as: "they hold no task", set };
        let text = plan.preview(options("10/s").check().unwrap());
        assert_eq!(
            text,
            "120 dead letters match; 3 more match and are left out: they hold no task\n  0 [31m\n  1 [31m\n  2 [31m\n  \
             3 [31m\n  4 [31m\n  and 115 more\nto redrive them at 10/s takes about 12s\n"
        );
    }
}
