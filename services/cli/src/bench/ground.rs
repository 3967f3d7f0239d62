//! The broker that a measurement takes place on.

use std::path::PathBuf;

use windlass_broker::local::{self, Search, cluster};
use windlass_broker::provision::{Desired, apply};
use windlass_broker::{Broker, Names, Options};

use super::Error;
use super::error::start_error;
use super::running::Running;
use super::scene::Scene;
use super::settings::{Durability, Settings};
use crate::dev::data::DataDir;
use crate::dev::fleet::{Identity, Node};

/// A broker that runs.
#[derive(Debug)]
pub(super) struct Ground {
    /// How we reach it.
    pub(super) options: Options,
    /// How services do.
    pub(super) identity: Identity,
    /// Names and processes of the servers that are ours.
    pub(super) pids: Vec<(String, u32)>,
    /// What services read in their configuration beside the layout.
    pub(super) config: toml::Table,
    /// Whether streams have copies on several servers.
    replicated: bool,
}

/// Servers of a cluster.
const NODES: usize = 3;

// === impl Ground ===

impl Ground {
    /// The given broker, or one that is started as a part of the fleet.
    pub(super) async fn find(
        scene: &Scene,
        settings: &Settings,
        data: &DataDir,
        running: &mut Running,
    ) -> Result<Self, Error> {
        let replicated = settings.durability == Some(Durability::R3);
        if let Some(given) = &scene.given {
            return Ok(Self {
                replicated,
                options: given.options.clone(),
                identity: Identity::Ours(given.variables.clone()),
                pids: Vec::new(),
                config: given.config.clone(),
            });
        }
        let sync = if settings.durability == Some(Durability::Always) { "always" } else { "\"2m\"" };
        let config = format!("\njetstream {{\n  sync_interval: {sync}\n}}\n");
        let config =
            local::write_config(running.folder(), &config).map_err(|error| start_error(error.into()))?;
        let (search, progress) = (Search::from_env(), |what: &str| scene.screen.busy(what));
        let program = local::find(&search, &progress).await.map_err(|error| Error::Fleet(error.into()))?;
        let mut servers = vec![("broker".to_owned(), data.broker())];
        let url = if replicated {
            servers =
                (1..=NODES).map(|n| (format!("broker-{n}"), data.broker().join(n.to_string()))).collect();
            let arguments = cluster::arguments(NODES).map_err(|error| Error::Fleet(error.into()))?;
            let node = |((name, folder), arguments): (&(String, PathBuf), _)| Node {
                name: name.clone(),
                folder: folder.clone(),
                arguments,
            };
            let nodes = servers.iter().zip(arguments).map(node).collect();
            running.fleet.start_cluster(data, &scene.screen, &program, &config, nodes).await?
        } else {
            running.fleet.start_broker(data, &scene.screen, program, 0, Some(config)).await?
        };
        let pid = |(name, folder): (String, PathBuf)| {
            let text = std::fs::read_to_string(folder.join("nats-server.pid")).ok()?;
            Some((name, text.trim().parse().ok()?))
        };
        let options = Options { client_name: "windlass-bench".to_owned(), ..Options::new(&url) };
        Ok(Self {
            options,
            identity: Identity::Ours(vec![("WINDLASS__NATS__URL", url.into())]),
            pids: servers.into_iter().filter_map(pid).collect(),
            config: toml::Table::new(),
            replicated,
        })
    }

    /// Connects in this namespace and makes these streams there.
    pub(super) async fn provision(
        &self,
        scene: &Scene,
        names: Names,
        wanted: &Desired,
    ) -> Result<Broker, Error> {
        let options = Options { names, ..self.options.clone() };
        let broker = Broker::connect(options).await.map_err(|e| Error::Broker("reached", e))?;
        if let Some(given) = &scene.given {
            given.claim(&broker, wanted).await?;
        }
        if self.replicated && scene.given.is_none() {
            let formed = cluster::formed(&broker, NODES).await;
            formed.map_err(|error| Error::Fleet(error.into()))?;
        }
        let made = if self.replicated {
            cluster::provision(&broker, wanted).await
        } else {
            apply(&broker, wanted, false).await
        };
        made.map_err(|error| Error::Fleet(error.into()))?;
        Ok(broker)
    }
}
