//! The HTTP endpoint of this process: bound first, on a thread and a runtime of its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::config::Http;
use crate::health::Health;
use crate::http::{Routes, serve};

/// A running endpoint. Dropping it stops it without waiting.
#[derive(Debug)]
pub(crate) struct Endpoint {
    address: SocketAddr,
    address_file: Option<PathBuf>,
    stop: CancellationToken,
    stopped: oneshot::Receiver<()>,
}

// === impl Endpoint ===

impl Endpoint {
    /// Binds, serves, and then writes the bound address where it is wished.
    pub(crate) fn start(
        http: &Http,
        health: Health,
        metrics: PrometheusHandle,
        routes: Routes,
    ) -> Result<Self, Error> {
        let listen = http.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let bind = |source| Error::Bind { listen, source };
        let listener = TcpListener::bind(listen).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "other machines can reach the http endpoint, whose health and metrics ask nobody for a token");
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
        let stop = CancellationToken::new();
        let (ended, stopped) = oneshot::channel();
        let token = stop.clone();
        let serving = move || {
            runtime.block_on(async {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => serve(listener, health, metrics, routes, token.cancelled()).await,
                    Err(error) => tracing::error!(%error, "the http endpoint cannot listen"),
                }
            });
            let _ = ended.send(());
        };
        std::thread::Builder::new().name("http".to_owned()).spawn(serving).map_err(Error::Thread)?;
        if let Some(path) = &http.address_file {
            write_whole(path, &format!("{address}\n"))
                .map_err(|source| Error::AddressFile { path: path.clone(), source })?;
        }
        tracing::info!(%address, "http endpoint listens");
        Ok(Self { address, address_file: http.address_file.clone(), stop, stopped })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it; answers under way have a bounded time.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let _ = (&mut self.stopped).await;
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(path) = &self.address_file {
            // It may be gone already, and nobody is left to tell.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The endpoint cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The address is taken, or not ours.
    #[error("cannot listen on {listen} (http.listen)")]
    Bind { listen: SocketAddr, source: io::Error },
    /// No thread or runtime.
    #[error("cannot start the thread of the http endpoint")]
    Thread(#[source] io::Error),
    /// The address cannot be told.
    #[error("cannot write the bound address to {} (http.address_file)", path.display())]
    AddressFile { path: PathBuf, source: io::Error },
}

/// Whoever waits for the file never reads a part of it.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, text)?;
    std::fs::rename(&partial, path)
}
