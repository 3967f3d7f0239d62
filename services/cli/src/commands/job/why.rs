//! `windlass job why`.

use std::collections::BTreeSet;
use std::process::ExitCode;

use windlass_broker::flow::Flow;
use windlass_broker::{locate, why};
use windlass_core::flow::{Cause, Why};
use windlass_core::{JobId, QueueName};

use crate::commands::arguments::Which;
use crate::commands::{Error, lookup};
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::printable;
use crate::output::{self, Format};

const AFTER_HELP: &str = "\
Examples:
  windlass job why 01890a5d-ac96-774b-bcce-b302099a8057
  windlass job why 01890a5d-ac96-774b-bcce-b302099a8057 --queue mail -o json

Says the one cause for which the job does not run, with the holder or the time: as `windlass queue why` counts it; or
that it is running, or has ended. The broker is asked, not the monitor.

With -o json: {id, queue, kind, state, key, tenant, cause, detail, text, asked_at}. `cause` is the word, and `detail` has,
by the cause: until, attempts, since, by, reason, kind, key, limit, on, holders or behind ({job_id, doing, since}; doing is
running, queued, waiting, retrying, dead or ended), ahead, dispatcher, worker, state, at.

Exit codes: 0 shown; 1 failed; 2 an argument is wrong; 4 no such job; 5 several queues have a job of this id.";

/// Which job.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let (id, queue) = args.which.read()?;
    let fleet = Fleet::find(global)?;
    let why = match find(&fleet, id, queue.as_ref()).await? {
        Some(why) => why,
        // Long past: the monitor may know how it ended.
        None => ended(&fleet, id, queue.as_ref()).await?,
    };
    match global.output {
        Format::Json => output::json(&why)?,
        Format::Table => output::text(&format!("{} ({}): {}\n", why.id, why.state, printable(&why.text)))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn find(fleet: &Fleet, id: JobId, queue: Option<&QueueName>) -> Result<Option<Why>, Error> {
    let broker = fleet.broker().await?;
    let unread = |source| Error::Jobs { id, source };
    let places = locate::places(broker, queue, id).await.map_err(unread)?;
    let queues: BTreeSet<_> = places.iter().map(|place| place.queue.to_string()).collect();
    if queues.len() > 1 {
        return Err(Error::Ambiguous { id, queues: queues.into_iter().collect() });
    }
    for place in places {
        if let Some(why) = why::why(&Flow::new(broker, place.pool, place.queue), id).await? {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

async fn ended(fleet: &Fleet, id: JobId, queue: Option<&QueueName>) -> Result<Why, Error> {
    let view = lookup::find(fleet, id, queue).await?;
    let not_found =
        || Error::NotFound { id, place: " to the broker; the monitor may tell its past".to_owned() };
    let (true, Some(at)) = (view.state.is_terminal(), view.ended_at) else { return Err(not_found()) };
    let cause = Cause::Ended { state: view.state, at };
    Ok(Why {
        id,
        queue: view.queue.parse().map_err(|_| not_found())?,
        kind: view.kind.parse().map_err(|_| not_found())?,
        state: view.state,
        key: None,
        tenant: None,
        text: cause.to_string(),
        cause,
        asked_at: jiff::Timestamp::now(),
    })
}
