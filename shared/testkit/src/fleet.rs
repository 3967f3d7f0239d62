//! A broker and services on it, each a process of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use windlass::Client;
use windlass_broker::Broker;
use windlass_broker::provision::Layout;
use windlass_core::{JobId, JobState, QueueName};

use crate::broker::{Servers, TestBroker};
use crate::cluster::Cluster;
use crate::process::{PATIENCE, Process, ProcessOptions};
use crate::programs::program;
use crate::tap::Tap;

/// A fleet of one test. Ends with the value.
pub struct Fleet<B = TestBroker> {
    /// Its broker, with users and rights where it is one server.
    pub broker: B,
    /// Its layout.
    pub layout: Layout,
    /// Publishes, reads and commands, as the operator.
    pub client: Client,
    /// The connection of that client.
    pub operator: Broker,
    /// Hears every event from now on.
    pub tap: Tap,
    /// For files of the test.
    pub folder: TempDir,
    processes: BTreeMap<String, Process>,
    env: Vec<(String, OsString)>,
}

// === impl Fleet ===

impl Fleet {
    /// A broker with streams, and no service yet. Leases are short, so that faults heal within the test.
    pub async fn start() -> Result<Self> {
        Self::start_with(Layout { ack_wait: Duration::from_secs(2), ..Layout::default() }).await
    }

    /// With a layout of the test's own.
    pub async fn start_with(layout: Layout) -> Result<Self> {
        let broker = TestBroker::with_credentials().await?;
        broker.provision(&layout).await?;
        Self::on(broker, layout).await
    }

    /// On a broker without users, as a first try at home has it.
    pub async fn without_users() -> Result<Self> {
        let (broker, layout) = (TestBroker::start().await?, Layout::default());
        broker.provision(&layout).await?;
        Self::on(broker, layout).await
    }

    /// One of each of dispatcher and worker, ready.
    pub async fn running() -> Result<Self> {
        let mut fleet = Self::start().await?;
        fleet.service("dispatcher").await?;
        fleet.service("worker").await?;
        Ok(fleet)
    }
}

impl Fleet<Cluster> {
    /// On three servers, with three copies of each stream, and no service yet. Leases are short here as well.
    pub async fn replicated() -> Result<Self> {
        let layout = Layout { replicas: 3, ack_wait: Duration::from_secs(2), ..Layout::default() };
        let cluster = Cluster::start(3).await?;
        cluster.provision(&layout).await?;
        Self::on(cluster, layout).await
    }
}

impl<B: Servers> Fleet<B> {
    /// On a broker that has its streams.
    pub async fn on(broker: B, layout: Layout) -> Result<Self> {
        let operator = Broker::connect(broker.options("operator")).await?;
        let client = Client::new(operator.clone());
        let tap = Tap::open(&broker).await?;
        let folder = tempfile::tempdir()?;
        let env = Vec::new();
        Ok(Self { broker, layout, client, operator, tap, folder, processes: BTreeMap::new(), env })
    }

    /// Adds to the environment of services that start from now on.
    pub fn set_env(&mut self, name: &str, value: impl Into<OsString>) {
        self.env.retain(|(n, _)| n != name);
        self.env.push((name.to_owned(), value.into()));
    }

    /// Starts a service by its name and waits until it is ready. A label is its name, or its name and a number, as
    /// `worker-2`.
    pub async fn service(&mut self, label: &str) -> Result<()> {
        self.spawn(label).await?;
        self.process(label)?.ready().await
    }

    /// Starts a service and does not wait.
    pub async fn spawn(&mut self, label: &str) -> Result<()> {
        let name = label.split('-').next().unwrap_or(label);
        self.spawn_program(label, &format!("windlass-{name}"), name, &[]).await
    }

    /// Starts any program as a user of the broker, with more environment than all have, and does not wait.
    pub async fn spawn_program(
        &mut self,
        label: &str,
        program: &str,
        user: &str,
        env: &[(String, OsString)],
    ) -> Result<()> {
        let options = ProcessOptions {
            program: program.to_owned(),
            args: Vec::new(),
            env: self.env_of(user).into_iter().chain(env.iter().cloned()).collect(),
            folder: self.folder.path().to_owned(),
            label: label.to_owned(),
        };
        let process = Process::start(options).await?;
        self.processes.insert(label.to_owned(), process);
        Ok(())
    }

    /// How a program of this user finds the fleet.
    fn env_of(&self, user: &str) -> Vec<(String, OsString)> {
        let options = self.broker.options(user);
        let mut env: Vec<(String, OsString)> = vec![
            ("WINDLASS__PROVISION".into(), "verify".into()),
            ("WINDLASS__NATS__URL".into(), options.url.clone().into()),
            ("WINDLASS__LAYOUT__REPLICAS".into(), self.layout.replicas.to_string().into()),
            ("WINDLASS__LAYOUT__ACK_WAIT".into(), humantime(self.layout.ack_wait).into()),
            ("WINDLASS__LAYOUT__HORIZON".into(), humantime(self.layout.horizon).into()),
            ("WINDLASS__LAYOUT__MAX_ACK_PENDING".into(), self.layout.max_ack_pending.to_string().into()),
        ];
        if let windlass::Auth::UserPassword { user, password } = &options.auth {
            env.push(("WINDLASS__NATS__USER".into(), user.into()));
            env.push(("WINDLASS__NATS__PASSWORD".into(), password.reveal().into()));
        }
        if let Some(prefix) = &options.inbox_prefix {
            env.push(("WINDLASS__NATS__INBOX_PREFIX".into(), prefix.into()));
        }
        if let Some(prefix) = &options.api_prefix {
            env.push(("WINDLASS__NATS__API_PREFIX".into(), prefix.into()));
        }
        env.extend(self.env.iter().cloned());
        env
    }

    /// The program `windlass` as the operator runs it, to be started.
    pub async fn command(&self, args: &[&str]) -> Result<tokio::process::Command> {
        let mut command = tokio::process::Command::new(program("windlass").await?);
        command
            .args(args)
            .env_clear()
            .envs(std::env::vars_os().filter(|(n, _)| n == "PATH" || n == "HOME"))
            .envs(self.env_of("operator"))
            // No fleet of this machine's user is meant.
            .env("WINDLASS_DATA_DIR", self.folder.path())
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        Ok(command)
    }

    /// Runs the program `windlass` as the operator; its output, or an error with what it complained of.
    pub async fn cli(&self, args: &[&str]) -> Result<String> {
        let mut command = self.command(args).await?;
        let output = tokio::time::timeout(PATIENCE * 2, command.output()).await??;
        let complaint = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "{args:?} ended with {}: {complaint}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    /// A running service.
    pub fn process(&mut self, label: &str) -> Result<&mut Process> {
        self.processes.get_mut(label).with_context(|| format!("{label} does not run"))
    }

    /// The labels of what was started and not taken out.
    pub fn labels(&self) -> Vec<String> {
        self.processes.keys().cloned().collect()
    }

    /// Takes a running service out, to kill or stop it.
    pub fn take(&mut self, label: &str) -> Result<Process> {
        self.processes.remove(label).with_context(|| format!("{label} does not run"))
    }

    /// SIGKILL.
    pub async fn kill9(&mut self, label: &str) -> Result<()> {
        self.take(label)?.kill9().await
    }

    /// Waits for a job of the default queue to end.
    pub async fn ended(&self, id: JobId) -> Result<windlass::client::Ended> {
        Ok(self.client.wait(&QueueName::default(), id, PATIENCE).await?)
    }

    /// Waits for a job of the default queue to end well, and reads its result.
    pub async fn result(&self, id: JobId) -> Result<serde_json::Value> {
        let ended = self.ended(id).await?;
        anyhow::ensure!(
            ended.state == JobState::Succeeded,
            "{id} ended as {}: {:?}",
            ended.state,
            ended.error
        );
        Ok(serde_json::from_slice(&ended.result)?)
    }
}

fn humantime(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}
