//! `windlass job cancel`.

use std::process::ExitCode;

use serde_json::json;
use tokio::time::Instant;
use windlass_broker::commands::{self, Command, Verb};
use windlass_core::history::JobView;
use windlass_core::{JobId, JobState, QueueName};

use super::cancel_many::{self, Selection};
use crate::commands::arguments::{duration, optional, parse};
use crate::commands::requester::{check_reason, who};
use crate::commands::{Error, bulk, ending, lookup};
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::printable;
use crate::output::{self, Format};

const AFTER_HELP: &str = "\
Examples:
  windlass job cancel 01890a5d-ac96-774b-bcce-b302099a8057 --reason \"wrong region\"
  windlass job cancel 01890a5d-ac96-774b-bcce-b302099a8057 --queue mail --timeout 2m -o json
  windlass job cancel --queue mail --kind mail.send --state retrying --reason \"wrong region\" --dry-run

The command is stored, and a dispatcher obeys it; with an ID, its effect is waited for. Without one, the monitor says
which jobs match, the set is shown and asked about, and one command for each is stored; Ctrl-C stops after the one that
is under way.

Exit codes: 0 it is cancelled, or all are commanded; 1 it had ended otherwise before, or has not ended in time, or not
all are commanded; 2 an argument is wrong; 4 no such job; 5 several queues have a job of this id.";

/// Which job, and why.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// The id of one job; without it, all jobs that match
    #[arg(value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    selection: Selection,
    /// Why, for people
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        allow_hyphen_values = true,
        hide_default_value = true
    )]
    reason: String,
    /// With an ID: how long to wait for the effect
    #[arg(long, value_name = "DURATION", default_value = "30s", allow_hyphen_values = true)]
    timeout: String,
    #[command(flatten)]
    many: bulk::Options,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let timeout = duration("timeout", &args.timeout)?;
    check_reason(&args.reason)?;
    let Some(id) = &args.id else {
        return cancel_many::run(&args.selection, &args.reason, args.many.check()?, global).await;
    };
    if args.selection.chooses_many() || args.many.are_given() {
        return Err(Error::input("id", "stands beside options that choose many: expected one or the other"));
    }
    let (id, queue): (JobId, Option<QueueName>) =
        (parse("id", id)?, optional("queue", args.selection.queue.as_deref())?);
    let fleet = Fleet::find(global)?;
    let before = lookup::find(&fleet, id, queue.as_ref()).await?;
    if before.state.is_terminal() {
        return conclude(&before, true, global.output);
    }
    let queue: QueueName = parse("queue", &before.queue)?;
    let broker = fleet.broker().await?;
    let command = Command {
        queue: &queue,
        verb: Verb::Cancel,
        job_id: id,
        reason: &args.reason,
        requested_by: &who(),
        dead_at: None,
    };
    commands::publish(broker, command).await.map_err(Error::Command)?;
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
