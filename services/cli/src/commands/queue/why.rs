//! `windlass queue why`.

use std::fmt::Write as _;
use std::process::ExitCode;

use jiff::Timestamp;
use windlass_broker::why;
use windlass_core::QueueName;
use windlass_core::flow::Backlog;

use crate::commands::Error;
use crate::commands::arguments::parse;
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::{Table, relative};
use crate::output::{self, Format};

const AFTER_HELP: &str = "\
Examples:
  windlass queue why mail
  windlass queue why mail -o json

Each job that waits is counted under exactly one cause, and the causes sum to the backlog. The causes are: not_due,
retrying, held (until somebody releases it), dependencies, queue_paused, kind_paused, key_paused, key_limit, key_order,
key_rate, queue_limit, queue_rate, turn, worker, no_worker, no_worker_for_kind, decision (a dispatcher is about to decide), and
timer (not_due or retrying, where there are too many to tell apart). `windlass job why ID` says it of one job.

With -o json: {queue, asked_at, exact, backlog, running, ready, delayed, held, not_admitted, oldest_at,
causes: [{cause, count, example, text}]}. `exact` says that all was read at one moment; if not, a job that moved
meanwhile may be counted at both of its places, or at neither. `example` is the id of one of those who wait.

Exit codes: 0 shown; 1 failed; 2 an argument is wrong; 4 no such queue.";

/// Which queue.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// Which queue
    #[arg(value_name = "NAME", allow_hyphen_values = true)]
    name: String,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let queue: QueueName = parse("name", &args.name)?;
    let fleet = Fleet::find(global)?;
    let backlog = why::backlog(&super::flow(&fleet, &queue).await?).await?;
    match global.output {
        Format::Json => output::json(&backlog)?,
        Format::Table => output::text(&text(&backlog, Timestamp::now()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What waits and why, for people.
pub(super) fn text(backlog: &Backlog, now: Timestamp) -> String {
    let oldest = backlog.oldest_at.map(|at| format!(", the oldest since {}", relative(at, now)));
    let mut text = format!(
        "{} wait ({} for a worker, {} held, {} delayed), {} run{}\n",
        backlog.backlog,
        backlog.ready,
        backlog.held,
        backlog.delayed,
        backlog.running,
        oldest.unwrap_or_default()
    );
    if backlog.not_admitted > 0 {
        // Writing into a string does not fail.
        let _ = writeln!(text, "{} tasks are not admitted yet", backlog.not_admitted);
    }
    if !backlog.exact {
        text += "jobs moved while this was read: counts may differ by those\n";
    }
    if !backlog.causes.is_empty() {
        let mut table = Table::new(&["CAUSE", "WAITING", "EXAMPLE", "WHY"]).right([1]);
        for counted in &backlog.causes {
            table.row([
                counted.cause.clone(),
                counted.count.to_string(),
                counted.example.map(|id| id.to_string()).unwrap_or_default(),
                counted.text.clone().unwrap_or_default(),
            ]);
        }
        text += &table.render();
    }
    text
}
