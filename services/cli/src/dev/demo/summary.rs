//! What became of the demonstration's jobs, as a table and as JSON.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};
use windlass::{JobId, JobState};
use windlass_monitor::store::JobRow;
use windlass_worker::kinds::folder_index::Indexed;

use super::history::Seen;
use crate::output::table::{Table, printable, seconds};

/// What became of the jobs.
#[derive(Debug)]
pub(super) struct Summary {
    rows: Vec<Row>,
    /// One job, of many, to look at: its kind is the most frequent one.
    example: Option<Example>,
    failures: Vec<String>,
    indexed: Option<Indexed>,
}

/// The jobs of one kind that ended in one way.
#[derive(Debug, PartialEq, Serialize)]
struct Row {
    kind: String,
    count: u64,
    outcome: JobState,
    wait_seconds: Percentiles,
    run_seconds: Percentiles,
}

/// None where nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Percentiles {
    p50: Option<f64>,
    p99: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Example {
    job_id: JobId,
    trace_id: Option<String>,
}

/// How many failed jobs are told one by one.
const FAILURES: usize = 10;
const HEADER: [&str; 7] = ["KIND", "COUNT", "OUTCOME", "WAIT P50", "WAIT P99", "RUN P50", "RUN P99"];

// === impl Summary ===

impl Summary {
    pub(super) fn new(seen: &Seen) -> Self {
        let mut groups: BTreeMap<(&str, &str), Vec<&JobRow>> = BTreeMap::new();
        for job in &seen.jobs {
            groups.entry((&job.kind, job.state.as_str())).or_default().push(job);
        }
        let example = groups.values().max_by_key(|jobs| jobs.len()).and_then(|jobs| jobs.first());
        let failed = seen.jobs.iter().filter(|job| job.state != JobState::Succeeded);
        Self {
            rows: groups.values().filter_map(|jobs| Row::new(jobs)).collect(),
            example: example.map(|job| Example { job_id: job.id, trace_id: job.trace_id.clone() }),
            failures: failed.take(FAILURES).map(failure).collect(),
            indexed: seen.indexed(),
        }
    }

    /// How many jobs there were.
    pub(super) fn all(&self) -> u64 {
        self.rows.iter().map(|row| row.count).sum()
    }

    /// How many of them did not succeed.
    pub(super) fn failed(&self) -> u64 {
        self.rows.iter().filter(|row| row.outcome != JobState::Succeeded).map(|row| row.count).sum()
    }

    /// For people.
    pub(super) fn text(&self, root: &Path, http_url: &str) -> String {
        let mut lines = vec![String::new(), format!("indexed {}", root.display()), String::new()];
        let mut table = Table::new(&HEADER).right([1, 3, 4, 5, 6]);
        self.rows.iter().for_each(|row| table.row(row.cells()));
        lines.push(table.render());
        lines.extend(self.failures.iter().cloned());
        lines.extend(self.indexed.as_ref().and_then(left_out));
        lines.push(format!("dashboard  {http_url}"));
        if let Some(Example { job_id, trace_id }) = &self.example {
            lines.push(format!("one job    {http_url}/jobs/{job_id}"));
            lines.push(format!("its trace  {}", trace_id.as_deref().unwrap_or("none")));
        }
        lines.join("\n")
    }

    /// For programs.
    pub(super) fn json(&self, root: &Path, http_url: &str) -> Value {
        json!({ "demo": {
            "path": root,
            "jobs": self.all(),
            "succeeded": self.all() - self.failed(),
            "kinds": self.rows,
            "example": self.example,
            "indexed": self.indexed,
            "http_url": http_url,
        }})
    }
}

// === impl Row ===

impl Row {
    /// None of no jobs.
    fn new(jobs: &[&JobRow]) -> Option<Self> {
        let first = jobs.first()?;
        Some(Self {
            kind: first.kind.clone(),
            count: jobs.len() as u64,
            outcome: first.state,
            wait_seconds: Percentiles::of(jobs.iter().filter_map(|job| job.wait_seconds).collect()),
            run_seconds: Percentiles::of(jobs.iter().filter_map(|job| job.run_seconds).collect()),
        })
    }

    fn cells(&self) -> [String; 7] {
        [
            self.kind.clone(),
            self.count.to_string(),
            self.outcome.to_string(),
            cell(self.wait_seconds.p50),
            cell(self.wait_seconds.p99),
            cell(self.run_seconds.p50),
            cell(self.run_seconds.p99),
        ]
    }
}

// === impl Percentiles ===

impl Percentiles {
    fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        // Nearest rank: a value that occurred.
        let rank =
            |percent: usize| seconds.get((seconds.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Self { p50: rank(50), p99: rank(99) }
    }
}

/// Empty where nothing is known.
fn cell(time: Option<f64>) -> String {
    time.map(seconds).unwrap_or_default()
}

fn failure(job: &JobRow) -> String {
    let message = job.error.as_ref().map_or("no cause is known", |error| &error.message);
    printable(&format!("{} {} {}: {message}", job.kind, job.id, job.state))
}

/// None if everything was indexed.
fn left_out(indexed: &Indexed) -> Option<String> {
    let parts = [
        (indexed.skipped, "folders (.git, or marked by CACHEDIR.TAG)"),
        (indexed.other, "links and other entries that are no regular files"),
        (indexed.not_utf8, "entries whose names are not UTF-8"),
    ];
    let parts: Vec<_> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    (!parts.is_empty()).then(|| format!("left out   {}", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(kind: &str, state: &str, seconds: f64) -> JobRow {
        serde_json::from_value(json!({
            "id": "01890a5d-ac96-774b-bcce-b302099a8057", "kind": kind, "queue": "default", "state": state,
            "priority": "normal", "accepted_at": null, "due_at": null, "ended_at": null, "attempt_count": 1,
            "wait_seconds": seconds, "run_seconds": null, "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "error": (state == "dead").then(|| json!({"message": "no such file", "code": "handler", "terminal": true})),
        }))
        .unwrap()
    }

    #[test]
    fn jobs_are_grouped_by_kind_and_outcome() {
        let mut jobs = vec![job("folder.index", "succeeded", 0.5), job("file.digest", "dead", 2.0)];
        jobs.extend((1..=100).map(|n| job("file.digest", "succeeded", f64::from(n) / 1000.0)));
        let summary = Summary::new(&Seen { first: None, jobs });
        assert_eq!((summary.all(), summary.failed()), (102, 1));
        let text = summary.text(Path::new("/srv"), "http://127.0.0.1:8304");
        for line in [
            "KIND          COUNT  OUTCOME    WAIT P50  WAIT P99  RUN P50  RUN P99",
            "file.digest       1  dead           2.0s      2.0s        -        -",
            "file.digest     100  succeeded      50ms      99ms        -        -",
            "folder.index      1  succeeded     500ms     500ms        -        -",
            "file.digest 01890a5d-ac96-774b-bcce-b302099a8057 dead: no such file",
            "its trace  0af7651916cd43dd8448eb211c80319c",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert_eq!(summary.json(Path::new("/srv"), "")["demo"]["succeeded"], 101);
    }

    #[test]
    fn what_was_left_out_is_told() {
        let indexed = |skipped, not_utf8| Indexed {
            files: 1,
            bytes: 1,
            skipped,
            other: 0,
            not_utf8,
            queue: "default".to_owned(),
        };
        assert_eq!(left_out(&indexed(0, 0)), None);
        let text = left_out(&indexed(2, 1)).unwrap();
        assert_eq!(
            text,
            "left out   2 folders (.git, or marked by CACHEDIR.TAG), 1 entries whose names are not UTF-8"
        );
    }

    #[test]
    fn a_percentile_is_a_value_that_occurred() {
        let of = |values: &[f64]| Percentiles::of(values.to_vec());
        assert_eq!(of(&[]), Percentiles { p50: None, p99: None });
        assert_eq!(of(&[3.0]), Percentiles { p50: Some(3.0), p99: Some(3.0) });
        assert_eq!(of(&[4.0, 1.0, 3.0, 2.0]), Percentiles { p50: Some(2.0), p99: Some(4.0) });
    }
}
