//! `windlass report`.

mod html;
mod markdown;
mod part;
mod schedules;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use windlass_monitor::api::schema::{AlertList, AuditReport, QueueList, WorkerList};
use windlass_monitor::store::Report;

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
  windlass report schedules --hours 6";

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

/// Of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Daily,
    Weekly,
    Failures,
    Handoff,
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Markdown,
    Html,
    Json,
}

/// All that a report is made of.
#[derive(Debug, Serialize)]
struct Bundle {
    what: What,
    made_at: Timestamp,
    report: Report,
    /// What happened in the time before, of the same length.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<Now>,
}

/// How things stand.
#[derive(Debug, Serialize)]
struct Now {
    queues: QueueList,
    workers: WorkerList,
    alerts: AlertList,
    audit: AuditReport,
}

/// Runs the command.
pub(crate) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    match args.command {
        Command::Daily(options) => of_time(What::Daily, options, global).await,
        Command::Weekly(options) => of_time(What::Weekly, options, global).await,
        Command::Failures(options) => of_time(What::Failures, options, global).await,
        Command::Handoff(options) => of_time(What::Handoff, options, global).await,
        Command::Schedules(args) => schedules::run(args, global).await,
    }
}

async fn of_time(what: What, args: Options, global: &Global) -> Result<ExitCode, Error> {
    let fleet = Fleet::find(global)?;
    let monitor = fleet.monitor().await?.ok_or(Error::NoMonitor)?;
    let made_at = Timestamp::now();
    let until = args.until.unwrap_or_else(|| earlier(made_at, SignedDuration::from_mins(-1)));
    let spans = SignedDuration::from_hours(if what == What::Daily { 24 } else { 7 * 24 });
    let since = earlier(until, spans);
    let report = monitor.report(since, until).await?;
    let before = match what {
        What::Daily | What::Weekly => Some(monitor.report(earlier(since, spans), since).await?),
        What::Failures | What::Handoff => None,
    };
    let now = match what {
        What::Handoff => Some(Now {
            queues: monitor.queues().await?,
            workers: monitor.workers().await?,
            alerts: monitor.alerts().await?,
            audit: monitor.audit().await?,
        }),
        _ => None,
    };
    let bundle = Bundle { what, made_at, report, before, now };
    let form = if global.output == Format::Json { Form::Json } else { args.format };
    let text = match form {
        Form::Json => serde_json::to_string_pretty(&bundle).unwrap_or_default() + "\n",
        Form::Markdown => markdown::write(&part::parts(&bundle)),
        Form::Html => html::write(&part::parts(&bundle)),
    };
    match args.file {
        Some(file) => std::fs::write(&file, text).map_err(|source| Error::Report { file, source })?,
        None => output::text(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn earlier(at: Timestamp, spans: SignedDuration) -> Timestamp {
    at.checked_sub(spans).unwrap_or(at)
}
