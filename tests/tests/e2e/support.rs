//! What several of these tests do.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
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

/// Opens a gate; returns once its reader has what is written. Never blocks a thread: a test that has ended must end.
pub(crate) async fn open(gate: &Path, text: &str) -> Result<()> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut writer = loop {
        match tokio::net::unix::pipe::OpenOptions::new().open_sender(gate) {
            Ok(writer) => break writer,
            Err(error) if error.raw_os_error() == Some(NO_READER) => {
                anyhow::ensure!(tokio::time::Instant::now() < deadline, "nobody reads the gate");
                tokio::time::sleep(POLL).await;
            }
            Err(error) => return Err(error.into()),
        }
    };
    Ok(writer.write_all(text.as_bytes()).await?)
}

/// Opens a gate again and again until its job has ended: a command whose worker was killed outlives it, and may be the
/// one that reads.
pub(crate) async fn open_until_ended(fleet: &Fleet, gate: &Path, id: JobId) -> Result<Ended> {
    let opening = async {
        loop {
            match open(gate, "open\n").await {
                // The reader went away in the meantime.
                Err(error) if error.downcast_ref::<std::io::Error>().is_some_and(is_broken) => {}
                Err(error) => return Err::<(), _>(error),
                Ok(()) => {}
            }
        }
    };
    tokio::select! {
        ended = fleet.ended(id) => ended,
        opened = opening => Err(opened.err().unwrap_or_else(|| anyhow::anyhow!("the gate stays shut"))),
    }
}

/// Waits until no process has the gate open for reading.
pub(crate) async fn nobody_reads(gate: &Path) -> Result<()> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        // Without a reader a writer that does not want to wait is refused.
        match tokio::net::unix::pipe::OpenOptions::new().open_sender(gate) {
            Err(error) if error.raw_os_error() == Some(NO_READER) => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(_) => anyhow::ensure!(tokio::time::Instant::now() < deadline, "the gate is still read"),
        }
        tokio::time::sleep(POLL).await;
    }
}

fn is_broken(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::BrokenPipe
}

/// `ENXIO`: a named pipe that nobody reads.
const NO_READER: i32 = 6;
/// Nothing tells of a pipe's readers but trying.
const POLL: std::time::Duration = std::time::Duration::from_millis(5);

/// Sends a command as the operator.
pub(crate) async fn order(fleet: &Fleet, queue: &str, verb: &str, id: JobId) -> Result<()> {
    let body = v1::Command {
        job_id: id.to_string(),
        reason: "a reason".to_owned(),
        requested_by: "test".to_owned(),
        ..v1::Command::default()
    };
    let client = fleet.broker.client("operator").await?;
    client.publish(&format!("windlass.command.{queue}.{verb}"), None, &[], &body.encode_to_vec()).await
}

/// The letter of a dead job.
pub(crate) async fn dead_letter(fleet: &Fleet, queue: &str, id: JobId) -> Result<v1::DeadLetter> {
    let letter = windlass_broker::dead::find(&fleet.operator, &queue.parse()?, id).await?;
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
