//! What every change of a queue's settings has: how it is stored, shown, and waited for.

use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use windlass_broker::queues::{Error as Refused, Manner, QueueStore};
use windlass_core::QueueName;
use windlass_core::flow::{Applied, Change, InvalidSettings, QueueSettings};

use crate::commands::Error;
use crate::commands::arguments::duration;
use crate::commands::requester::who;
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::{Table, printable};
use crate::output::{self, Format};

/// Between two looks at how far a change is.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Of a note.
const MOST_NOTE_BYTES: usize = 500;

/// How a change is made.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// Only if the settings still have this revision, as `queue show` tells it; 0: only if nothing was ever set
    #[arg(long, value_name = "N")]
    expect_revision: Option<u64>,
    /// Wait until all that waits already goes by it
    #[arg(long)]
    wait: bool,
    /// With --wait: how long at most
    #[arg(long, value_name = "DURATION", default_value = "60s", allow_hyphen_values = true)]
    timeout: String,
}

/// [`Options`], checked.
pub(super) struct Checked {
    dry_run: bool,
    revision: Option<u64>,
    wait: Option<Duration>,
    note: String,
}

// === impl Options ===

impl Options {
    pub(super) fn check(&self, note: &str) -> Result<Checked, Error> {
        let timeout = duration("timeout", &self.timeout)?;
        if note.len() > MOST_NOTE_BYTES || note.contains(char::is_control) {
            let reason = format!("expected at most {MOST_NOTE_BYTES} bytes without control characters");
            return Err(Error::input("note", reason));
        }
        Ok(Checked {
            dry_run: self.dry_run,
            revision: self.expect_revision,
            wait: self.wait.then_some(timeout),
            note: note.to_owned(),
        })
    }
}

/// Who changes it.
pub(super) fn by() -> String {
    who()
}

/// Makes the change, unless it changes nothing, and says what it was.
pub(super) async fn make(
    queue: &QueueName,
    how: Checked,
    global: &Global,
    change: impl Fn(&QueueSettings) -> Result<QueueSettings, InvalidSettings>,
) -> Result<ExitCode, Error> {
    let fleet = Fleet::find(global)?;
    let store = QueueStore::new(fleet.broker().await?);
    let stored = store.get(queue).await.map_err(refused)?;
    let revision = stored.as_ref().map_or(0, |stored| stored.revision);
    if let Some(expected) = how.revision.filter(|expected| *expected != revision) {
        return Err(refused(Refused::Revision { queue: queue.clone(), expected, found: revision }));
    }
    let before = stored.map(|stored| stored.change.settings).unwrap_or_default();
    let after = change(&before).map_err(|error| refused(error.into()))?;
    let (by, now) = (by(), Timestamp::now());
    if how.dry_run || before == after {
        let set = Change { settings: after, by, at: now, note: how.note, previous: Some(before) };
        let made = Made { queue, revision, set: &set, dry_run: how.dry_run, applied: None };
        made.show(global.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let manner = Manner { by: &by, now, note: &how.note, revision: how.revision };
    let made = store
        .change_as(queue, &manner, |settings| {
            *settings = change(settings)?;
            Ok(())
        })
        .await
        .map_err(refused)?;
    let applied = match how.wait {
        Some(timeout) => Some(wait(&fleet, queue, made.revision, timeout, global.output).await?),
        None => None,
    };
    Made { queue, revision: made.revision, set: &made.change, dry_run: false, applied }
        .show(global.output)?;
    Ok(ExitCode::SUCCESS)
}

/// Until the queue's owner has dealt with all that waits, by these settings or later ones.
async fn wait(
    fleet: &Fleet,
    queue: &QueueName,
    revision: u64,
    timeout: Duration,
    format: Format,
) -> Result<Applied, Error> {
    let flow = super::flow(fleet, queue).await?;
    let deadline = Instant::now() + timeout;
    let mut shown = None;
    loop {
        let applied = flow.applied().await.map_err(|source| Error::Why(source.into()))?;
        let applied = applied.filter(|applied| applied.revision >= revision);
        if let Some(applied) = &applied {
            if applied.done {
                return Ok(applied.clone());
            }
            let progress = (applied.looking_at.clone(), applied.seen, applied.moved);
            if format == Format::Table && shown.as_ref() != Some(&progress) {
                let (at, seen, moved) = &progress;
                output::note(&format!("looking at {at}: {seen} jobs seen, {moved} moved"));
                shown = Some(progress);
            }
        }
        if Instant::now() >= deadline {
            let begun = applied.is_some();
            return Err(Error::NotApplied { queue: queue.clone(), revision, waited: timeout, begun });
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// A change as it is shown.
struct Made<'a> {
    queue: &'a QueueName,
    revision: u64,
    set: &'a Change,
    dry_run: bool,
    applied: Option<Applied>,
}

// === impl Made ===

impl Made<'_> {
    fn show(&self, format: Format) -> Result<(), Error> {
        let nothing = QueueSettings::default();
        let before = self.set.previous.as_ref().unwrap_or(&nothing);
        let changed = before.difference(&self.set.settings);
        match format {
            Format::Json => {
                let changed: Vec<_> = changed
                    .iter()
                    .map(|(setting, before, after)| json!({ "setting": setting, "before": before, "after": after }))
                    .collect();
                output::json(&json!({
                    "queue": self.queue,
                    "revision": self.revision,
                    "dry_run": self.dry_run,
                    "changed": changed,
                    "settings": self.set.settings,
                    "previous": self.set.previous,
                    "by": self.set.by,
                    "at": self.set.at,
                    "note": self.set.note,
                    "applied": self.applied,
                }))?;
            }
            Format::Table => output::text(&self.text(&changed))?,
        }
        Ok(())
    }

    fn text(&self, changed: &[(String, Value, Value)]) -> String {
        let queue = self.queue;
        if changed.is_empty() {
            return format!("queue {queue} has these settings already\n");
        }
        let mut table = Table::new(&["SETTING", "BEFORE", "AFTER"]);
        for (setting, before, after) in changed {
            table.row([setting.clone(), shown(before), shown(after)]);
        }
        let end = match (self.dry_run, &self.applied) {
            (true, _) => "nothing was changed\n".to_owned(),
            (false, None) => format!("set for queue {queue}, revision {}\n", self.revision),
            (false, Some(applied)) => format!(
                "set for queue {queue}, revision {}, and in force for all that waits: {} jobs seen, {} moved\n",
                self.revision, applied.seen, applied.moved
            ),
        };
        table.render() + &end
    }
}

/// A value of a setting, for people; nothing where it is not set.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        other => printable(&other.to_string()),
    }
}

/// Why settings were not read or changed, with the field as the command line names it.
pub(super) fn refused(error: Refused) -> Error {
    match error {
        Refused::Invalid(InvalidSettings { field, reason }) => {
            Error::Input { field: field.replace('_', "-"), reason }
        }
        other => Error::Settings(other),
    }
}
