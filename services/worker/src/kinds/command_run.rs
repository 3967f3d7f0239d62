//! `command.run`: a program with its arguments, without a shell.
//!
//! Takes `{"argv": ["…"]}` and, if wanted, `"timeout_seconds"` (default: the attempt's time limit, which is the most),
//! `"env"` (names that `task_environment` allows), `"cwd"` and `"fail_on_nonzero"`.
//!
//! Gives `{"exit_code": n, "stdout": "…", "stderr": "…", "truncated": false}`, the output as UTF-8 with what is not
//! replaced, its first bytes up to `output_limit_bytes` each. **Any exit code is a result**: the job succeeds, and who
//! asked decides what it means; with `"fail_on_nonzero": true` another code than 0 fails the attempt. A program that
//! cannot be started, is killed by a signal or takes too long (code `timeout`) fails the attempt as well.
//!
//! The program reads nothing, sees only the allowed environment, and leads a process group of its own. When it ends,
//! what is left of the group may finish writing for `kill_grace` and is then killed; on a time-out or a cancellation
//! the group gets SIGTERM, and SIGKILL after `kill_grace`. A process that makes a session of its own escapes this; and a
//! worker that is itself killed outright leaves its programs to whoever supervises it, as systemd's control group.
//!
//! Unless `allow` names the programs, whoever may publish to the queue runs anything with the worker's rights. Serve
//! the kind where publishers are trusted, and run the worker as a user that can do little.

mod capture;
mod execute;
mod group;
mod settings;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::Command;
use windlass::worker::context::Context;
use windlass::{Failure, Job, State};

use super::failing::{Failing, failure};
use super::payload::Invalid;
use super::time_limit::time_limit;
pub use settings::Settings;

/// The payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandRun {
    /// The program, by its path or by a name that `PATH` finds, and its arguments.
    pub argv: Vec<String>,
    /// The most that it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
    /// Variables of its environment, above the worker's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Where it starts; the worker's working directory, if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathBuf>,
    /// Whether an exit code other than 0 fails the attempt.
    #[serde(default)]
    pub fail_on_nonzero: bool,
}

/// The result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// 0 to 255.
    pub exit_code: i32,
    /// Its beginning.
    pub stdout: String,
    /// Its beginning.
    pub stderr: String,
    /// Whether something of either is left out.
    pub truncated: bool,
}

/// A command gave no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The payload asks for what cannot be.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The settings forbid it.
    #[error("the program `{program}` is not in worker.command.allow")]
    NotAllowed {
        /// As the task names it.
        program: String,
    },
    /// It did not start.
    #[error("cannot start `{program}`")]
    Start {
        /// As the task names it.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be followed.
    #[error("cannot follow the command")]
    Follow(#[source] std::io::Error),
    /// A code other than 0, where the task asked that this be a failure.
    #[error("exited with code {code}{}", tail(stderr))]
    Nonzero {
        /// 1 to 255.
        code: i32,
        /// What it said.
        stderr: String,
    },
    /// It did not end by itself.
    #[error("killed by signal {signal}{}", tail(stderr))]
    Killed {
        /// Its number.
        signal: i32,
        /// What it said.
        stderr: String,
    },
    /// It took too long, and was killed.
    #[error("took longer than {} s, and was killed", limit.as_secs_f64())]
    TimedOut {
        /// The most that it might take.
        limit: Duration,
    },
    /// The attempt was told to stop.
    #[error("stopped, and killed")]
    Stopped,
}

/// Commands, within the settings.
#[derive(Debug)]
pub(crate) struct Commands {
    settings: Settings,
}

/// How much of what a program said goes into an error.
const TAIL_BYTES: usize = 1024;

impl Job for CommandRun {
    const KIND: &'static str = "command.run";
}

pub(crate) async fn handle(
    job: CommandRun,
    context: Context,
    State(commands): State<Arc<Commands>>,
) -> Result<Ran, Failure> {
    commands.run(job, context.timeout(), context.cancelled()).await.map_err(failure)
}

// === impl Commands ===

impl Commands {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings }
    }

    async fn run(
        &self,
        job: CommandRun,
        attempt_timeout: Duration,
        stopped: impl Future<Output = ()>,
    ) -> Result<Ran, Error> {
        let limit = time_limit(job.timeout_seconds, attempt_timeout, attempt_timeout)?;
        let Some((program, arguments)) = job.argv.split_first() else {
            return Err(Invalid::new("argv", "is empty: expected the program and its arguments").into());
        };
        let allow = &self.settings.allow;
        if !allow.is_empty() && !allow.contains(program) {
            return Err(Error::NotAllowed { program: program.clone() });
        }
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env_clear();
        for name in &self.settings.environment {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        for (name, value) in &job.env {
            if !self.settings.task_environment.contains(name) {
                let reason = format!("`{name}` is not in worker.command.task_environment");
                return Err(Invalid::new("env", reason).into());
            }
            command.env(name, value);
        }
        if let Some(cwd) = &job.cwd {
            // The system has one error for a missing program and a missing folder.
            if !tokio::fs::metadata(cwd).await.is_ok_and(|metadata| metadata.is_dir()) {
                return Err(Invalid::new("cwd", format!("{} is not a folder here", cwd.display())).into());
            }
            command.current_dir(cwd);
        }
        let group = group::Group::spawn(command)
            .map_err(|source| Error::Start { program: program.clone(), source })?;
        let ran = execute::execute(group, &self.settings, limit, stopped).await?;
        if job.fail_on_nonzero && ran.exit_code != 0 {
            return Err(Error::Nonzero { code: ran.exit_code, stderr: ran.stderr });
        }
        Ok(ran)
    }
}

/// The end of what a program said, after a colon.
fn tail(stderr: &str) -> String {
    let said = stderr.trim();
    let from = said.len().saturating_sub(TAIL_BYTES);
    let from = (from..=said.len()).find(|at| said.is_char_boundary(*at)).unwrap_or(said.len());
    if said.is_empty() { String::new() } else { format!(": {}", &said[from..]) }
}

// === impl Error ===

impl Failing for Error {
    fn code(&self) -> String {
        let code = match self {
            Self::Invalid(invalid) => return invalid.code(),
            Self::NotAllowed { .. } => "not_allowed",
            Self::Start { .. } | Self::Follow(_) => "start",
            Self::Nonzero { .. } => "exit_code",
            Self::Killed { .. } => "signal",
            Self::TimedOut { .. } => "timeout",
            Self::Stopped => "stopped",
        };
        code.to_owned()
    }

    fn is_terminal(&self) -> bool {
        use std::io::ErrorKind as Kind;
        match self {
            Self::Invalid(_) | Self::NotAllowed { .. } => true,
            // Anything else, as a lack of memory or of processes, may pass.
            Self::Start { source, .. } => matches!(
                source.kind(),
                Kind::NotFound | Kind::PermissionDenied | Kind::InvalidInput | Kind::ArgumentListTooLong
            ),
            Self::Follow(_)
            | Self::Nonzero { .. }
            | Self::Killed { .. }
            | Self::TimedOut { .. }
            | Self::Stopped => false,
        }
    }
}
