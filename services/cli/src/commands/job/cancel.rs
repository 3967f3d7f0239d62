//! `windlass job cancel`.

use std::process::ExitCode;

use serde_json::json;
use tokio::time::Instant;
use windlass_broker::commands::{self, Verb};
use windlass_core::history::JobView;
use windlass_core::{JobState, QueueName};

use crate::commands::arguments::{Which, duration, parse};
use crate::commands::{Error, ending, lookup};
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::printable;
use crate::output::{self, Format};

/// Of a reason: it travels with the job's record and its events.
const REASON_BYTES: usize = 500;

const AFTER_HELP: &str = "\
Examples:
  windlass job cancel 01890a5d-ac96-774b-bcce-b302099a8057 --reason \"wrong region\"
  windlass job cancel 01890a5d-ac96-774b-bcce-b302099a8057 --queue mail --timeout 2m -o json

The command is stored, and a dispatcher obeys it; then its effect is waited for.

Exit codes: 0 it is cancelled; 1 it had ended otherwise before, or has not ended in time; 2 an argument is wrong;
4 no such job; 5 several queues have a job of this id.";

/// Which job, and why.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    /// Why, for people
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        allow_hyphen_values = true,
        hide_default_value = true
    )]
    reason: String,
    /// How long to wait for the effect
    #[arg(long, value_name = "DURATION", default_value = "30s", allow_hyphen_values = true)]
    timeout: String,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let (id, queue) = args.which.read()?;
    let timeout = duration("timeout", &args.timeout)?;
    if args.reason.len() > REASON_BYTES {
        let reason = format!("has {} bytes: expected at most {REASON_BYTES}", args.reason.len());
        return Err(Error::input("reason", reason));
    }
    let fleet = Fleet::find(global)?;
    let before = lookup::find(&fleet, id, queue.as_ref()).await?;
    if before.state.is_terminal() {
        return conclude(&before, true, global.output);
    }
    let queue: QueueName = parse("queue", &before.queue)?;
    let broker = fleet.broker().await?;
    commands::publish(broker, &queue, Verb::Cancel, id, &args.reason, &who())
        .await
        .map_err(Error::Command)?;
    match ending::wait(&fleet, id, &queue, Instant::now() + timeout).await? {
        Some(view) => conclude(&view, false, global.output),
        None => Err(Error::NotEnded { id, waited: timeout, state: Some(before.state) }),
    }
}

/// Says what became of it.
fn conclude(view: &JobView, before: bool, format: Format) -> Result<ExitCode, Error> {
    let cancelled = view.state == JobState::Cancelled;
    match format {
        Format::Json => output::json(&json!({
            "id": view.id,
            "queue": view.queue,
            "state": view.state,
            "cancelled": cancelled,
            "ended_before": before,
        }))?,
        Format::Table => output::text(&format!("{}\n", printable(&sentence(view, before))))?,
    }
    Ok(if cancelled { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn sentence(view: &JobView, before: bool) -> String {
    match (view.state, before) {
        (JobState::Cancelled, false) => format!("job {} is cancelled", view.id),
        (state, true) => format!("job {} had ended before: it is {state}", view.id),
        (state, false) => format!("job {} ended before the cancellation reached it: it is {state}", view.id),
    }
}

/// Who asks, for the history.
fn who() -> String {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    format!("windlass-cli {}", user.unwrap_or_default()).trim_end().chars().take(100).collect()
}
