//! `windlass dead redrive` and `windlass dead discard`: one letter, or many.

use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::time::{Instant, sleep};
use windlass_broker::commands::{self, Command, Verb};
use windlass_broker::dead::Letters;
use windlass_core::letter::Filter;
use windlass_core::{JobId, QueueName};

use super::select::{self, Dead, Selection};
use crate::commands::Error;
use crate::commands::arguments::{duration, optional, parse};
use crate::commands::bulk::{self, MOST, Plan, SAMPLE};
use crate::commands::requester::{check_reason, who};
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::cut;
use crate::output::{self, Format};

/// How often the letter is looked for while the command is on its way.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Letters that are held at a time while a set is made.
const PORTION: usize = 500;
/// Of a reason in a sample.
const REASON_CHARACTERS: usize = 80;

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
    /// The id of one job; without it, all letters that match
    #[arg(value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    selection: Selection,
    /// All letters of the fleet, where nothing else says which
    #[arg(long)]
    all: bool,
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

/// A letter of a set: as much of it as a command names.
#[derive(Debug)]
struct Member {
    queue: QueueName,
    job_id: JobId,
    dead_at: Timestamp,
}

// === impl Action ===

impl Action {
    fn verb(self) -> Verb {
        match self {
            Self::Redrive => Verb::Redrive,
            Self::Discard => Verb::Discard,
        }
    }

    fn fits(self, letter: &Dead) -> bool {
        self == Self::Discard || letter.task.is_ok()
    }
}

pub(super) async fn run(action: Action, args: Args, global: &Global) -> Result<ExitCode, Error> {
    check_reason(&args.reason)?;
    if action == Action::Discard && args.reason.is_empty() {
        return Err(Error::input("reason", "is missing: the job's history says why its letter is gone"));
    }
    let filter = args.selection.read(Timestamp::now())?;
    if let Some(id) = &args.id {
        let queue = optional("queue", args.selection.queue.as_deref())?;
        if (Filter { queue: None, ..filter }) != Filter::default() || args.all || args.many.are_given() {
            return Err(Error::input(
                "id",
                "stands beside options that choose many: expected one or the other",
            ));
        }
        return one(action, parse("id", id)?, queue, &args, global).await;
    }
    let manner = args.many.check()?;
    if filter.is_empty() && !args.all {
        return Err(Error::input("id", "is missing: name a letter, or say which by filters, or --all"));
    }
    let fleet = Fleet::find(global)?;
    let broker = fleet.broker().await?;
    let plan = plan(action, &Letters::new(broker), &filter).await?;
    let by = who();
    plan.carry_out(manner, global, async |member: &Member| {
        let command = Command {
            queue: &member.queue,
            verb: action.verb(),
            job_id: member.job_id,
            reason: &args.reason,
            requested_by: &by,
            dead_at: Some(member.dead_at),
        };
        commands::publish(broker, command).await.map(|_| ()).map_err(Error::Command)
    })
    .await
}

/// The letters that match now. What dies later is not among them.
async fn plan(action: Action, letters: &Letters, filter: &Filter) -> Result<Plan<Member>, Error> {
    let mut plan = Plan {
        verb: action.verb().as_str(),
        things: "dead letters",
        members: Vec::new(),
        unfit: None,
        more: false,
        sample: Vec::new(),
    };
    let (mut unfit, mut next) = (0, None);
    loop {
        let page = letters.page(filter, next, PORTION, usize::MAX).await.map_err(Error::Letters)?;
        for letter in &page.letters {
            if !action.fits(letter) {
                unfit += 1;
            } else if plan.members.len() < MOST {
                if plan.sample.len() < SAMPLE {
                    plan.sample.push(line(letter));
                }
                plan.members.push(Member {
                    queue: letter.queue.clone(),
                    job_id: letter.job_id,
                    dead_at: letter.dead_at,
                });
            } else {
                plan.more = true;
            }
        }
        next = page.next;
        if next.is_none() || plan.more {
            plan.unfit = Some((unfit, "they hold no valid task"));
            return Ok(plan);
        }
    }
}

fn line(letter: &Dead) -> String {
    let kind = letter.kind.as_ref().map(ToString::to_string).unwrap_or_default();
    let reason = cut(&letter.message(), REASON_CHARACTERS);
    format!("{} {} {kind} {}: {reason}", letter.job_id, letter.queue, letter.code)
}

async fn one(
    action: Action,
    id: JobId,
    queue: Option<QueueName>,
    args: &Args,
    global: &Global,
) -> Result<ExitCode, Error> {
    let timeout = duration("timeout", &args.timeout)?;
    let fleet = Fleet::find(global)?;
    let broker = fleet.broker().await?;
    let letters = Letters::new(broker);
    let letter = select::find(&letters, id, queue.as_ref()).await?;
    if let (Action::Redrive, Err(reason)) = (action, &letter.task) {
        return Err(Error::NotRedrivable { id, reason: reason.clone() });
    }
    let command = Command {
        queue: &letter.queue,
        verb: action.verb(),
        job_id: id,
        reason: &args.reason,
        requested_by: &who(),
        dead_at: Some(letter.dead_at),
    };
    commands::publish(broker, command).await.map_err(Error::Command)?;
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
    match (global.output, redriven) {
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
