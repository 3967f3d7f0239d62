//! `windlass queue list`.

use std::process::ExitCode;

use windlass_core::JobState;
use windlass_monitor::store::QueueCounts;

use crate::commands::Error;
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::{Table, seconds};
use crate::output::{self, Format};

pub(super) const AFTER_HELP: &str = "\
Examples:
  windlass queue list
  windlass queue list -o json";

pub(super) async fn run(global: &Global) -> Result<ExitCode, Error> {
    let fleet = Fleet::find(global)?;
    let monitor = fleet.monitor().await?.ok_or(Error::NoMonitor)?;
    let list = monitor.queues().await?;
    match global.output {
        Format::Json => output::json(&list)?,
        Format::Table => output::text(&table(&list.queues))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn table(queues: &[QueueCounts]) -> String {
    let words: Vec<String> = JobState::ALL.iter().map(|state| state.as_str().to_uppercase()).collect();
    let headings: Vec<&str> =
        std::iter::once("QUEUE").chain(words.iter().map(String::as_str)).chain(["OLDEST QUEUED"]).collect();
    let mut table = Table::new(&headings).right(1..headings.len());
    for queue in queues {
        let counts =
            JobState::ALL.iter().map(|s| queue.counts.get(s.as_str()).copied().unwrap_or(0).to_string());
        let oldest = queue.oldest_queued_age_seconds.map(seconds).unwrap_or_default();
        table.row(std::iter::once(queue.name.clone()).chain(counts).chain([oldest]));
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_column() {
        let counts = [("queued".to_owned(), 7), ("dead".to_owned(), 12)].into();
        let queue = QueueCounts { name: "mail".to_owned(), counts, oldest_queued_age_seconds: Some(90.0) };
        let text = table(&[queue]);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0][3], "QUEUED");
        assert_eq!(rows[1], ["mail", "0", "0", "7", "0", "0", "0", "12", "0", "0", "90s"]);
    }
}
