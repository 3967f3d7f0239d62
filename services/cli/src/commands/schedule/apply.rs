//! `windlass schedule apply`.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::json;
use windlass_core::{Limits, ScheduleId};
use windlass_schedules::ScheduleStore;
use windlass_schedules::application::Line;
use windlass_schedules::file::{self, Desired, Format as FileFormat};

use super::change::author;
use crate::commands::Error;
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::{Table, printable};
use crate::output::{self, Format};

/// Of one file.
const FILE_BYTES: u64 = 16 * 1024 * 1024;

const AFTER_HELP: &str = "\
Examples:
  windlass schedule apply -f nightly.toml
  windlass schedule apply -f schedules/ --prune --dry-run

A file, in TOML or JSON, has one schedule, or several under `schedules`:
  id = \"nightly-report\"
  kind = \"report.make\"
  payload = { region = \"eu\" }
  cron = \"30 2 * * *\"          # or: every = \"30s\", or: at = \"2026-12-24T18:00:00Z\"; also lists of them
  zone = \"Europe/Berlin\"
  # queue, priority, max_attempts, attempt_timeout, max_wait, paused, phase, start, end, exclude, exclude_calendar,
  # jitter, limit, overlap, misfire, catch_up_window, pace, pause_on_failure

Of a folder, each .toml and .json file in it. All files are checked before anything is changed. What is not in them
stays as it is, unless --prune deletes it. A schedule that somebody changes at the same moment is left to them.";

/// Which files.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// A file, or a folder of files; may be given again
    #[arg(short, long = "file", value_name = "FILE|DIR", required = true)]
    files: Vec<PathBuf>,
    /// Delete the schedules that are in no file
    #[arg(long)]
    prune: bool,
    /// Only say what would be changed
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let mut desired = read(&args.files, Timestamp::now())?;
    let fleet = Fleet::find(global)?;
    let broker = fleet.broker().await?;
    let store = ScheduleStore::new(broker);
    let author = author(broker).await;
    for desired in &mut desired {
        desired.schedule.created_at = author.at;
    }
    // All is compared before anything is changed.
    let application = store.plan_all(desired, args.prune, &HashMap::new()).await?;
    let (lines, outcome) = if args.dry_run {
        (application.lines(), Ok(()))
    } else {
        store.carry_out_all(application, &author).await
    };
    // Also where one failed: those before it are in force.
    tell(&lines, args.dry_run, global.output)?;
    outcome?;
    Ok(ExitCode::SUCCESS)
}

fn tell(lines: &[Line], dry_run: bool, format: Format) -> Result<(), Error> {
    match format {
        Format::Json => {
            output::json(&json!({ "schedules": lines, "dry_run": dry_run }))?;
        }
        Format::Table => {
            let mut table = Table::new(&["SCHEDULE", "RESULT", "CHANGES"]);
            for line in lines {
                // What is new is all new.
                let changes = if line.result == "updated" { &line.changes[..] } else { &[] };
                let mut changes = changes
                    .iter()
                    .map(|change| printable(&format!("{}: {} -> {}", change.field, change.from, change.to)));
                table.row([line.id.to_string(), line.result.to_owned(), changes.next().unwrap_or_default()]);
                for change in changes {
                    table.row([String::new(), String::new(), change]);
                }
            }
            let note = if dry_run { "a dry run: nothing was changed\n" } else { "" };
            output::text(&format!("{}{note}", table.render()))?;
        }
    }
    Ok(())
}

/// The schedules of all files; each is valid, and none comes twice.
fn read(paths: &[PathBuf], now: Timestamp) -> Result<Vec<Desired>, Error> {
    let mut schedules = Vec::new();
    let mut origins: HashMap<ScheduleId, PathBuf> = HashMap::new();
    for path in paths {
        for path in files(path)? {
            let text = text(&path)?;
            let folder = path.parent().map(Path::to_owned).unwrap_or_default();
            let beside = |name: &str| read_bounded(&folder.join(name));
            let found = file::read(&text, FileFormat::of_path(&path), now, &beside)
                .map_err(|source| Error::ScheduleFile { path: path.clone(), source })?;
            for desired in found {
                let schedule = &desired.schedule;
                Limits::default().check(&schedule.task_at(now), now).map_err(|invalid| {
                    Error::input(invalid.field, format!("of schedule {}: {}", schedule.id, invalid.reason))
                })?;
                if let Some(other) = origins.insert(schedule.id.clone(), path.clone()) {
                    let reason = format!(
                        "{} is in {} and in {}: expected once",
                        schedule.id,
                        other.display(),
                        path.display()
                    );
                    return Err(Error::input("id", reason));
                }
                schedules.push(desired);
            }
        }
    }
    Ok(schedules)
}

/// A file itself, or what a folder has of schedules, by name.
fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let unread = |source| Error::File { path: path.to_owned(), source };
    if !std::fs::metadata(path).map_err(unread)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unread)? {
        let file = entry.map_err(unread)?.path();
        let ours = file
            .extension()
            .is_some_and(|extension| ["toml", "json"].iter().any(|own| extension.eq_ignore_ascii_case(own)));
        if ours && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(Error::input("file", format!("{} has no .toml or .json file", path.display())));
    }
    files.sort();
    Ok(files)
}

fn text(path: &Path) -> Result<String, Error> {
    read_bounded(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(std::io::Error::other(format!("it is larger than {FILE_BYTES} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(paths: &[PathBuf]) -> Result<Vec<String>, Error> {
        let schedules = read(paths, Timestamp::UNIX_EPOCH)?;
        Ok(schedules.into_iter().map(|desired| desired.schedule.id.to_string()).collect())
    }

    #[test]
    fn a_folder_is_read_as_a_whole_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let all = [folder.path().to_owned()];
        assert_eq!(ids(&all).unwrap_err().field(), Some("file"));
        let one = |id: &str| format!("id = \"{id}\"\nkind = \"k\"\nevery = \"1m\"\n");
        write("b.toml", &one("b"));
        let first = write("a.json", r#"{"id": "a", "kind": "k", "cron": "* * * * *"}"#);
        write("README.md", "no schedule");
        assert_eq!(ids(&all).unwrap(), ["a", "b"]);
        assert_eq!(ids(std::slice::from_ref(&first)).unwrap(), ["a"]);

        let twice = write("c.toml", &one("a"));
        let error = ids(&all).unwrap_err();
        assert!(error.to_string().contains("a.json") && error.to_string().contains("c.toml"), "{error}");
        std::fs::write(&twice, "id = \"c\"\nkind = \"k\"\nevery = \"0s\"\n").unwrap();
        let error = ids(&all).unwrap_err();
        assert_eq!((error.field(), error.exit_code()), (Some("every"), 2));
        assert!(error.to_string().contains("c.toml"), "{error}");
        assert!(matches!(ids(&["/no/such/file".into()]), Err(Error::File { .. })));
    }
}
