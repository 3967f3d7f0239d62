//! The life of a service's process: read the configuration, serve health, connect, provision, run, drain.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use windlass_broker::Broker;

use crate::args::{Args, Output};
use crate::clock;
use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::health::Health;
use crate::http::Routes;
use crate::presence::{self, Myself};
use crate::problem::Problems;
use crate::recorder;
use crate::service::{Context, Exit, SERVICE, Service};
use crate::signal::Signals;
use crate::start::{BROKER, PROVISIONED, connect, follow, prepare};
use crate::storing;
use crate::telemetry::Telemetry;
use crate::unread;

/// Between a call that fails because the connection is closed, and the word that it is.
const CLOSED_TIMEOUT: Duration = Duration::from_secs(1);
/// For spans that wait when the service has ended.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// Metrics are folded so often, whether or not somebody reads them.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// What the command line and the configuration come to.
#[derive(Debug)]
enum Plan<O> {
    Run { config: Box<Config<O>>, exit_with_stdin: bool },
    Print { exit: Exit, text: String },
}

/// What a running service shares with what is around it.
struct Process<'a, S: Service> {
    config: &'a Config<S::Options>,
    health: Health,
    routes: Routes,
    endpoint: &'a Endpoint,
    instance: String,
    started_at: Timestamp,
    recorder: PrometheusHandle,
    stop: CancellationToken,
}

/// The whole of a service's `main`.
pub fn main<S: Service>() -> ExitCode {
    let runtime = match runtime().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            print(Exit::Failed, &format!("cannot start the runtime: {error}\n"));
            return Exit::Failed.into();
        }
    };
    let exit = runtime.block_on(run_with_args::<S>(std::env::args_os().skip(1)));
    // What still blocks a thread has had its time.
    runtime.shutdown_timeout(Duration::from_millis(100));
    exit.into()
}

/// What a service runs on: one thread. It mostly waits for the broker, and to wake one thread from another costs more
/// than the work that is handed over. What blocks or computes has threads of its own.
pub fn runtime() -> tokio::runtime::Builder {
    // Not a multi-threaded one with one worker: the service's own future would stand on yet another thread.
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all();
    builder
}

/// Runs a service as its own program would, with these arguments (without the program's name), in this process. It
/// takes over the process's signals, logs and metrics.
pub async fn run_with_args<S: Service>(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    match plan::<S>(arguments, std::env::vars_os()) {
        Plan::Run { config, exit_with_stdin } => Box::pin(run::<S>(&config, exit_with_stdin)).await,
        Plan::Print { exit, text } => {
            print(exit, &text);
            exit
        }
    }
}

fn plan<S: Service>(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Plan<S::Options> {
    let args = match Args::parse_from(S::NAME, S::ABOUT, arguments) {
        Ok(args) => args,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Stopped };
            return Plan::Print { exit, text: error.render().to_string() };
        }
    };
    let loaded = args
        .sources(environment)
        .and_then(|sources| Config::<S::Options>::load(S::NAME, S::HTTP_PORT, sources));
    let config = match loaded {
        Ok(config) => config,
        Err(problems) => return Plan::Print { exit: Exit::Usage, text: complain(S::NAME, &problems) },
    };
    if args.check_config {
        return Plan::Print { exit: Exit::Stopped, text: "the configuration is valid\n".to_owned() };
    }
    if args.dump_config {
        return dump::<S>(&config, args.output);
    }
    Plan::Run { config: Box::new(config), exit_with_stdin: args.exit_with_stdin }
}

fn complain(service: &str, problems: &Problems) -> String {
    let count = problems.iter().count();
    let plural = if count == 1 { "" } else { "s" };
    format!("windlass-{service}: {count} problem{plural} in the configuration\n{problems}\n")
}

fn dump<S: Service>(config: &Config<S::Options>, output: Output) -> Plan<S::Options> {
    let text = config.to_value(S::NAME).map_err(anyhow::Error::new).and_then(|table| match output {
        Output::Toml => Ok(toml::to_string_pretty(&table)?),
        Output::Json => Ok(format!("{}\n", serde_json::to_string_pretty(&table)?)),
    });
    match text {
        Ok(text) => Plan::Print { exit: Exit::Stopped, text },
        Err(error) => {
            Plan::Print { exit: Exit::Failed, text: format!("cannot print the configuration: {error:#}\n") }
        }
    }
}

/// Answers to standard output, complaints to standard error.
fn print(exit: Exit, text: &str) {
    // If nobody reads it, the exit code still says it.
    let _ = match exit {
        Exit::Stopped => std::io::stdout().write_all(text.as_bytes()),
        _ => std::io::stderr().write_all(text.as_bytes()),
    };
}

async fn run<S: Service>(config: &Config<S::Options>, exit_with_stdin: bool) -> Exit {
    let (instance, started_at) = (instance(S::NAME), Timestamp::now());
    // Before anything counts.
    let recorder = recorder::install(S::NAME);
    let telemetry = Telemetry::start(S::NAME, &instance, &config.common.log);
    tracing::info!(service = S::NAME, instance, version = env!("CARGO_PKG_VERSION"), "starting");
    let signals = Signals::listen(exit_with_stdin);
    let (recorder, signals) = match (recorder, signals) {
        (Ok(recorder), Ok(signals)) => (recorder, signals),
        (recorder, signals) => {
            tracing::error!(recorder = ?recorder.err(), signals = ?signals.err(), "cannot start");
            return Exit::Failed;
        }
    };
    let health = Health::new();
    health.not_ready(BROKER, "connecting");
    health.not_ready(PROVISIONED, "not connected yet");
    health.not_ready(SERVICE, "not started yet");
    let routes = Routes::new(tokio::runtime::Handle::current());
    let endpoint =
        match Endpoint::start(&config.common.http, health.clone(), recorder.clone(), routes.clone()) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                tracing::error!(error = format!("{:#}", anyhow::Error::new(error)), "cannot start");
                return Exit::Failed;
            }
        };
    let _runtime_watch = AbortOnDropHandle::new(tokio::spawn(health.clone().watch_runtime()));
    let kept = recorder.clone();
    let _upkeep = AbortOnDropHandle::new(tokio::spawn(async move {
        let mut ticks = tokio::time::interval(METRICS_UPKEEP);
        loop {
            ticks.tick().await;
            kept.run_upkeep();
        }
    }));
    if let Err(error) = S::serve_offline(&config.options, &routes, endpoint.address()).await {
        tracing::error!(error = format!("{error:#}"), "cannot start");
        return Exit::Failed;
    }
    let stop = CancellationToken::new();
    let process = Process::<S> {
        config,
        health: health.clone(),
        routes,
        endpoint: &endpoint,
        instance,
        started_at,
        recorder,
        stop: stop.clone(),
    };
    let exit = tokio::select! {
        exit = process.supervise() => exit,
        () = obey(signals, &health, &stop) => {
            tracing::warn!("told to stop again, stopping at once");
            return Exit::DrainTimedOut;
        }
    };
    endpoint.stop().await;
    tracing::info!(exit = ?exit, "stopped");
    telemetry.shutdown(FLUSH_TIMEOUT).await;
    exit
}

/// Begins the drain at the first wish to stop, and returns when the same signal comes a second time. Not any second
/// one: at a terminal a process gets SIGINT itself and SIGTERM from its supervisor.
async fn obey(mut signals: Signals, health: &Health, stop: &CancellationToken) {
    let mut seen = Vec::new();
    loop {
        let cause = signals.next().await;
        if seen.contains(&cause) {
            return;
        }
        seen.push(cause);
        if !stop.is_cancelled() {
            tracing::info!(cause, "draining");
            health.not_ready("draining", format!("stopping: {cause}"));
            stop.cancel();
        }
    }
}

// === impl Process ===

impl<S: Service> Process<'_, S> {
    /// Runs the service until it ends, on a new connection whenever the old one is closed for good.
    async fn supervise(&self) -> Exit {
        let common = &self.config.common;
        let parts = S::parts(&self.config.options, &common.layout);
        let give_up_after = S::give_up_after(&common.layout);
        loop {
            let Some(broker) = connect(common, &self.instance, give_up_after, &self.health, &self.stop).await
            else {
                return Exit::Stopped;
            };
            let provisioned = tokio::select! {
                provisioned = prepare(common, &broker, &parts, &self.health, &self.stop) => provisioned,
                () = follow(&broker, &self.health) => continue,
            };
            let ended = match provisioned {
                Some(()) => self.serve(&broker).await,
                None => Some(Exit::Stopped),
            };
            broker.drain().await;
            if let Some(exit) = ended {
                return exit;
            }
        }
    }

    fn myself(&self, told: &'static [&'static str]) -> Myself {
        Myself {
            service: S::NAME,
            instance: self.instance.clone(),
            started_at: self.started_at,
            told,
            recorder: self.recorder.clone(),
        }
    }

    /// Runs the service; none if its connection was closed for good.
    async fn serve(&self, broker: &Broker) -> Option<Exit> {
        let drain_timeout = self.config.common.drain.timeout;
        let stop = self.stop.child_token();
        let context = Context {
            broker: broker.clone(),
            layout: self.config.common.layout.clone(),
            codec: self.config.common.codec.clone(),
            stop: stop.clone(),
            drain_timeout,
            health: self.health.clone(),
            routes: self.routes.clone(),
            http_address: self.endpoint.address(),
            instance: self.instance.clone(),
        };
        let _unread =
            AbortOnDropHandle::new(tokio::spawn(unread::watch(broker.clone(), self.health.clone())));
        let _clock = AbortOnDropHandle::new(tokio::spawn(clock::watch(broker.clone(), self.health.clone())));
        let _storing =
            AbortOnDropHandle::new(tokio::spawn(storing::watch(broker.clone(), self.health.clone())));
        let leaves = CancellationToken::new();
        let announcing = S::TELLS.map(|told| {
            let (broker, health, left) =
                (broker.clone(), self.health.clone(), leaves.clone().cancelled_owned());
            AbortOnDropHandle::new(tokio::spawn(presence::announce(self.myself(told), broker, health, left)))
        });
        // A task of its own, so that its panic ends the process in order, with its cause.
        let mut running = AbortOnDropHandle::new(tokio::spawn(S::run(self.config.options.clone(), context)));
        let (ended, lost) = tokio::select! {
            // A service may fail because its connection is closed; then that is the cause to act on.
            ended = &mut running => {
                let lost = is_closed(broker, matches!(ended, Ok(Err(_)))).await;
                (Some(ended), lost)
            }
            () = self.stop.cancelled() => (None, false),
            () = follow(broker, &self.health) => (None, true),
        };
        stop.cancel();
        let ended = match ended {
            Some(ended) => Some(ended),
            None => tokio::time::timeout(drain_timeout, &mut running).await.ok(),
        };
        leaves.cancel();
        if let Some(announcing) = announcing {
            // It is bounded, and its panic no reason for another exit.
            let _ = announcing.await;
        }
        if lost && !self.stop.is_cancelled() {
            tracing::warn!("the connection to the broker was closed, starting again");
            self.health.not_ready(SERVICE, "starting again on a new connection");
            return None;
        }
        let Some(ended) = ended else {
            let timeout_seconds = drain_timeout.as_secs_f64();
            tracing::error!(timeout_seconds, "work in flight did not end in time");
            return Some(Exit::DrainTimedOut);
        };
        Some(outcome(ended))
    }
}

/// Whether the connection is closed for good. The client tells that beside the calls that fail by it, so a service may
/// have failed a moment before: then it is waited for.
async fn is_closed(broker: &Broker, failed: bool) -> bool {
    let mut status = broker.status();
    if !failed {
        return status.borrow().closed;
    }
    tokio::time::timeout(CLOSED_TIMEOUT, status.wait_for(|s| s.closed)).await.is_ok_and(|seen| seen.is_ok())
}

fn outcome(ended: Result<anyhow::Result<()>, JoinError>) -> Exit {
    match ended {
        Ok(Ok(())) => Exit::Stopped,
        Ok(Err(error)) => {
            tracing::error!(error = format!("{error:#}"), "the service failed");
            Exit::Failed
        }
        Err(error) => {
            tracing::error!(%error, "the service panicked");
            Exit::Failed
        }
    }
}

/// This process among all of the fleet, in the characters of a key on the broker.
fn instance(service: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME"));
    let host = host.unwrap_or_default();
    let word: String =
        host.trim().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    let host = if word.is_empty() { "host" } else { &word };
    format!("{service}-{host}-{}-{:08x}", std::process::id(), rand::random::<u32>())
}

#[cfg(test)]
mod tests;
