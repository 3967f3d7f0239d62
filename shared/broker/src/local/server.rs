//! One server process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::{Error, file_error};

/// How to start it. JetStream is on, and it listens on loopback only.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The program.
    pub program: PathBuf,
    /// Its folder: the store, its log, and the file of its ports.
    pub data_dir: PathBuf,
    /// For clients; none: any free one.
    pub port: Option<u16>,
    /// A configuration. It may name neither a store nor a port.
    pub config: Option<PathBuf>,
    /// Environment that the configuration refers to.
    pub env: Vec<(String, String)>,
    /// More arguments.
    pub args: Vec<String>,
    /// For it to answer; an old store takes a while to read.
    pub ready_timeout: Duration,
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct LocalServer {
    options: ServerOptions,
    child: Child,
    ports: Ports,
}

#[derive(Debug, Clone, serde::Deserialize)]
struct Ports {
    nats: Vec<String>,
    #[serde(default)]
    monitoring: Vec<String>,
}

const POLL: Duration = Duration::from_millis(5);
/// Of a graceful stop; then it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

// === impl ServerOptions ===

impl ServerOptions {
    /// A server without users on any free port.
    pub fn new(program: impl Into<PathBuf>, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            data_dir: data_dir.into(),
            port: None,
            config: None,
            env: Vec::new(),
            args: Vec::new(),
            ready_timeout: Duration::from_mins(1),
        }
    }
}

// === impl LocalServer ===

impl LocalServer {
    /// Starts it and waits until it answers.
    pub async fn start(options: ServerOptions) -> Result<Self, Error> {
        std::fs::create_dir_all(&options.data_dir).map_err(file_error("create", &options.data_dir))?;
        let (child, ports) = launch(&options).await?;
        Ok(Self { options, child, ports })
    }

    /// As `nats://127.0.0.1:4222`.
    pub fn client_url(&self) -> &str {
        self.ports.nats.first().map_or("", String::as_str)
    }

    /// Of the HTTP monitoring, where it was asked for (`-m -1`).
    pub fn monitoring_url(&self) -> Option<&str> {
        self.ports.monitoring.first().map(String::as_str)
    }

    /// The port for clients.
    pub fn port(&self) -> u16 {
        port_of(self.client_url()).unwrap_or_default()
    }

    /// Of the process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Where it writes its log.
    pub fn log_path(&self) -> PathBuf {
        log_path(&self.options.data_dir)
    }

    /// Waits until the process ends.
    pub async fn wait(&mut self) -> Result<ExitStatus, Error> {
        self.child.wait().await.map_err(|source| Error::Process { action: "wait for", source })
    }

    /// SIGKILL, and waits until it is gone. Nothing happens if it is.
    pub async fn kill9(&mut self) -> Result<(), Error> {
        self.child.kill().await.map_err(|source| Error::Process { action: "kill", source })
    }

    /// Asks it to end, and kills it if it does not within ten seconds.
    pub async fn stop(&mut self) -> Result<(), Error> {
        let Some(pid) = self.child.id() else { return Ok(()) };
        // The server sends signals to its like, which spares us unsafe code or another dependency.
        let mut signal = Command::new(&self.options.program);
        signal.args(["--signal", &format!("term={pid}")]);
        signal.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let stopped = timeout(STOP_TIMEOUT, async {
            signal.status().await.map_err(|source| Error::Process { action: "signal", source })?;
            self.wait().await
        })
        .await;
        match stopped {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => self.kill9().await,
        }
    }

    /// Starts it again, on the same store and port, killing it first if it runs.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.kill9().await?;
        self.options.port = Some(self.port());
        (self.child, self.ports) = launch(&self.options).await?;
        Ok(())
    }
}

/// Starts a process and waits until it answers.
async fn launch(options: &ServerOptions) -> Result<(Child, Ports), Error> {
    let data_dir = &options.data_dir;
    let log_file = log_path(data_dir);
    let log =
        File::options().create(true).append(true).open(&log_file).map_err(file_error("open", &log_file))?;
    let mut command = Command::new(&options.program);
    if let Some(config) = &options.config {
        command.arg("--config").arg(config);
    }
    command
        .args(["--addr", "127.0.0.1", "--port"])
        .arg(options.port.map_or_else(|| "-1".to_owned(), |port| port.to_string()))
        .arg("--jetstream")
        .arg("--store_dir")
        .arg(data_dir.join("store"))
        .arg("--ports_file_dir")
        .arg(data_dir)
        .arg("--log")
        .arg(&log_file)
        .args(&options.args)
        .envs(options.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // What is wrong with the configuration is said before the log is opened.
        .stderr(log)
        // Ctrl-C at a terminal is for us: the services drain while their broker still runs.
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|source| Error::Process { action: "start", source })?;
    let program = options.program.file_name().unwrap_or_default().to_string_lossy();
    let ports_file = data_dir.join(format!("{program}_{}.ports", child.id().unwrap_or_default()));
    let deadline = Instant::now() + options.ready_timeout;
    tokio::select! {
        biased;
        status = child.wait() => {
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            return Err(Error::Exited { status, log_tail: tail(&log_file) });
        }
        ports = ready(&ports_file, deadline) => {
            if let Some(ports) = ports {
                // Written anew by each process; a stale one must not mislead the next.
                let _ = std::fs::remove_file(&ports_file);
                return Ok((child, ports));
            }
        }
    }
    let _ = child.kill().await;
    Err(Error::NotReady { seconds: options.ready_timeout.as_secs(), log_tail: tail(&log_file) })
}

/// The ports, once the server greets a client there.
async fn ready(ports_file: &Path, deadline: Instant) -> Option<Ports> {
    while Instant::now() < deadline {
        // The file may be there and not whole yet.
        let ports =
            std::fs::read(ports_file).ok().and_then(|text| serde_json::from_slice::<Ports>(&text).ok());
        if let Some(ports) = ports
            && let Some(port) = ports.nats.first().and_then(|url| port_of(url))
            && timeout(Duration::from_secs(2), greets(port)).await.unwrap_or(false)
        {
            return Some(ports);
        }
        sleep(POLL).await;
    }
    None
}

async fn greets(port: u16) -> bool {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)).await else { return false };
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.is_ok() && line.starts_with("INFO ")
}

fn port_of(url: &str) -> Option<u16> {
    url.rsplit(':').next()?.parse().ok()
}

fn log_path(data_dir: &Path) -> PathBuf {
    data_dir.join("nats-server.log")
}

/// The last lines.
fn tail(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].iter().fold(String::new(), |all, line| all + line + "\n")
}
