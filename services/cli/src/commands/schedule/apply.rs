//! `windlass schedule apply`.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use windlass_core::schedule::Schedule;
use windlass_core::{Limits, ScheduleId};
use windlass_scheduler::ScheduleStore;
use windlass_scheduler::file::{self, Format as FileFormat};
use windlass_scheduler::store::Applied;

use crate::commands::Error;
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::Table;
use crate::output::{self, Format};

/// Of one file.
const FILE_BYTES: u64 = 16 * 1024 * 1024;

const AFTER_HELP: &str = "\
Examples:
  windlass schedule apply -f nightly.toml
  windlass schedule apply -f schedules/ -o json

A file, in TOML or JSON, has one schedule, or several under `schedules`:
  id = \"nightly-report\"
  kind = \"report.make\"
  payload = { region = \"eu\" }
  cron = \"30 2 * * *\"          # or: every = \"30s\"
  zone = \"Europe/Berlin\"
  # queue, priority, max_attempts, attempt_timeout, max_wait, paused

Of a folder, each .toml and .json file in it. All files are checked before anything is changed. What is not in them
stays as it is.";

/// Which files.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// A file, or a folder of files; may be given again
    #[arg(short, long = "file", value_name = "FILE|DIR", required = true)]
    files: Vec<PathBuf>,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let schedules = read(&args.files, Timestamp::now())?;
    let fleet = Fleet::find(global)?;
    let store = ScheduleStore::new(fleet.broker().await?);
    let mut applied = Vec::new();
    let mut outcome = Ok(());
    for schedule in schedules {
        let id = schedule.id.clone();
        match store.apply(schedule).await {
            Ok(change) => applied.push((id, change)),
            Err(error) => {
                outcome = Err(Error::from(error));
                break;
            }
        }
    }
    // Also where one failed: those before it are in force.
    tell(&applied, global.output)?;
    outcome.map(|()| ExitCode::SUCCESS)
}

fn tell(applied: &[(ScheduleId, Applied)], format: Format) -> Result<(), Error> {
    match format {
        Format::Json => {
            let schedules: Vec<_> =
                applied.iter().map(|(id, change)| json!({ "id": id, "result": change })).collect();
            output::json(&json!({ "schedules": schedules }))?;
        }
        Format::Table => {
            let mut table = Table::new(&["SCHEDULE", "RESULT"]);
            for (id, change) in applied {
                let word = match change {
                    Applied::Created => "created",
                    Applied::Updated => "updated",
                    Applied::Unchanged => "unchanged",
                };
                table.row([id.to_string(), word.to_owned()]);
            }
            output::text(&table.render())?;
        }
    }
    Ok(())
}

/// The schedules of all files; each is valid, and none comes twice.
fn read(paths: &[PathBuf], now: Timestamp) -> Result<Vec<Schedule<Bytes>>, Error> {
    let mut schedules = Vec::new();
    let mut origins: HashMap<ScheduleId, PathBuf> = HashMap::new();
    for path in paths {
        for path in files(path)? {
            let text = text(&path)?;
            let found = file::read(&text, FileFormat::of_path(&path), now)
                .map_err(|source| Error::ScheduleFile { path: path.clone(), source })?;
            for schedule in found {
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
                schedules.push(schedule);
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
    let unread = |source| Error::File { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unread)?;
    file.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(unread)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(Error::input("file", format!("{} is larger than {FILE_BYTES} bytes", path.display())));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(paths: &[PathBuf]) -> Result<Vec<String>, Error> {
        let schedules = read(paths, Timestamp::UNIX_EPOCH)?;
        Ok(schedules.into_iter().map(|schedule| schedule.id.to_string()).collect())
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
