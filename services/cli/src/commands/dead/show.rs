//! `windlass dead show`.

use std::fmt::Write as _;
use std::process::ExitCode;

use jiff::Timestamp;
use windlass_broker::dead::Letters;
use windlass_core::letter::LetterView;

use super::select;
use crate::commands::Error;
use crate::commands::arguments::Which;
use crate::commands::job::show::attempts;
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::{Table, instant, printable, relative};
use crate::output::{self, Format};

const AFTER_HELP: &str = "\
Examples:
  windlass dead show 01890a5d-ac96-774b-bcce-b302099a8057
  windlass dead show 01890a5d-ac96-774b-bcce-b302099a8057 --queue mail -o json

Exit codes: 0 shown; 1 failed; 2 an argument is wrong; 4 there is no such letter; 5 several queues have one of this id.";

/// Which letter.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let (id, queue) = args.which.read()?;
    let fleet = Fleet::find(global)?;
    let letters = Letters::new(fleet.broker().await?);
    let view = LetterView::of(&select::find(&letters, id, queue.as_ref()).await?);
    match global.output {
        Format::Json => output::json(&view)?,
        Format::Table => output::text(&text(&view, Timestamp::now()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(view: &LetterView, now: Timestamp) -> String {
    let row = &view.row;
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing into a string does not fail.
            let _ = writeln!(text, "{name:<11} {}", printable(value));
        }
    };
    field("id", &row.id.to_string());
    field("bears id", &row.claimed_id.map(|id| id.to_string()).unwrap_or_default());
    field("kind", &row.kind);
    field("queue", &row.queue);
    field("died", &format!("{} ({})", instant(row.dead_at), relative(row.dead_at, now)));
    field("code", &row.code);
    field("last error", row.error_code.as_deref().unwrap_or_default());
    field("field", row.field.as_deref().unwrap_or_default());
    field("reason", &row.reason);
    field("fingerprint", &row.fingerprint);
    match &view.not_redrivable {
        Some(why) => field("redrive", &format!("is not possible: {why}")),
        None => field("redrive", &format!("makes the job {}", view.redriven_id)),
    }
    field("published", &view.original_subject);
    field("type", &view.content_type);
    field("payload", &view.payload.to_string());
    if !view.headers.is_empty() {
        let mut table = Table::new(&["HEADER", "VALUE"]);
        view.headers.iter().for_each(|header| table.row([header.name.clone(), header.value.clone()]));
        let _ = write!(text, "\n{}", table.render());
    }
    if !view.attempts.is_empty() {
        let _ = write!(text, "\n{}", attempts(&view.attempts, now));
    }
    text
}
