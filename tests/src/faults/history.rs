//! What workers record of themselves: a line for each thing, written before anything else happens.
//!
//! A line that was written survives the SIGKILL of its writer: it is in the system's cache, not in the process.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use windlass_core::{JobId, QueueName};

/// Names the file, in the environment of a worker.
pub(super) const VARIABLE: &str = "WINDLASS_FAULTS_HISTORY";

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(super) enum Line {
    /// A worker has begun.
    Hello { at: Timestamp, pid: u32, worker: String },
    /// A handler was called.
    Start { at: Timestamp, pid: u32, worker: String, queue: QueueName, job: JobId, attempt: u32 },
    /// A handler is about to return.
    End { at: Timestamp, pid: u32, worker: String, queue: QueueName, job: JobId, attempt: u32 },
    /// The worker got no processor for so long.
    Stall { at: Timestamp, worker: String, milliseconds: u64 },
}

/// Where a worker records.
#[derive(Debug, Clone)]
pub(super) struct Recorder {
    file: Arc<File>,
}

// === impl Recorder ===

impl Recorder {
    pub(super) fn from_env() -> Result<Self> {
        let path = std::env::var_os(VARIABLE).map(PathBuf::from);
        let path = path.with_context(|| format!("{VARIABLE} names no file"))?;
        let file = File::options().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("{} cannot be opened", path.display()))?;
        Ok(Self { file: Arc::new(file) })
    }

    /// In one write, so that lines of several processes do not mix.
    pub(super) fn record(&self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        Ok((&*self.file).write_all(&text)?)
    }
}

/// All lines of a file; none, if no worker came to write one.
pub(super) fn read(path: &Path) -> Result<Vec<Line>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let line = |line: &str| serde_json::from_str(line).with_context(|| format!("not a line: {line}"));
    text.lines().map(line).collect()
}

/// A failpoint that was reached or acted, as its process wrote it.
#[derive(Debug, Clone)]
pub(super) struct Hit {
    pub(super) at: Timestamp,
    pub(super) pid: u32,
    pub(super) point: String,
    pub(super) act: String,
}

/// All lines of the failpoints' file.
pub(super) fn read_hits(path: &Path) -> Vec<Hit> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let hit = |line: &str| {
        let mut words = line.split(' ');
        Some(Hit {
            at: Timestamp::from_microsecond(words.next()?.parse().ok()?).ok()?,
            pid: words.next()?.parse().ok()?,
            point: words.next()?.to_owned(),
            act: words.next()?.to_owned(),
        })
    };
    text.lines().filter_map(hit).collect()
}
