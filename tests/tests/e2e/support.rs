//! What several of these tests do.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use prost::Message as _;
use serde_json::{Value, json};
use windlass::Submission;
use windlass::client::Ended;
use windlass_core::JobId;
use windlass_proto::v1;
use windlass_testkit::{Fleet, PATIENCE};

/// A `command.run` in the making.
pub(crate) struct Command {
    payload: Value,
}

/// Runs this command.
pub(crate) fn command(argv: &[&str]) -> Command {
    Command { payload: json!({ "argv": argv }) }
}

// === impl Command ===

impl Command {
    /// With a bad exit code as a failed attempt.
    pub(crate) fn failing(mut self) -> Self {
        self.payload["fail_on_nonzero"] = json!(true);
        self
    }

    pub(crate) fn json(&self) -> String {
        self.payload.to_string()
    }

    pub(crate) fn into_submission(self, fleet: &Fleet) -> Submission {
        fleet.client.raw("command.run", self.json().into(), "application/json")
    }
}

/// Submits it to the default queue.
pub(crate) async fn submit(fleet: &Fleet, command: Command) -> Result<JobId> {
    Ok(command.into_submission(fleet).submit().await?.id)
}

/// A command that waits until somebody opens its gate, a named pipe, for writing; it prints what is written.
pub(crate) fn gated(fleet: &Fleet, name: &str) -> Result<(PathBuf, Command)> {
    let gate = fleet.folder.path().join(name);
    let made = std::process::Command::new("mkfifo").arg(&gate).status()?;
    anyhow::ensure!(made.success(), "no named pipe could be made");
    let script = format!("cat {}", gate.display());
    Ok((gate, command(&["sh", "-c", &script])))
}

/// Opens a gate; returns once its reader has it.
pub(crate) async fn open(gate: &Path, text: &str) -> Result<()> {
    let (gate, text) = (gate.to_owned(), text.to_owned());
    let opened = tokio::task::spawn_blocking(move || std::fs::write(gate, text));
    tokio::time::timeout(PATIENCE, opened).await.context("nobody reads the gate")???;
    Ok(())
}

/// Opens a gate again and again until its job has ended: a command whose worker was killed outlives it, and may be the
/// one that reads.
pub(crate) async fn open_until_ended(fleet: &Fleet, gate: &Path, id: JobId) -> Result<Ended> {
    let opening = async {
        loop {
            open(gate, "open\n").await?;
        }
        #[allow(unreachable_code)]
        Ok::<(), anyhow::Error>(())
    };
    tokio::select! {
        ended = fleet.ended(id) => ended,
        opened = opening => Err(opened.err().unwrap_or_else(|| anyhow::anyhow!("the gate stays shut"))),
    }
}

/// Waits until no process has the gate open for reading.
pub(crate) async fn nobody_reads(gate: &Path) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        // Without a reader a writer that does not want to wait is refused.
        match std::fs::OpenOptions::new().write(true).custom_flags(NONBLOCK).open(gate) {
            Err(error) if error.raw_os_error() == Some(NO_READER) => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(_) => anyhow::ensure!(tokio::time::Instant::now() < deadline, "the gate is still read"),
        }
        tokio::task::yield_now().await;
    }
}

/// `O_NONBLOCK` and `ENXIO` of Linux.
const NONBLOCK: i32 = 0o4000;
const NO_READER: i32 = 6;

/// Sends a command as the operator.
pub(crate) async fn order(fleet: &Fleet, queue: &str, verb: &str, id: JobId) -> Result<()> {
    let body = v1::Command {
        job_id: id.to_string(),
        reason: "a reason".to_owned(),
        requested_by: "test".to_owned(),
        requested_at: None,
    };
    let client = fleet.broker.client("operator").await?;
    client.publish(&format!("windlass.command.{queue}.{verb}"), None, &[], &body.encode_to_vec()).await
}

/// The letter of a dead job.
pub(crate) async fn dead_letter(fleet: &Fleet, queue: &str, id: JobId) -> Result<v1::DeadLetter> {
    let letter = windlass_broker::dead::find(fleet.client.broker(), &queue.parse()?, id).await?;
    letter.context("there is no dead letter")
}

/// As hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
