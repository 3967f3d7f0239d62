//! One program of the product, as a process of its own.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
pub use rustix::process::Signal;
use rustix::process::{Pid, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::programs::program;

/// How to start it.
#[derive(Debug, Clone)]
pub struct ProcessOptions {
    /// The program's name.
    pub program: String,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Added to the environment.
    pub env: Vec<(String, OsString)>,
    /// For its log.
    pub folder: PathBuf,
    /// Tells its files from others' in the folder.
    pub label: String,
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    options: ProcessOptions,
    child: Child,
    pid: u32,
}

/// For anything that a program should do soon.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

// === impl Process ===

impl Process {
    /// Starts a program; services also get an HTTP endpoint on any free port.
    pub async fn start(options: ProcessOptions) -> Result<Self> {
        let path = program(&options.program).await?;
        let log = File::options().create(true).append(true).open(log_file(&options))?;
        let address_file = address_file(&options);
        let _ = std::fs::remove_file(&address_file);
        let mut command = Command::new(path);
        command
            .args(&options.args)
            // What configures the machine's own fleet must not reach a test's.
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| {
                name.to_str().is_some_and(|n| !n.starts_with("WINDLASS") && !n.starts_with("OTEL_"))
            }))
            .env("WINDLASS__HTTP__LISTEN", "127.0.0.1:0")
            .env("WINDLASS__HTTP__ADDRESS_FILE", &address_file)
            .env("WINDLASS__LOG__FORMAT", "json")
            .envs(options.env.iter().map(|(k, v)| (k, v)))
            .current_dir(&options.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("{} cannot be started", options.program))?;
        let pid = child.id().context("the process has ended already")?;
        Ok(Self { options, child, pid })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where its HTTP endpoint listens, once it does.
    pub async fn http(&mut self) -> Result<String> {
        let file = address_file(&self.options);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match std::fs::read_to_string(&file) {
                Ok(address) if !address.trim().is_empty() => return Ok(format!("http://{}", address.trim())),
                _ => {}
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.options.label, self.log());
            }
            ensure!(Instant::now() < deadline, "{} does not listen:\n{}", self.options.label, self.log());
            sleep(POLL).await;
        }
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&mut self) -> Result<()> {
        let url = format!("{}/readyz?wait=60s", self.http().await?);
        let answer =
            reqwest::Client::new().get(url).timeout(PATIENCE + Duration::from_secs(5)).send().await?;
        let ready = answer.status().is_success();
        ensure!(ready, "{} is not ready: {}\n{}", self.options.label, answer.text().await?, self.log());
        Ok(())
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_file(&self.options)).unwrap_or_default()
    }

    /// Sends it a signal.
    pub async fn signal(&self, which: Signal) -> Result<()> {
        signal(self.pid, which).await.with_context(|| format!("{} cannot be signalled", self.options.label))
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill9(mut self) -> Result<()> {
        self.child.kill().await.context("the process cannot be killed")
    }

    /// SIGTERM, and how it ended.
    pub async fn stop(mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM).await?;
        self.ended().await
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("{} does not end:\n{}", self.options.label, self.log()),
        }
    }
}

/// Sends a child of this process a signal. After [`Signal::STOP`] it is stopped: by itself the call returns while the
/// child's threads may still run.
pub async fn signal(pid: u32, which: Signal) -> Result<()> {
    let target = Pid::from_raw(pid.cast_signed()).context("it is no process")?;
    kill_process(target, which).with_context(|| format!("process {pid} did not take {which:?}"))?;
    if which == Signal::STOP {
        // What ends it instead is left for its owner to read.
        let until = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        tokio::task::spawn_blocking(move || waitid(WaitId::Pid(target), until)).await??;
    }
    Ok(())
}

fn log_file(options: &ProcessOptions) -> PathBuf {
    options.folder.join(format!("{}.log", options.label))
}

fn address_file(options: &ProcessOptions) -> PathBuf {
    Path::new(&options.folder).join(format!("{}.address", options.label))
}
