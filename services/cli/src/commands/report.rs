//! `windlass report`.

mod schedules;
mod stored;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use jiff::{SignedDuration, Timestamp};
use windlass_monitor::report::{self, Bundle, Now, What};

use super::Error;
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::{self, Format};

const AFTER_HELP: &str = "\
Examples:
  windlass report daily
  windlass report weekly --format html --file week.html
  windlass report failures --until 2026-01-31T00:00:00Z -o json
  windlass report handoff --file handoff.md
  windlass report schedules --hours 6
  windlass report list
  windlass report show daily --format html --file today.html";

/// Reports what happened
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The last 24 hours: throughput, latency, failures
    #[command(after_help = AFTER_HELP)]
    Daily(Options),
    /// The last seven days, with the change against the seven before
    #[command(after_help = AFTER_HELP)]
    Weekly(Options),
    /// Of the last seven days: what jobs died of, by fingerprint
    #[command(after_help = AFTER_HELP)]
    Failures(Options),
    /// For who takes over: what stands where, what is wrong, and the last seven days
    #[command(after_help = AFTER_HELP)]
    Handoff(Options),
    /// What schedules did, which never succeed, and which fire at the same instants
    Schedules(schedules::Args),
    /// The reports that the monitor has made by itself (`monitor.reports`)
    List(stored::ListArgs),
    /// One of them
    Show(stored::ShowArgs),
}

/// Of a report over a time.
#[derive(Debug, clap::Args)]
struct Options {
    /// Up to this instant, as 2026-01-31T00:00:00Z; without it, now
    #[arg(long, value_name = "INSTANT")]
    until: Option<Timestamp>,
    /// How it is written; `-o json` writes JSON too
    #[arg(long, value_enum, default_value_t = Form::Markdown)]
    format: Form,
    /// Written to this file; without it, to standard output
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Markdown,
    Html,
    Json,
}

impl From<Form> for report::Form {
    fn from(form: Form) -> Self {
        match form {
            Form::Markdown => Self::Markdown,
            Form::Html => Self::Html,
            Form::Json => Self::Json,
        }
    }
}

/// Runs the command.
pub(crate) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    match args.command {
        Command::Daily(options) => of_time(What::Daily, options, global).await,
        Command::Weekly(options) => of_time(What::Weekly, options, global).await,
        Command::Failures(options) => of_time(What::Failures, options, global).await,
        Command::Handoff(options) => of_time(What::Handoff, options, global).await,
        Command::Schedules(args) => schedules::run(args, global).await,
        Command::List(args) => stored::list(args, global).await,
        Command::Show(args) => stored::show(args, global).await,
    }
}

async fn of_time(what: What, args: Options, global: &Global) -> Result<ExitCode, Error> {
    let fleet = Fleet::find(global)?;
    let monitor = fleet.monitor().await?.ok_or(Error::NoMonitor)?;
    let made_at = Timestamp::now();
    let until = args.until.unwrap_or_else(|| earlier(made_at, SignedDuration::from_mins(-1)));
    let spans = what.spans();
    let since = earlier(until, spans);
    let report = monitor.report(since, until).await?;
    let before =
        if what.compares() { Some(monitor.report(earlier(since, spans), since).await?) } else { None };
    let now = if what.tells_now() {
        Some(Now {
            queues: monitor.queues().await?,
            workers: monitor.workers().await?,
            alerts: monitor.alerts().await?,
            audit: monitor.audit().await?,
            schedules: monitor.schedules().await?,
        })
    } else {
        None
    };
    // A report without them is better than none; a monitor of an older version does not know them.
    let resources =
        if what.tells_resources() { monitor.fleet().await.ok().map(|fleet| fleet.instances) } else { None };
    let bundle = Bundle { what, made_at, report, before, now, resources, review: None };
    write(&bundle, args.format, args.file, global)?;
    Ok(ExitCode::SUCCESS)
}

fn write(bundle: &Bundle, form: Form, file: Option<PathBuf>, global: &Global) -> Result<(), Error> {
    let form = if global.output == Format::Json { Form::Json } else { form };
    let text = bundle.write(form.into());
    match file {
        Some(file) => std::fs::write(&file, text).map_err(|source| Error::Report { file, source }),
        None => Ok(output::text(&text)?),
    }
}

fn earlier(at: Timestamp, spans: SignedDuration) -> Timestamp {
    at.checked_sub(spans).unwrap_or(at)
}
