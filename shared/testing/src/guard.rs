//! A test's process may die without a word, by a signal or an abort, and its broker would outlive it.

use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};

/// Waits for the end of its input, which comes at the latest with the end of this process.
const SCRIPT: &str = "read -r _; kill -9 \"$1\"; rm -rf -- \"$2\"";

/// A process that outlives this one, to kill the server and remove its folder. Dropping it ends it without that.
pub(crate) struct Guard {
    child: Child,
}

// === impl Guard ===

impl Guard {
    pub(crate) fn start(pid: u32, folder: &Path) -> std::io::Result<Self> {
        let mut command = Command::new("sh");
        command
            .args(["-c", SCRIPT, "windlass-testing", &pid.to_string()])
            .arg(folder)
            // Held open by this process alone: other children do not inherit it.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C at a terminal ends the test, and not the guard.
            .process_group(0)
            .kill_on_drop(true);
        Ok(Self { child: command.spawn()? })
    }

    /// Ends it, once there is nothing left to guard.
    pub(crate) async fn dismiss(mut self) {
        let _ = self.child.kill().await;
    }
}
