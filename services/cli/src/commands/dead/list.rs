//! `windlass dead list`.

use std::process::ExitCode;

use jiff::Timestamp;
use windlass_broker::dead::Letters;
use windlass_core::letter::{Filter, Groups, LetterRow};
use windlass_monitor::api::schema::{LetterGroups, LetterList};
use windlass_monitor::api::{DEFAULT_LIMIT, MAX_LIMIT};

use super::select::Selection;
use crate::commands::Error;
use crate::commands::arguments::{number, optional};
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::{Table, cut, relative};
use crate::output::{self, Format};

/// Of a reason in a table.
const REASON_CHARACTERS: usize = 60;
/// Different fingerprints that are told.
const MOST_GROUPS: usize = 1000;
/// Letters that are held at a time while they are counted.
const PORTION: usize = 500;

const AFTER_HELP: &str = "\
Examples:
  windlass dead list --by-fingerprint
  windlass dead list --queue mail --since 2h
  windlass dead list --fingerprint 0123456789abcdef --limit 500 -o json

A fingerprint is the same for errors that are alike: of the same code, and with the same message but for numbers, ids,
quoted text and paths. In JSON, `next_cursor` is what --cursor takes for the part that follows; null at the end.";

/// Which letters.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Count letters that are alike, the most frequent first
    #[arg(long, conflicts_with_all = ["limit", "cursor"])]
    by_fingerprint: bool,
    /// How many at most, 1 to 500 [default: 50]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    limit: Option<String>,
    /// Where a part that was listed before ended
    #[arg(long, value_name = "CURSOR", allow_hyphen_values = true)]
    cursor: Option<String>,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let now = Timestamp::now();
    let filter = args.selection.read(now)?;
    let limit =
        args.limit.as_deref().map_or(Ok(DEFAULT_LIMIT), |text| number("limit", text, 1, MAX_LIMIT))?;
    let cursor = optional::<u64>("cursor", args.cursor.as_deref())?;
    let fleet = Fleet::find(global)?;
    let letters = Letters::new(fleet.broker().await?);
    if args.by_fingerprint {
        let groups = groups(&letters, &filter).await?;
        match global.output {
            Format::Json => output::json(&groups)?,
            Format::Table => output::text(&groups_table(&groups, now))?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let page = letters.page(&filter, cursor, limit, usize::MAX).await.map_err(Error::Letters)?;
    let list = LetterList {
        letters: page.letters.iter().map(LetterRow::of).collect(),
        next_cursor: page.next.map(|next| next.to_string()),
    };
    match global.output {
        Format::Json => output::json(&list)?,
        Format::Table => {
            let more = match &list.next_cursor {
                Some(cursor) => format!("more: --cursor {cursor}\n"),
                None => String::new(),
            };
            output::text(&format!("{}{more}", table(&list.letters, now)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn groups(letters: &Letters, filter: &Filter) -> Result<LetterGroups, Error> {
    let (mut groups, mut next) = (Groups::new(MOST_GROUPS), None);
    loop {
        let page = letters.page(filter, next, PORTION, usize::MAX).await.map_err(Error::Letters)?;
        page.letters.iter().for_each(|letter| groups.count(letter));
        next = page.next;
        if next.is_none() {
            let (groups, others) = groups.finish();
            return Ok(LetterGroups { groups, others, next_cursor: None });
        }
    }
}

fn table(letters: &[LetterRow], now: Timestamp) -> String {
    let headings = ["ID", "KIND", "QUEUE", "CODE", "FINGERPRINT", "ATTEMPTS", "DIED", "REASON"];
    let mut table = Table::new(&headings).right([5]);
    for letter in letters {
        table.row([
            letter.id.to_string(),
            letter.kind.clone(),
            letter.queue.clone(),
            code(letter),
            letter.fingerprint.clone(),
            letter.attempt_count.to_string(),
            relative(letter.dead_at, now),
            cut(&letter.reason, REASON_CHARACTERS),
        ]);
    }
    table.render()
}

/// Why it is dead, and the code of its last error where that is another.
fn code(letter: &LetterRow) -> String {
    match &letter.error_code {
        Some(error) if *error != letter.code => format!("{} ({error})", letter.code),
        _ => letter.code.clone(),
    }
}

fn groups_table(groups: &LetterGroups, now: Timestamp) -> String {
    let headings = ["FINGERPRINT", "COUNT", "FIRST", "LAST", "QUEUE", "KIND", "CODE", "SAMPLE"];
    let mut table = Table::new(&headings).right([1]);
    for group in &groups.groups {
        table.row([
            group.fingerprint.clone(),
            group.count.to_string(),
            relative(group.first_dead_at, now),
            relative(group.last_dead_at, now),
            group.sample.queue.clone(),
            group.sample.kind.clone(),
            code(&group.sample),
            cut(&group.sample.reason, REASON_CHARACTERS),
        ]);
    }
    let others = match groups.others {
        0 => String::new(),
        others => format!("and {others} letters of other fingerprints\n"),
    };
    format!("{}{others}", table.render())
}
