//! `windlass queue show`.

use std::fmt::Write as _;
use std::process::ExitCode;

use jiff::Timestamp;
use windlass_broker::why::{self, State};
use windlass_core::QueueName;
use windlass_core::flow::QueueSettings;

use super::change::shown;
use crate::commands::Error;
use crate::commands::arguments::parse;
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::{Table, instant, printable, relative};
use crate::output::{self, Format};

const AFTER_HELP: &str = "\
Examples:
  windlass queue show mail
  windlass queue show mail -o json

With -o json: {queue, revision, set: {settings, by, at, note, previous}, applied: {revision, done, controlled,
looking_at, seen, moved, dispatcher, at}, backlog}, the last as `windlass queue why`. `set` is null if nothing was ever
set, `applied` if no dispatcher has begun with it; `applied.done` says that all that waits goes by `applied.revision`.

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
    let state = why::state(&super::flow(&fleet, &queue).await?).await?;
    match global.output {
        Format::Json => output::json(&state)?,
        Format::Table => output::text(&text(&state, Timestamp::now()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(state: &State, now: Timestamp) -> String {
    let mut text = format!("queue     {}\n", state.queue);
    match &state.set {
        None => text += "settings  none: nothing was ever set\n",
        Some(set) => {
            // Writing into a string does not fail.
            let _ = writeln!(
                text,
                "set       by {} at {} ({}), revision {}",
                printable(&set.by),
                instant(set.at),
                relative(set.at, now),
                state.revision
            );
            if !set.note.is_empty() {
                let _ = writeln!(text, "note      {}", printable(&set.note));
            }
            match &state.applied {
                Some(applied) if applied.done && applied.revision == state.revision => {
                    text += "in force  for all that waits\n";
                }
                Some(applied) if applied.revision == state.revision => {
                    let _ = writeln!(
                        text,
                        "in force  for what comes; looking at {}: {} jobs seen, {} moved",
                        applied.looking_at, applied.seen, applied.moved
                    );
                }
                _ => text += "in force  not yet: no dispatcher has begun with it\n",
            }
            let (nothing, before) = (QueueSettings::default(), set.previous.clone().unwrap_or_default());
            let mut table = Table::new(&["SETTING", "VALUE", "BEFORE"]);
            let previous = nothing.difference(&before);
            let of = |name: &str| {
                previous.iter().find(|(found, ..)| found == name).map(|(.., value)| shown(value))
            };
            for (name, _, value) in nothing.difference(&set.settings) {
                let before = of(&name).unwrap_or_default();
                table.row([name, shown(&value), before]);
            }
            text.push('\n');
            text += &table.render();
        }
    }
    text.push('\n');
    text + &super::why::text(&state.backlog, now)
}
