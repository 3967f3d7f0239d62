//! Several servers that are one broker.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};
use windlass_broker::local::{EMPTY_CONFIG, LocalServer, ServerOptions, cluster, write_config};
use windlass_broker::provision::{Layout, desired};
use windlass_broker::{Broker, Options};

use crate::broker::{Client, Servers, program};

/// A cluster without users. It ends with the value, and its data with it.
pub struct Cluster {
    nodes: Vec<LocalServer>,
    _folder: TempDir,
}

/// For an election, after a start or a death.
const ELECTION: Duration = Duration::from_mins(1);
/// For one question: without a leader nobody answers, and the next one may.
const QUESTION: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(10);

// === impl Cluster ===

impl Cluster {
    /// Starts this many nodes and waits until they have elected a leader.
    pub async fn start(count: usize) -> Result<Self> {
        // Another process may take a port between its choice and its use.
        let mut failure = None;
        for _ in 0..3 {
            match Self::try_start(count).await {
                Ok(cluster) => return Ok(cluster),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.context("no attempt was made")?)
    }

    async fn try_start(count: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let program = program().await?;
        let config = write_config(folder.path(), EMPTY_CONFIG)?;
        let starts = cluster::arguments(count)?.into_iter().enumerate().map(|(i, args)| {
            let options = ServerOptions::new(&program, folder.path().join(format!("n{i}")));
            LocalServer::start(ServerOptions { args, config: Some(config.clone()), ..options })
        });
        let nodes = futures::future::try_join_all(starts).await?;
        let cluster = Self { nodes, _folder: folder };
        cluster::formed(&cluster.connect("test").await?, count).await?;
        Ok(cluster)
    }

    /// All nodes, with commas between them.
    pub fn url(&self) -> String {
        self.nodes.iter().map(LocalServer::client_url).collect::<Vec<_>>().join(",")
    }

    /// How to connect.
    pub fn options(&self, client_name: &str) -> Options {
        Options { client_name: client_name.to_owned(), ..Options::new(self.url()) }
    }

    /// A connection.
    pub async fn connect(&self, client_name: &str) -> Result<Broker> {
        Ok(Broker::connect(self.options(client_name)).await?)
    }

    /// A bare connection.
    pub async fn client(&self) -> Result<Client> {
        Client::connect(self.options("test")).await
    }

    /// Makes the streams of this layout, and returns the connection that did.
    pub async fn provision(&self, layout: &Layout) -> Result<Broker> {
        let broker = self.connect("provision").await?;
        cluster::provision(&broker, &desired(broker.names(), layout)).await?;
        Ok(broker)
    }

    /// One node.
    pub fn node(&mut self, index: usize) -> &mut LocalServer {
        &mut self.nodes[index]
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// SIGKILL to one node, and waits until it is gone.
    pub async fn kill9(&mut self, index: usize) -> Result<()> {
        Ok(self.nodes[index].kill9().await?)
    }

    /// Starts a node again on its store and ports, killing it first if it runs.
    pub async fn restart(&mut self, index: usize) -> Result<()> {
        Ok(self.nodes[index].restart().await?)
    }

    /// The node that leads a stream, waiting for an election to end.
    pub async fn leader(&self, client: &Client, stream: &str) -> Result<usize> {
        let deadline = Instant::now() + ELECTION;
        while Instant::now() < deadline {
            let (call, all) = (format!("STREAM.INFO.{stream}"), json!({}));
            let info = match timeout(QUESTION, client.api(&call, &all)).await {
                Ok(Ok(info)) => info,
                Ok(Err(_)) | Err(_) => Value::Null,
            };
            ensure!(info["error"]["err_code"] != 10_059, "there is no stream {stream}");
            let leader = info["cluster"]["leader"].as_str().and_then(|name| name.strip_prefix('n'));
            if let Some(index) = leader.and_then(|index| index.parse().ok()) {
                return Ok(index);
            }
            sleep(POLL).await;
        }
        bail!("stream {stream} had no leader for {ELECTION:?}")
    }
}

impl Servers for Cluster {
    fn options(&self, user: &str) -> Options {
        self.options(user)
    }
}
