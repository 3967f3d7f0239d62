//! Why nothing was measured.

use std::time::Duration;

use windlass_broker::connect;

use crate::dev;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// An option is not what it must be.
    #[error("--{option}: {reason}")]
    Usage {
        /// Which.
        option: &'static str,
        /// What it is, and what was expected.
        reason: String,
    },
    /// The fleet could not be started.
    #[error(transparent)]
    Fleet(#[from] dev::Error),
    /// The broker did not do it.
    #[error("the broker could not be {0}")]
    Broker(&'static str, #[source] connect::Error),
    /// The records of ends.
    #[error("the ends of the jobs cannot be read")]
    Records(#[source] windlass_broker::jobs::Error),
    /// A job was not accepted.
    #[error("a task was not accepted")]
    Submit(#[source] windlass::client::Error),
    /// Not all jobs ended.
    #[error("{ended} of {jobs} jobs had ended after {} s", waited.as_secs())]
    Unfinished {
        /// So many did.
        ended: u64,
        /// Of these.
        jobs: u64,
        /// For how long.
        waited: Duration,
    },
    /// Jobs ended in another way than they must.
    #[error("{count} of {jobs} jobs did not succeed, the first with: {first}")]
    Failed {
        /// So many.
        count: usize,
        /// Of these.
        jobs: u64,
        /// Its error.
        first: String,
    },
    /// What processes use.
    #[error("cannot read what process {pid} uses")]
    Usages {
        /// Which.
        pid: u32,
        /// Why.
        source: std::io::Error,
    },
    /// The result could not be printed.
    #[error("cannot print the result")]
    Print(#[source] std::io::Error),
    /// Ctrl-C.
    #[error("interrupted: nothing was measured")]
    Interrupted,
}

// === impl Error ===

impl Error {
    /// What the program exits with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => 2,
            Self::Fleet(error) => error.exit_code(),
            _ => 1,
        }
    }
}
