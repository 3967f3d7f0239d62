//! Why nothing was measured.

use std::path::PathBuf;
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
    #[error("{ended} of {jobs} jobs have ended, and no other did for {} s", waited.as_secs())]
    Unfinished {
        /// So many did.
        ended: u64,
        /// Of these.
        jobs: u64,
        /// For how long.
        waited: Duration,
    },
    /// Records went away before they were read.
    #[error(
        "{read} records of {jobs} ends were there to be read: expected a longer --outcome-ttl, or fewer --jobs"
    )]
    Expired {
        /// So many were read.
        read: u64,
        /// Of these.
        jobs: u64,
    },
    /// Jobs did not get where they should be.
    #[error("{found} of {jobs} jobs {what}, and no other for {} s", waited.as_secs())]
    Stalled {
        /// What they should do.
        what: &'static str,
        /// So many do.
        found: u64,
        /// Of these.
        jobs: u64,
        /// For how long.
        waited: Duration,
    },
    /// The workers' bucket.
    #[error("it cannot be read what the workers do")]
    Workers(#[source] windlass_broker::kv::Error),
    /// The schedules' bucket.
    #[error("the schedules cannot be stored")]
    Schedules(#[source] windlass_broker::kv::Error),
    /// Streams are left on a broker that is not ours.
    #[error("the streams of the measurement could not be removed from the broker")]
    NotRemoved(#[source] windlass_broker::provision::Error),
    /// No plot.
    #[error("cannot write the plot {}", path.display())]
    Plot {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
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

/// Something that a fleet needs is not there.
pub(super) fn start_error(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Fleet(dev::Error::Start(error))
}
