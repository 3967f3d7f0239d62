//! `windlass dead redrive` and `windlass dead discard`: one letter, or many.

use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::time::{Instant, sleep};
use windlass_broker::Broker;
use windlass_broker::commands::set::{Member, Set};
use windlass_broker::commands::{self, Verb};
use windlass_broker::dead::Letters;
use windlass_core::letter::Filter;

use super::select::{self, Dead, Selection};
use crate::commands::Error;
use crate::commands::bulk::Plan;
use crate::commands::requester::who;
use crate::commands::target::{self, Filters, Target};
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::{self, Format};

/// How often the letter is looked for while the command is on its way.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(super) const REDRIVE_AFTER_HELP: &str = "\
Examples:
  windlass dead redrive 01890a5d-ac96-774b-bcce-b302099a8057 --reason \"the disk has room again\"
  windlass dead redrive --fingerprint 0123456789abcdef --dry-run
  windlass dead redrive --queue mail --since 2h --rate 10/s --yes -o json

A new job is made of the letter's task, to start at once; its id follows from the old one, so that asking twice makes one
job. Both histories name each other. The letter goes when the job is there. With filters, the set is shown and asked
about first; Ctrl-C stops after the letter that is under way. Letters that hold no valid task are left out.

Exit codes: 0 done, or all commanded; 1 not, or not all; 2 an argument is wrong; 4 no such letter; 5 several queues have
a letter of this id.";

pub(super) const DISCARD_AFTER_HELP: &str = "\
Examples:
  windlass dead discard 01890a5d-ac96-774b-bcce-b302099a8057 --reason \"a test\"
  windlass dead discard --queue mail --code invalid_task --until 7d --reason \"old rubbish\" --dry-run

A letter that is discarded is gone, with its payload. The job's history says who did it, and the reason, which must be
given.

Exit codes: 0 done, or all commanded; 1 not, or not all; 2 an argument is wrong; 4 no such letter; 5 several queues have
a letter of this id.";

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Redrive,
    Discard,
}

/// Which letters, and why.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: target::Arguments,
    #[command(flatten)]
    selection: Selection,
}

// === impl Action ===

impl Action {
    fn verb(self) -> Verb {
        match self {
            Self::Redrive => Verb::Redrive,
            Self::Discard => Verb::Discard,
        }
    }
}

pub(super) async fn run(action: Action, args: Args, global: &Global) -> Result<ExitCode, Error> {
    let filter = args.selection.read(Timestamp::now())?;
    let filters = match &filter {
        none if none.is_empty() => Filters::None,
        queue if (Filter { queue: None, ..queue.clone() }).is_empty() => Filters::Queue,
        _ => Filters::Many,
    };
    let target = args.target.read(filters)?;
    let reason = args.target.reason;
    if action == Action::Discard && reason.is_empty() {
        return Err(Error::input("reason", "is missing: the job's history says why its letter is gone"));
    }
    let fleet = Fleet::find(global)?;
    let broker = fleet.broker().await?;
    let letters = Letters::new(broker);
    match target {
        Target::One(id, timeout) => {
            let letter = select::find(&letters, id, filter.queue.as_ref()).await?;
            one(action, &letter, &reason, timeout, broker, global.output).await
        }
        Target::Many(manner) => {
            let verb = action.verb();
            let set = Set::of_letters(&letters, verb, &filter).await.map_err(Error::Letters)?;
            let plan = Plan { verb, things: "dead letters", unfit_as: "they hold no valid task", set };
            plan.carry_out(manner, &reason, broker, global).await
        }
    }
}

async fn one(
    action: Action,
    letter: &Dead,
    reason: &str,
    timeout: Duration,
    broker: &Broker,
    format: Format,
) -> Result<ExitCode, Error> {
    let id = letter.job_id;
    if let (Action::Redrive, Err(reason)) = (action, &letter.task) {
        return Err(Error::NotRedrivable { id, reason: reason.clone() });
    }
    let (member, by) = (Member::from(letter), who());
    commands::publish(broker, member.command(action.verb(), reason, &by)).await.map_err(Error::Command)?;
    let letters = Letters::new(broker);
    // The letter goes last, so that all else is done once it is gone.
    let deadline = Instant::now() + timeout;
    while let Some(left) = letters.find(&letter.queue, id).await.map_err(Error::Letters)?
        && left.dead_at == letter.dead_at
    {
        if Instant::now() >= deadline {
            return Err(Error::NotCarriedOut { id, waited: timeout });
        }
        sleep(LOOK_AGAIN).await;
    }
    let redriven = (action == Action::Redrive).then(|| letter.redriven_id());
    match (format, redriven) {
        (Format::Json, Some(new)) => {
            output::json(&json!({ "id": id, "queue": letter.queue.as_str(), "redriven_id": new }))?;
        }
        (Format::Json, None) => {
            output::json(&json!({ "id": id, "queue": letter.queue.as_str(), "discarded": true }))?;
        }
        (Format::Table, Some(new)) => output::text(&format!("job {id} is started again as {new}\n"))?,
        (Format::Table, None) => output::text(&format!("the dead letter of {id} is discarded\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}
