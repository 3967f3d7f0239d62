//! A real broker for one test, alone on its ports and its folder.

mod client;

pub use client::Client;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use windlass_broker::local::{
    CONFIG_FILE, Credentials, EMPTY_CONFIG, LocalServer, Search, ServerOptions, find, write_config,
};
use windlass_broker::provision::{Layout, desired};
use windlass_broker::{Broker, Options, provision};

use crate::process::{Signal, signal};

/// What a fleet can run on: one server, or several that are one broker.
pub trait Servers {
    /// How a user connects; without users, how anybody does.
    fn options(&self, user: &str) -> Options;
}

/// One server. It ends with the value, and its data with it.
pub struct TestBroker {
    server: LocalServer,
    credentials: Option<Credentials>,
    folder: TempDir,
}

/// The program, found or installed once a process.
pub(crate) async fn program() -> Result<PathBuf> {
    static PROGRAM: OnceCell<PathBuf> = OnceCell::const_new();
    let found = PROGRAM.get_or_try_init(|| async {
        find(&Search::from_env(), &|what| eprintln!("{what}")).await.context("no nats-server for the tests")
    });
    found.await.cloned()
}

// === impl TestBroker ===

impl TestBroker {
    /// A server without users, and without streams.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = write_config(folder.path(), EMPTY_CONFIG)?;
        let options =
            ServerOptions { config: Some(config), ..ServerOptions::new(program().await?, folder.path()) };
        let server = LocalServer::start(options).await?;
        Ok(Self { server, credentials: None, folder })
    }

    /// A server with the users and rights of `deploy/nats/windlass.conf`, and without streams.
    pub async fn with_credentials() -> Result<Self> {
        Self::with_credentials_in(&std::env::temp_dir()).await
    }

    /// The same, with its folder within this one.
    pub async fn with_credentials_in(parent: &Path) -> Result<Self> {
        let folder = tempfile::tempdir_in(parent)?;
        let credentials = Credentials::generate();
        let options = ServerOptions {
            config: Some(write_config(folder.path(), CONFIG_FILE)?),
            env: credentials.env(),
            ..ServerOptions::new(program().await?, folder.path())
        };
        let server = LocalServer::start(options).await?;
        Ok(Self { server, credentials: Some(credentials), folder })
    }

    /// Makes the streams of this layout, and returns the connection that did.
    pub async fn provision(&self, layout: &Layout) -> Result<Broker> {
        let broker = self.connect("provision").await?;
        provision::apply(&broker, &desired(broker.names(), layout), false).await?;
        Ok(broker)
    }

    /// As `nats://127.0.0.1:4222`.
    pub fn url(&self) -> &str {
        self.server.client_url()
    }

    /// How a user of `windlass.conf` connects; without users, how anybody does.
    ///
    /// # Panics
    ///
    /// If there are users and this is none of them.
    pub fn options(&self, user: &str) -> Options {
        match &self.credentials {
            None => Options { client_name: user.to_owned(), ..Options::new(self.url()) },
            Some(credentials) => {
                credentials.options(self.url(), user).unwrap_or_else(|| panic!("there is no user `{user}`"))
            }
        }
    }

    /// A connection as this user.
    pub async fn connect(&self, user: &str) -> Result<Broker> {
        Ok(Broker::connect(self.options(user)).await?)
    }

    /// A bare connection as this user, for tests that look behind the product's back, or attack it.
    pub async fn client(&self, user: &str) -> Result<Client> {
        Client::connect(self.options(user)).await
    }

    /// The passwords, where there are users.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// The port for clients.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// The server's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The server itself, to kill, stop or restart.
    pub fn server(&mut self) -> &mut LocalServer {
        &mut self.server
    }

    /// Sends it a signal, as [`signal`] does.
    pub async fn signal(&self, which: Signal) -> Result<()> {
        signal(self.server.pid().context("the broker does not run")?, which).await
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill9(&mut self) -> Result<()> {
        Ok(self.server.kill9().await?)
    }

    /// Stops it in an orderly way, and waits until it is gone.
    pub async fn stop(&mut self) -> Result<()> {
        Ok(self.server.stop().await?)
    }

    /// Starts it again on its store and port, killing it first if it runs.
    pub async fn restart(&mut self) -> Result<()> {
        Ok(self.server.restart().await?)
    }
}

impl Servers for TestBroker {
    fn options(&self, user: &str) -> Options {
        self.options(user)
    }
}
