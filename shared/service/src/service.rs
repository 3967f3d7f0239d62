//! What a service is, and what it is given.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use windlass_broker::Broker;
use windlass_broker::provision::{Layout, Part};

use crate::codec::CodecSettings;
use crate::health::Health;
use crate::http::Routes;
use crate::problem::Validate;

/// A program of the fleet. [`main`](crate::main) makes one of it.
pub trait Service: 'static {
    /// Its name, as `dispatcher`: the section of its options, and part of the program's name.
    const NAME: &'static str;
    /// What it does, in one line, for `--help`.
    const ABOUT: &'static str;
    /// The port of its HTTP endpoint on 127.0.0.1 unless configured.
    const HTTP_PORT: u16;

    /// Its own section of the configuration: `#[serde(default, deny_unknown_fields)]`, so that every field may be
    /// left out and a misspelt one is an error.
    type Options: Serialize + DeserializeOwned + Default + Clone + Validate + Send + Sync;

    /// What it uses on the broker: made or checked before it runs.
    fn parts(options: &Self::Options, layout: &Layout) -> Vec<Part>;

    /// How long a lost connection is sought before it is replaced by a new one, which has nothing buffered; for ever,
    /// if none.
    fn give_up_after(_: &Layout) -> Option<Duration> {
        None
    }

    /// The metrics that it tells the fleet of with its presence; none: it says that it lives by other means.
    const TELLS: Option<&'static [&'static str]> = Some(&[]);

    /// Serves what needs no broker on this address, until [`Service::run`] serves its own. An error ends the process.
    fn serve_offline(
        _options: &Self::Options,
        _routes: &Routes,
        _listens: SocketAddr,
    ) -> impl Future<Output = anyhow::Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Runs until [`Context::stop`], then ends its work in flight and returns. An error or an early return ends the
    /// process. Called again, with a new broker, if the connection was closed for good.
    fn run(options: Self::Options, context: Context) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// What a running service is given.
#[derive(Debug, Clone)]
pub struct Context {
    /// Connected and provisioned.
    pub broker: Broker,
    /// The layout of the fleet.
    pub layout: Layout,
    /// How payloads and results are compressed and sealed; the default, but for services that have keys.
    pub codec: CodecSettings,
    /// Cancelled when the service must drain.
    pub stop: CancellationToken,
    /// How long it may take to drain.
    pub drain_timeout: Duration,
    /// Conditions and heartbeats; see also [`Context::ready`].
    pub health: Health,
    /// Adds routes to the HTTP endpoint.
    pub routes: Routes,
    /// Where the HTTP endpoint listens.
    pub http_address: SocketAddr,
    /// This process among all of the fleet, as `worker-host-4711-9f3c2a10`: letters, digits, `_` and `-`.
    pub instance: String,
}

/// How a service ended; its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Stopped as asked.
    Stopped = 0,
    /// Failed while running.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Stopped, but work in flight did not end in time.
    DrainTimedOut = 3,
}

/// The condition that the service itself sets.
pub(crate) const SERVICE: &str = "service";

// === impl Context ===

impl Context {
    /// Says that the service does its work; until then the process is not ready.
    pub fn ready(&self) {
        self.health.ready(SERVICE);
    }
}

// === impl Exit ===

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
