//! `windlass run broker`: a nats-server that ends with whoever started it.
//!
//! The server does not watch its parent. This process stands between: it holds the read end of a pipe, and stops the
//! server when the other end is closed, also by the death of its holder.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use clap::Parser;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use windlass_broker::local::{CONFIG_FILE, Credentials, LocalServer, ServerOptions, write_config};

use super::data::file_error;
use super::{Error, STOP_WORD};

#[derive(Debug, Parser)]
#[command(name = "windlass run broker")]
struct Args {
    /// The nats-server
    #[arg(long)]
    program: PathBuf,
    /// Its folder
    #[arg(long)]
    data_dir: PathBuf,
    /// A configuration of its own, in place of the one with a user for each service
    #[arg(long)]
    config: Option<PathBuf>,
    /// The file of its users' passwords
    #[arg(long)]
    passwords: PathBuf,
    /// For clients, 0 for any
    #[arg(long)]
    port: u16,
    /// Gets the address for clients once it answers
    #[arg(long)]
    address_file: PathBuf,
    /// Handed to the server, one word; may be repeated
    #[arg(long, allow_hyphen_values = true)]
    argument: Vec<String>,
}

/// Who started us died without a word: its services drain now, and need the server for that.
const GRACE: Duration = Duration::from_secs(3);
const PREDECESSOR_TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// Runs until standard input ends, a signal, or the server's end.
pub(crate) async fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(std::iter::once("broker".into()).chain(arguments)) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    match supervise(args).await {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{:#}", anyhow::Error::new(error));
            ExitCode::FAILURE
        }
    }
}

async fn supervise(args: Args) -> Result<ExitCode, Error> {
    let start_error = |error: std::io::Error| Error::Start(error.into());
    // Before the server starts: from here on it does not outlive us.
    let mut terminate = signal(SignalKind::terminate()).map_err(start_error)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(start_error)?;
    let mut stdin = watch_stdin().map_err(start_error)?;
    let mut server = tokio::select! {
        server = start(&args) => server?,
        // It is killed while it starts.
        _ = &mut stdin => return Ok(ExitCode::SUCCESS),
        _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
        _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
    };
    write_whole(&args.address_file, server.client_url())?;
    let word = tokio::select! {
        status = server.wait() => {
            let _ = writeln!(std::io::stderr(), "nats-server ended by itself with {}", status?);
            return Ok(ExitCode::FAILURE);
        }
        word = stdin => word.unwrap_or_default(),
        _ = terminate.recv() => STOP_WORD.to_vec(),
        _ = interrupt.recv() => STOP_WORD.to_vec(),
    };
    if word != STOP_WORD {
        sleep(GRACE).await;
    }
    server.stop().await?;
    Ok(ExitCode::SUCCESS)
}

async fn start(args: &Args) -> Result<LocalServer, Error> {
    end_predecessor(args).await?;
    Ok(LocalServer::start(options(args)?).await?)
}

/// Two servers on one store would ruin it. One is left where its supervisor was killed.
async fn end_predecessor(args: &Args) -> Result<(), Error> {
    let Some(pid) =
        std::fs::read_to_string(pid_file(args)).ok().and_then(|text| text.trim().parse::<u32>().ok())
    else {
        return Ok(());
    };
    let is_alive = || {
        // Ids are used again: it is ours only if it was started on our folder.
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let store = args.data_dir.as_os_str().as_encoded_bytes();
        arguments.split(|byte| *byte == 0).any(|argument| argument == store)
    };
    if !is_alive() {
        return Ok(());
    }
    let _ = writeln!(std::io::stderr(), "stopping the server of the run before, process {pid}");
    let mut signal = Command::new(&args.program);
    signal.args(["--signal", &format!("term={pid}")]).stdin(Stdio::null()).kill_on_drop(true);
    let stopped = timeout(PREDECESSOR_TIMEOUT, async {
        signal.status().await.map_err(|error| Error::Start(error.into()))?;
        while is_alive() {
            sleep(POLL).await;
        }
        Ok(())
    });
    let seconds = PREDECESSOR_TIMEOUT.as_secs();
    let late = || format!("the server of the run before, process {pid}, does not stop within {seconds} s");
    stopped.await.unwrap_or_else(|_| Err(Error::Start(late().into())))
}

fn pid_file(args: &Args) -> PathBuf {
    args.data_dir.join("nats-server.pid")
}

fn options(args: &Args) -> Result<ServerOptions, Error> {
    std::fs::create_dir_all(&args.data_dir).map_err(file_error("create", &args.data_dir))?;
    let (config, env) = if let Some(config) = &args.config {
        (config.clone(), Vec::new())
    } else {
        let config = write_config(&args.data_dir, CONFIG_FILE)?;
        (config, Credentials::load_or_create(&args.passwords)?.env())
    };
    let pid = ["--pid".to_owned(), pid_file(args).to_string_lossy().into_owned()];
    Ok(ServerOptions {
        port: (args.port != 0).then_some(args.port),
        config: Some(config),
        env,
        args: pid.into_iter().chain(args.argument.iter().cloned()).collect(),
        ..ServerOptions::new(&args.program, &args.data_dir)
    })
}

/// Whoever waits for the file never reads a part of it.
fn write_whole(path: &Path, text: &str) -> Result<(), Error> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let written = std::fs::write(&partial, text).and_then(|()| std::fs::rename(&partial, path));
    written.map_err(file_error("write", path))
}

/// What was said until the end. A plain thread: a runtime would wait at its end for a read that never returns.
fn watch_stdin() -> std::io::Result<oneshot::Receiver<Vec<u8>>> {
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut said = Vec::new();
        // A word, no more: whoever says more says nothing that we know.
        let mut stdin = std::io::stdin().lock();
        if let Ok(read) = stdin.by_ref().take(64).read_to_end(&mut said)
            && read == 64
        {
            let _ = std::io::copy(&mut stdin, &mut std::io::sink());
        }
        let _ = ended.send(said);
    })?;
    Ok(end)
}
