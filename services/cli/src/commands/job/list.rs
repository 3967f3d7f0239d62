//! `windlass job list`.

use std::process::ExitCode;

use jiff::Timestamp;
use windlass_core::flow::FlowKey;
use windlass_core::labels::Label;
use windlass_core::letter::Print;
use windlass_core::relations::JobPath;
use windlass_core::{JobState, Kind, QueueName, ScheduleId};
use windlass_monitor::api::{DEFAULT_LIMIT, MAX_LIMIT};
use windlass_monitor::store::{Cursor, JobRow};

use crate::commands::Error;
use crate::commands::arguments::{number, optional};
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::{Table, cut, relative, seconds};
use crate::output::{self, Format};

/// Of an error in a table.
const ERROR_CHARACTERS: usize = 60;

const AFTER_HELP: &str = "\
Examples:
  windlass job list --state dead --kind file.digest
  windlass job list --fingerprint 1f67ec47ed8603e0 --since 2026-01-31T09:00:00Z
  windlass job list --schedule nightly --state dead
  windlass job list --label env=prod --text 'account 42'
  windlass job list --queue mail --limit 500 -o json

In JSON, `next_cursor` is what --cursor takes for the part that follows; null at the end.";

/// Which jobs.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// Only those in this state: scheduled, held, queued, running, retrying, succeeded, dead, cancelled or expired
    #[arg(long, value_name = "STATE", allow_hyphen_values = true)]
    state: Option<String>,
    /// Only those of this kind
    #[arg(long, value_name = "KIND", allow_hyphen_values = true)]
    kind: Option<String>,
    /// Only those of this queue
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    queue: Option<String>,
    /// Only those with this key
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    key: Option<String>,
    /// Only those of this tenant
    #[arg(long, value_name = "TENANT", allow_hyphen_values = true)]
    tenant: Option<String>,
    /// Only those whose error has this fingerprint, 16 hexadecimal digits
    #[arg(long, value_name = "FINGERPRINT", allow_hyphen_values = true)]
    fingerprint: Option<String>,
    /// Only those that this schedule published
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    schedule: Option<String>,
    /// Only the children of this job: its queue and its id, as mail/01890a5d-ac96-774b-bcce-b302099a8057
    #[arg(long, value_name = "QUEUE/ID", allow_hyphen_values = true)]
    parent: Option<String>,
    /// Only those with this label, as env=prod
    #[arg(long, value_name = "NAME=VALUE", allow_hyphen_values = true)]
    label: Option<String>,
    /// Only those whose payload has this text: of live and dead jobs, a thousand of which are looked at
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    text: Option<String>,
    /// Only those accepted at this instant or later, as 2026-01-31T09:00:00Z
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    since: Option<String>,
    /// Only those accepted before this instant
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    until: Option<String>,
    /// How many at most, 1 to 500 [default: 50]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    limit: Option<String>,
    /// Where a part that was listed before ended
    #[arg(long, value_name = "CURSOR", allow_hyphen_values = true)]
    cursor: Option<String>,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let query = query(&args)?;
    let fleet = Fleet::find(global)?;
    let monitor = fleet.monitor().await?.ok_or(Error::NoMonitor)?;
    let list = monitor.jobs(&query).await?;
    match global.output {
        Format::Json => output::json(&list)?,
        Format::Table => {
            let more = match &list.next_cursor {
                Some(cursor) => format!("more: --cursor {cursor}\n"),
                None => String::new(),
            };
            output::text(&format!("{}{more}", table(&list.jobs, Timestamp::now())))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The query of the API.
fn query(args: &Args) -> Result<Vec<(&'static str, String)>, Error> {
    let limit =
        args.limit.as_deref().map_or(Ok(DEFAULT_LIMIT), |text| number("limit", text, 1, MAX_LIMIT))?;
    let state = optional::<JobState>("state", args.state.as_deref())?.map(|state| state.to_string());
    let kind = optional::<Kind>("kind", args.kind.as_deref())?.map(|kind| kind.to_string());
    let queue = optional::<QueueName>("queue", args.queue.as_deref())?.map(|queue| queue.to_string());
    let key = optional::<FlowKey>("key", args.key.as_deref())?.map(String::from);
    let tenant = optional::<FlowKey>("tenant", args.tenant.as_deref())?.map(String::from);
    let print = optional::<Print>("fingerprint", args.fingerprint.as_deref())?.map(|print| print.to_string());
    let schedule = optional::<ScheduleId>("schedule", args.schedule.as_deref())?.map(|id| id.to_string());
    let parent = optional::<JobPath>("parent", args.parent.as_deref())?.map(|path| path.to_string());
    let label = optional::<Label>("label", args.label.as_deref())?.map(|label| label.to_string());
    let since = optional::<Timestamp>("since", args.since.as_deref())?.map(|at| at.to_string());
    let until = optional::<Timestamp>("until", args.until.as_deref())?.map(|at| at.to_string());
    let cursor = optional::<Cursor>("cursor", args.cursor.as_deref())?.map(|cursor| cursor.to_string());
    let parts = [
        ("state", state),
        ("kind", kind),
        ("queue", queue),
        ("key", key),
        ("tenant", tenant),
        ("fingerprint", print),
        ("schedule_id", schedule),
        ("parent", parent),
        ("label", label),
        ("text", args.text.clone()),
        ("since", since),
        ("until", until),
        ("limit", Some(limit.to_string())),
        ("cursor", cursor),
    ];
    Ok(parts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}

fn table(jobs: &[JobRow], now: Timestamp) -> String {
    let headings = ["ID", "KIND", "QUEUE", "STATE", "ATTEMPTS", "WAIT", "RUN", "ACCEPTED", "ERROR"];
    let mut table = Table::new(&headings).right(4..=6);
    for job in jobs {
        let length = |value: Option<f64>| value.map(seconds).unwrap_or_default();
        table.row([
            job.id.to_string(),
            job.kind.clone(),
            job.queue.clone(),
            job.state.to_string(),
            job.attempt_count.to_string(),
            length(job.wait_seconds),
            length(job.run_seconds),
            job.accepted_at.map(|at| relative(at, now)).unwrap_or_default(),
            job.error.as_ref().map(|error| cut(&error.message, ERROR_CHARACTERS)).unwrap_or_default(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn read(arguments: &[&str]) -> Result<Vec<(&'static str, String)>, Error> {
        query(&Cli::try_parse_from(["list"].iter().chain(arguments)).unwrap().args)
    }

    #[test]
    fn only_what_was_asked_for_is_in_the_query() {
        assert_eq!(read(&[]).unwrap(), [("limit", "50".to_owned())]);
        let query = read(&["--state", "dead", "--limit", "500", "--cursor", "-7"]).unwrap();
        let names: Vec<_> = query.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["state", "limit", "cursor"]);
        for (arguments, field) in [
            (["--state", "ended"], "state"),
            (["--kind", "a b"], "kind"),
            (["--queue", "a.b"], "queue"),
            (["--limit", "0"], "limit"),
            (["--limit", "501"], "limit"),
            (["--cursor", "x"], "cursor"),
        ] {
            assert_eq!(read(&arguments).unwrap_err().field(), Some(field), "{arguments:?}");
        }
    }
}
