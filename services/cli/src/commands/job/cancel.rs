//! `windlass job cancel`.

use std::process::ExitCode;

use serde_json::json;
use tokio::time::Instant;
use windlass_broker::commands::set::Member;
use windlass_broker::commands::{self, Verb};
use windlass_core::JobState;
use windlass_core::history::JobView;

use super::cancel_many::{self, Selection};
use crate::commands::arguments::parse;
use crate::commands::requester::who;
use crate::commands::target::{self, Target};
use crate::commands::{Error, ending, lookup};
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
    #[command(flatten)]
    target: target::Arguments,
    #[command(flatten)]
    selection: Selection,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let wanted = args.selection.read()?;
    let reason = &args.target.reason;
    let (id, timeout) = match args.target.read(wanted.filters())? {
        Target::Many(manner) => return cancel_many::run(&wanted, reason, manner, global).await,
        Target::One(id, timeout) => (id, timeout),
    };
    let fleet = Fleet::find(global)?;
    let before = lookup::find(&fleet, id, wanted.queue.as_ref()).await?;
    if before.state.is_terminal() {
        return conclude(&before, true, global.output);
    }
    let member = Member { queue: parse("queue", &before.queue)?, job_id: id, dead_at: None };
    let broker = fleet.broker().await?;
    commands::publish(broker, member.command(Verb::Cancel, reason, &who())).await.map_err(Error::Command)?;
    match ending::wait(&fleet, id, &member.queue, Instant::now() + timeout).await? {
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
