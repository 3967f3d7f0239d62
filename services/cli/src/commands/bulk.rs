//! Doing one thing to many: the set is fixed and shown first, then asked about, then acted on at a pace, until all is
//! done or somebody has had enough.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use super::Error;
use super::arguments::number;
use crate::global::Global;
use crate::output::table::{printable, seconds};
use crate::output::{self, Format};

/// The most members of a set: they are held in memory.
pub(super) const MOST: usize = 100_000;
/// Members that are shown before.
pub(super) const SAMPLE: usize = 5;
/// The most a second.
const MOST_A_SECOND: u32 = 1000;
/// After so many failures one after the other, the next would fail as well.
const ENOUGH_FAILURES: usize = 3;
/// Failures that are told.
const TOLD_FAILURES: usize = 5;

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
pub(super) struct Plan<T> {
    /// As `redrive`.
    pub(super) verb: &'static str,
    /// As `dead letters`.
    pub(super) things: &'static str,
    /// The set.
    pub(super) members: Vec<T>,
    /// How many match and are left out, and why.
    pub(super) unfit: Option<(usize, &'static str)>,
    /// Whether more match than one set may have.
    pub(super) more: bool,
    /// Some of them for people, at most [`SAMPLE`].
    pub(super) sample: Vec<String>,
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
    #[serde(flatten)]
    done: Done,
}

/// How far it has come.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Done {
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

impl<T> Plan<T> {
    fn estimate(&self, manner: Manner) -> Duration {
        let members = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        Duration::from_secs(1) * members / manner.per_second
    }

    /// What is about to happen, for people.
    fn preview(&self, manner: Manner) -> String {
        let (verb, things, count) = (self.verb, self.things, self.members.len());
        let mut text = format!("{count} {things} match");
        if let Some((unfit, why)) = self.unfit.filter(|(unfit, _)| *unfit > 0) {
            text = format!("{text}; {unfit} more match and are left out: {why}");
        }
        if self.more {
            text = format!("{text}; there are more than {MOST}, which are not in this set: do it again then");
        }
        for line in &self.sample {
            text = format!("{text}\n  {}", printable(line));
        }
        if count > self.sample.len() {
            text = format!("{text}\n  and {} more", count - self.sample.len());
        }
        let took = seconds(self.estimate(manner).as_secs_f64());
        format!("{text}\nto {verb} them at {}/s takes about {took}\n", manner.per_second)
    }

    /// Shows the plan, asks, and does it. Exit code 1 says that not all of it was done.
    pub(super) async fn carry_out(
        self,
        manner: Manner,
        global: &Global,
        send: impl AsyncFn(&T) -> Result<(), Error>,
    ) -> Result<ExitCode, Error> {
        let count = self.members.len();
        if global.output == Format::Table || !manner.yes {
            // Nobody may be there to read it.
            let _ = write!(std::io::stderr().lock(), "{}", self.preview(manner));
        }
        if count > 0 && !manner.dry_run && !manner.yes && !asked(self.verb, self.things, count)? {
            return Err(Error::Declined);
        }
        let done = if manner.dry_run {
            Done::default()
        } else {
            let progress = progress(count);
            let done = all(&self.members, manner.per_second, interrupted(), &progress, send).await;
            progress.finish_and_clear();
            done
        };
        let undone = !manner.dry_run && done.commanded < count;
        self.report(manner, done, global.output)?;
        Ok(if undone { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn report(self, manner: Manner, done: Done, format: Format) -> Result<(), Error> {
        let report = Report {
            matched: self.members.len(),
            unfit: self.unfit.map_or(0, |(unfit, _)| unfit),
            more: self.more,
            dry_run: manner.dry_run,
            estimated_seconds: self.estimate(manner).as_secs_f64(),
            sample: self.sample,
            done,
        };
        if format == Format::Json {
            return Ok(output::json(&report)?);
        }
        let Report { matched, done: Done { commanded, failed, aborted, errors }, .. } = report;
        let mut text = String::new();
        for error in errors {
            text = format!("{text}failed: {}\n", printable(&error));
        }
        let verb = self.verb;
        text = if manner.dry_run {
            format!("{text}nothing was done: would {verb} {matched} {}\n", self.things)
        } else {
            let end = if aborted { ": stopped before the others" } else { "" };
            let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
            format!("{text}commanded to {verb} {commanded} of {matched} {}{failed}{end}\n", self.things)
        };
        Ok(output::text(&text)?)
    }
}

/// Asks on the terminal. Without one, nobody can have said yes.
fn asked(verb: &str, things: &str, count: usize) -> Result<bool, Error> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let reason = "there is no terminal to ask on: give it to do this unasked, or --dry-run to look";
        return Err(Error::input("yes", reason));
    }
    write!(std::io::stderr().lock(), "{verb} {count} {things}? [y/N] ")?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// One after the other, at the pace. It is left between two of them, never within one.
async fn all<T>(
    members: &[T],
    per_second: u32,
    enough: impl Future<Output = ()>,
    progress: &ProgressBar,
    send: impl AsyncFn(&T) -> Result<(), Error>,
) -> Done {
    let mut done = Done::default();
    let mut in_a_row = 0;
    let mut pace = interval(Duration::from_secs(1) / per_second);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(enough);
    for member in members {
        let stop = tokio::select! {
            biased;
            () = &mut enough => true,
            _ = pace.tick() => false,
        };
        if stop {
            done.aborted = true;
            break;
        }
        match send(member).await {
            Ok(()) => {
                done.commanded += 1;
                in_a_row = 0;
            }
            Err(error) => {
                done.failed += 1;
                in_a_row += 1;
                if done.errors.len() < TOLD_FAILURES {
                    done.errors.push(output::chain(&error));
                }
            }
        }
        progress.inc(1);
        if in_a_row == ENOUGH_FAILURES {
            done.aborted = true;
            break;
        }
    }
    done
}

/// Ctrl-C. Where it cannot be heard, nothing is interrupted.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn progress(count: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed}, {eta} left");
    ProgressBar::new(u64::try_from(count).unwrap_or(u64::MAX))
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::Instant;

    use super::*;

    fn options(rate: &str) -> Options {
        Options { yes: false, dry_run: false, rate: rate.to_owned() }
    }

    async fn send_all(
        members: &[u32],
        enough: impl Future<Output = ()>,
        send: impl AsyncFn(&u32) -> Result<(), Error>,
    ) -> Done {
        all(members, 1000, enough, &ProgressBar::hidden(), send).await
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
        let plan = Plan {
            verb: "redrive",
            things: "dead letters",
            members: (0..120).collect(),
            unfit: Some((3, "they hold no task")),
            more: false,
            sample: vec!["a\u{1b}[31m".to_owned(), "b".to_owned()],
        };
        let text = plan.preview(options("10/s").check().unwrap());
        assert_eq!(
            text,
            "120 dead letters match; 3 more match and are left out: they hold no task\n  a [31m\n  b\n  and 118 \
             more\nto redrive them at 10/s takes about 12s\n"
        );
    }

    #[tokio::test]
    async fn the_pace_is_kept() {
        let begun = Instant::now();
        let hidden = ProgressBar::hidden();
        let done = all(&[1; 11], 100, std::future::pending(), &hidden, async |_: &i32| Ok(())).await;
        assert_eq!(done, Done { commanded: 11, ..Done::default() });
        assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
    }

    /// What is under way when somebody has had enough is ended, and nothing after it is begun.
    #[tokio::test]
    async fn an_abort_comes_between_two() {
        let (said, heard) = tokio::sync::oneshot::channel();
        let said = std::sync::Mutex::new(Some(said));
        let ended = AtomicUsize::new(0);
        let enough = async { heard.await.unwrap_or(()) };
        let done = send_all(&[1, 2, 3, 4], enough, async |member| {
            if *member == 2 {
                said.lock().unwrap().take().unwrap().send(()).unwrap();
                tokio::task::yield_now().await;
            }
            ended.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .await;
        assert_eq!((done.commanded, done.aborted, ended.into_inner()), (2, true, 2));
    }

    #[tokio::test]
    async fn failures_are_counted_and_a_row_of_them_is_enough() {
        let fails = async |member: &u32| if *member == 0 { Err(Error::NoMonitor) } else { Ok(()) };
        let done = send_all(&[1, 0, 0, 1, 0, 1], std::future::pending(), fails).await;
        assert_eq!((done.commanded, done.failed, done.aborted), (3, 3, false));
        let done = send_all(&[1, 0, 0, 0, 1], std::future::pending(), fails).await;
        assert_eq!((done.commanded, done.failed, done.aborted, done.errors.len()), (1, 3, true, 3));
    }
}
