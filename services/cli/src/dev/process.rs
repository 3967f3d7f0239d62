//! One process of the fleet: started, watched, started again when it dies, stopped.
//!
//! A child ends when its standard input does. So it drains when we close the pipe, and also when we are killed; and
//! no signal has to be sent.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::data::file_error;
use super::screen::Screen;
use super::{Error, STOP_WORD};

/// How to start a process, and how to see that it is ready.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    /// As `worker-2`.
    pub(super) name: String,
    /// None: this one.
    pub(super) program: Option<PathBuf>,
    /// What follows the program's name.
    pub(super) arguments: Vec<OsString>,
    /// What follows that, at the first start.
    pub(super) at_first: Vec<OsString>,
    /// What stands there instead at later ones, given the first one's address: others may know it by now.
    pub(super) again: fn(&str) -> Vec<OsString>,
    /// Environment that it does not inherit.
    pub(super) without: Vec<OsString>,
    /// Environment that it gets.
    pub(super) environment: Vec<(OsString, OsString)>,
    /// Where it writes its address.
    pub(super) address_file: PathBuf,
    /// Where its output goes.
    pub(super) log: PathBuf,
    /// Whether its address is that of an HTTP endpoint with `/readyz`; otherwise it is ready once it has one.
    pub(super) has_readyz: bool,
    /// How long it may take to drain. Then it is killed, unless it has something to stop itself.
    pub(super) stop_timeout: Duration,
    /// Whether it may be killed.
    pub(super) may_be_killed: bool,
}

/// A process that is kept running.
#[derive(Debug)]
pub(super) struct Process {
    stop: CancellationToken,
    kill: CancellationToken,
    ready: oneshot::Receiver<Result<String, Error>>,
    name: String,
    /// Of the process that was started last; 0 before the first.
    pid: Arc<AtomicU32>,
    /// Whether it stopped in time and by itself.
    task: AbortOnDropHandle<bool>,
}

/// For a process to be ready.
const READY_TIMEOUT: Duration = Duration::from_mins(1);
/// Between two looks for the file of its address.
const POLL: Duration = Duration::from_millis(20);
/// One question to `/readyz`.
const READYZ_WAIT: Duration = Duration::from_secs(5);
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// Who has run for so long has not failed at its start.
const SETTLED: Duration = Duration::from_mins(1);
/// Between two signals to one process.
const SIGNAL_PAUSE: Duration = Duration::from_millis(100);
const INSIST_TIMEOUT: Duration = Duration::from_secs(2);
const LOG_TAIL_LINES: usize = 12;
const LOG_TAIL_BYTES: u64 = 16 * 1024;

/// A child, and what keeps it alive. They are apart because waiting for a child closes its standard input.
struct Started {
    child: Child,
    stdin: Option<ChildStdin>,
}

// === impl Process ===

impl Process {
    /// Starts it, and again whenever it ends after it was ready.
    pub(super) fn start(unit: Unit, screen: &Screen) -> Result<Self, Error> {
        let http = client().map_err(|error| Error::Start(error.into()))?;
        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let (sender, ready) = oneshot::channel();
        let (name, pid) = (unit.name.clone(), Arc::new(AtomicU32::new(0)));
        let keeper = Keeper {
            unit,
            screen: screen.clone(),
            http,
            pid: Arc::clone(&pid),
            stop: stop.clone(),
            kill: kill.clone(),
        };
        let task = AbortOnDropHandle::new(tokio::spawn(keeper.run(sender)));
        Ok(Self { stop, kill, ready, name, pid, task })
    }

    /// Waits once until it is ready; returns its address.
    pub(super) async fn ready(&mut self) -> Result<String, Error> {
        let gone = || Error::Start("its supervisor ended".into());
        (&mut self.ready).await.unwrap_or_else(|_| Err(gone()))
    }

    /// As `worker-2`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Of the process that was started last.
    pub(super) fn pid(&self) -> Option<u32> {
        Some(self.pid.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }

    /// Asks it to drain.
    pub(super) fn ask_to_stop(&self) {
        self.stop.cancel();
    }

    /// SIGKILL; it does not come again.
    pub(super) fn kill9(self) {
        if let Some(pid) = self.pid().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            // It may have ended since; nobody else has its id before its keeper has waited for it.
            let _ = kill_process(pid, Signal::KILL);
        }
        // Its keeper goes with it.
    }

    /// What ends the wait for its drain when told.
    pub(super) fn killer(&self) -> impl Fn() + use<> {
        let kill = self.kill.clone();
        move || kill.cancel()
    }

    /// Waits until it is gone. Returns whether it stopped in time and by itself.
    pub(super) async fn stopped(&mut self) -> bool {
        (&mut self.task).await.unwrap_or(false)
    }
}

/// What keeps a process running.
struct Keeper {
    unit: Unit,
    screen: Screen,
    http: reqwest::Client,
    pid: Arc<AtomicU32>,
    stop: CancellationToken,
    kill: CancellationToken,
}

// === impl Keeper ===

impl Keeper {
    async fn run(self, first: oneshot::Sender<Result<String, Error>>) -> bool {
        let mut started = match self.spawn(None) {
            Ok(started) => started,
            Err(error) => {
                let _ = first.send(Err(error));
                return false;
            }
        };
        let Some(ready) = self.stop.run_until_cancelled(self.ready(&mut started.child)).await else {
            return self.end(started).await;
        };
        let address = match ready {
            Ok(address) => address,
            Err(error) => {
                let _ = first.send(Err(error));
                self.end(started).await;
                return false;
            }
        };
        let _ = first.send(Ok(address.clone()));
        let mut delay = FIRST_DELAY;
        loop {
            let since = Instant::now();
            let Some(status) = self.stop.run_until_cancelled(started.child.wait()).await else {
                return self.end(started).await;
            };
            if since.elapsed() > SETTLED {
                delay = FIRST_DELAY;
            }
            started = loop {
                let name = &self.unit.name;
                let (how, seconds) = (describe(status.as_ref().ok()), delay.as_secs_f64());
                self.screen.notice(&format!("{name} ended with {how}: it starts again in {seconds} s"));
                if self.stop.run_until_cancelled(sleep(delay)).await.is_none() {
                    return true;
                }
                delay = (delay * 2).min(LONGEST_DELAY);
                match self.spawn(Some(&address)) {
                    Ok(started) => break started,
                    Err(error) => self.screen.notice(&format!("{:#}", anyhow::Error::new(error))),
                }
            };
        }
    }

    fn spawn(&self, address: Option<&str>) -> Result<Started, Error> {
        let unit = &self.unit;
        let spawn_error = |source| Error::Spawn { name: unit.name.clone(), source };
        let log = File::options().create(true).append(true).open(&unit.log);
        let log = log.map_err(file_error("open", &unit.log))?;
        let output = log.try_clone().map_err(file_error("open", &unit.log))?;
        let program = unit.program.clone().map_or_else(std::env::current_exe, Ok).map_err(spawn_error)?;
        let mut command = Command::new(program);
        command.args(&unit.arguments);
        command.args(address.map_or_else(|| unit.at_first.clone(), unit.again));
        for name in &unit.without {
            command.env_remove(name);
        }
        let mut child = command
            .envs(unit.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(log)
            // Ctrl-C at a terminal is for us: services drain while their broker still runs.
            .process_group(0)
            .kill_on_drop(unit.may_be_killed)
            .spawn()
            .map_err(spawn_error)?;
        self.pid.store(child.id().unwrap_or_default(), Ordering::Relaxed);
        Ok(Started { stdin: child.stdin.take(), child })
    }

    /// Waits until it is ready, or gone, or late.
    async fn ready(&self, child: &mut Child) -> Result<String, Error> {
        let mut cause = String::new();
        let answered = tokio::select! {
            status = child.wait() => return Err(self.ended(status.ok())),
            answered = timeout(READY_TIMEOUT, self.probe(&mut cause)) => answered,
        };
        answered.map_err(|_| Error::NotReady {
            name: self.unit.name.clone(),
            seconds: READY_TIMEOUT.as_secs(),
            cause: if cause.is_empty() { cause } else { format!(" ({cause})") },
            log: self.unit.log.clone(),
            log_tail: tail(&self.unit.log),
        })
    }

    async fn probe(&self, cause: &mut String) -> String {
        let address = loop {
            match std::fs::read_to_string(&self.unit.address_file) {
                Ok(text) if !text.trim().is_empty() => break text.trim().to_owned(),
                // Not there yet; if it never comes, the time limit says so.
                _ => sleep(POLL).await,
            }
        };
        if !self.unit.has_readyz {
            return address;
        }
        let url = format!("http://{address}/readyz?wait={}s", READYZ_WAIT.as_secs());
        loop {
            match self.http.get(&url).send().await {
                Ok(answer) if answer.status().is_success() => return address,
                Ok(answer) => {
                    let body = answer.json().await.unwrap_or_default();
                    *cause = causes(&body);
                    self.screen.busy(&format!("{}: {cause}", self.unit.name));
                }
                Err(error) => *cause = error.to_string(),
            }
            // An endpoint that stops answers at once.
            sleep(POLL).await;
        }
    }

    fn ended(&self, status: Option<ExitStatus>) -> Error {
        Error::Ended {
            name: self.unit.name.clone(),
            status: describe(status.as_ref()),
            log: self.unit.log.clone(),
            log_tail: tail(&self.unit.log),
        }
    }

    /// Asks it to drain, and kills it if it takes too long. Returns whether it ended in time and by itself.
    async fn end(&self, Started { mut child, stdin }: Started) -> bool {
        if let Some(mut stdin) = stdin {
            // It may be gone already.
            let _ = stdin.write_all(STOP_WORD).await;
        }
        let kill = async {
            if self.unit.may_be_killed { self.kill.cancelled().await } else { std::future::pending().await }
        };
        tokio::select! {
            status = child.wait() => return status.is_ok_and(|status| status.success()),
            () = sleep(self.unit.stop_timeout) => {
                let seconds = self.unit.stop_timeout.as_secs();
                self.screen.notice(&format!("{} did not stop within {seconds} s", self.unit.name));
            }
            () = kill => {}
        }
        insist(&mut child).await;
        false
    }
}

/// Tells it to stop at once, which services obey at the second signal: so the commands of a worker's jobs end with
/// it. What does not obey is killed.
async fn insist(child: &mut Child) {
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let signalling = async {
        while let Some(pid) = pid {
            // It may have ended since; nobody else has its id before we have waited for it.
            let _ = kill_process(pid, Signal::TERM);
            sleep(SIGNAL_PAUSE).await;
        }
    };
    tokio::select! {
        _ = child.wait() => return,
        _ = timeout(INSIST_TIMEOUT, signalling) => {}
    }
    let _ = child.kill().await;
}

/// A client for this machine's own addresses: what proxies the environment names has no part in it.
pub(super) fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(Duration::from_secs(5))
        .timeout(READYZ_WAIT * 3)
        .build()
}

fn describe(status: Option<&ExitStatus>) -> String {
    status.map_or_else(|| "an unknown status".to_owned(), ToString::to_string)
}

/// What a service says is missing.
fn causes(readiness: &serde_json::Value) -> String {
    let conditions = readiness["conditions"].as_array().into_iter().flatten();
    let cause = |condition: &serde_json::Value| {
        let name = condition["name"].as_str()?;
        Some(format!("{name}: {}", condition["cause"].as_str()?))
    };
    conditions.filter_map(cause).collect::<Vec<_>>().join("; ")
}

/// The last lines.
fn tail(path: &Path) -> String {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let read = || {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told() {
        let readiness = serde_json::json!({"ready": false, "conditions": [
            {"name": "broker", "ready": true},
            {"name": "provisioned", "ready": false, "cause": "stream JOBS is missing"},
        ]});
        assert_eq!(causes(&readiness), "provisioned: stream JOBS is missing");
        assert_eq!(causes(&serde_json::Value::Null), "");
    }

    #[test]
    fn only_the_end_of_a_log_is_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines: Vec<String> = (0..5000).map(|n| format!("line {n}")).collect();
        std::fs::write(file.path(), lines.join("\n")).unwrap();
        assert_eq!(tail(file.path()), lines[5000 - LOG_TAIL_LINES..].join("\n"));
        assert_eq!(tail(Path::new("/nowhere")), "");
    }
}
