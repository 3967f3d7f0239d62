//! Why `windlass dev` does not start, or did not do what was asked.

use std::path::PathBuf;

use windlass_broker::{connect, local, provision};

/// Why `windlass dev` does not start, or did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Options that do not go together.
    #[error("{0}")]
    Usage(String),
    /// The environment or the file has a value that is wrong.
    #[error("the configuration is not valid\n{0}")]
    Configuration(windlass_service::Problems),
    /// The password file.
    #[error("the broker's credentials cannot be read")]
    Credentials(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Two would harm each other's data.
    #[error(
        "another `windlass dev` (process {pid}) runs with the data in {}: use it, stop it, or give this one another \
         folder with --data-dir", data_dir.display()
    )]
    RunsAlready {
        /// The folder.
        data_dir: PathBuf,
        /// Of the other.
        pid: String,
    },
    /// A port that was asked for.
    #[error("port {port} of this machine is taken: give another with {option}, or 0 for any that is free")]
    PortTaken {
        /// As `--http-port`.
        option: &'static str,
        /// Which.
        port: u16,
        /// Why.
        source: std::io::Error,
    },
    /// A file or folder.
    #[error("cannot {action} {}", path.display())]
    File {
        /// As `create`.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no broker.
    #[error(transparent)]
    Broker(#[from] local::Error),
    /// The broker does not let us in.
    #[error(transparent)]
    Connect(#[from] connect::Error),
    /// Streams could not be made.
    #[error("the broker's streams could not be made or changed")]
    Provision(#[from] provision::Error),
    /// A process cannot be started at all.
    #[error("cannot start {name}")]
    Spawn {
        /// As `worker-2`.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// It started and ended.
    #[error("{name} ended with {status} before it was ready; the end of {}:\n{log_tail}", log.display())]
    Ended {
        /// As `worker-2`.
        name: String,
        /// How.
        status: String,
        /// Its log.
        log: PathBuf,
        /// What it said last.
        log_tail: String,
    },
    /// It started and never said that it is ready.
    #[error("{name} was not ready within {seconds} s{cause}; the end of {}:\n{log_tail}", log.display())]
    NotReady {
        /// As `worker-2`.
        name: String,
        /// The bound.
        seconds: u64,
        /// What it waits for, if it says so.
        cause: String,
        /// Its log.
        log: PathBuf,
        /// What it said last.
        log_tail: String,
    },
    /// Signals cannot be listened for, or there is no HTTP client.
    #[error("cannot start")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Of the demonstration.
    #[error(transparent)]
    Demo(#[from] super::demo::Error),
}

// === impl Error ===

impl Error {
    /// What the program exits with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_)
            | Self::Configuration(_)
            | Self::PortTaken { .. }
            | Self::Demo(super::demo::Error::Folder { .. }) => 2,
            _ => 1,
        }
    }
}
