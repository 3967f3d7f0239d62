//! The thread that a fleet runs on, with a runtime of its own, so that it neither needs nor holds up the test's.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use windlass::worker::Options;
use windlass::{Client, Handlers, Worker};
use windlass_broker::Broker;
use windlass_broker::events::EventReader;
use windlass_broker::jobs::{Jobs, Overheard};
use windlass_broker::local::{EMPTY_CONFIG, LocalServer, Search, ServerOptions, find, write_config};
use windlass_broker::provision::{Layout, apply, desired};
use windlass_core::PoolName;
use windlass_dispatcher::Dispatcher;
use windlass_service::health::Health;
use windlass_service::http::Routes;
use windlass_service::{CodecSettings, Context, Service};

use crate::error::Error;
use crate::guard::Guard;
use crate::listen::{Ear, Payloads};

/// A fleet that runs. Dropping it ends it, and waits until it is gone.
pub(crate) struct Host {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// How to reach it.
pub(crate) struct Inside {
    pub(crate) broker: Broker,
    pub(crate) url: String,
    pub(crate) folder: std::path::PathBuf,
    pub(crate) server_pid: Option<u32>,
}

/// What runs, until the end.
struct Parts {
    inside: Inside,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

/// For the services to end in order; their broker and their jobs go in any case.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// For the runtime's threads.
const THREADS_TIMEOUT: Duration = Duration::from_millis(500);

// === impl Host ===

impl Host {
    /// Starts a fleet and waits until its worker serves its queues.
    pub(crate) async fn start<S: Send + Sync + 'static>(
        handlers: Handlers<S>,
        options: Options,
        ear: Ear,
    ) -> Result<(Self, Inside), Error> {
        let failed = |action| move |source| Error::Process { action, source };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("fleet")
            .enable_all()
            .build()
            .map_err(failed("make its threads"))?;
        let stop = CancellationToken::new();
        let (started, starting) = oneshot::channel();
        let running = run(handlers, options, ear, stop.clone(), started);
        let thread = std::thread::Builder::new().name("fleet".to_owned()).spawn(move || {
            runtime.block_on(running);
            runtime.shutdown_timeout(THREADS_TIMEOUT);
        });
        // From here on it ends with this value, also if nobody waits for the start any more.
        let host = Self { stop, thread: Some(thread.map_err(failed("start its thread"))?) };
        let inside =
            starting.await.map_err(|_| Error::Ended { reason: "its thread panicked".to_owned() })??;
        Ok((host, inside))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.cancel();
        // A panic there has been printed, and the test has failed by what it waited for.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The whole life of a fleet.
async fn run<S: Send + Sync + 'static>(
    handlers: Handlers<S>,
    options: Options,
    ear: Ear,
    stop: CancellationToken,
    started: oneshot::Sender<Result<Inside, Error>>,
) {
    let serving = async {
        let folder = tempfile::Builder::new()
            .prefix("windlass-testing-")
            .tempdir()
            .map_err(|source| Error::Process { action: "make its folder", source })?;
        let server = start_server(folder.path()).await?;
        let guard = server.pid().map(|pid| Guard::start(pid, folder.path())).transpose();
        let guard = guard.map_err(|source| Error::Process { action: "guard its broker", source })?;
        Ok::<_, Error>((folder, server, guard))
    };
    let (folder, mut server, guard) = match stop.run_until_cancelled(serving).await {
        None => return,
        Some(Err(error)) => return drop(started.send(Err(error))),
        Some(Ok(serving)) => serving,
    };
    let assembling = Box::pin(assemble(handlers, options, ear, &server, &folder));
    match stop.run_until_cancelled(assembling).await {
        None => {}
        Some(Err(error)) => drop(started.send(Err(error))),
        Some(Ok(Parts { inside, mut tasks, stop: stop_parts })) => {
            // If nobody waits for it any more, it is being dropped.
            let _ = started.send(Ok(inside));
            stop.cancelled().await;
            stop_parts.cancel();
            let _ = timeout(STOP_TIMEOUT, async { while tasks.join_next().await.is_some() {} }).await;
        }
    }
    // Gone before its folder is, so that nothing is written into what is being removed.
    if let Err(error) = server.kill9().await {
        tracing::warn!(%error, "the nats-server of a test was not waited for");
    }
    if let Err(error) = folder.close() {
        tracing::warn!(%error, "the folder of a test was not removed");
    }
    if let Some(guard) = guard {
        guard.dismiss().await;
    }
}

async fn start_server(folder: &Path) -> Result<LocalServer, Error> {
    let program = find(&Search::from_env(), &|what| tracing::info!("{what}")).await?;
    let config = write_config(folder, EMPTY_CONFIG)?;
    let options = ServerOptions { config: Some(config), ..ServerOptions::new(program, folder) };
    Ok(LocalServer::start(options).await?)
}

async fn assemble<S: Send + Sync + 'static>(
    handlers: Handlers<S>,
    options: Options,
    ear: Ear,
    server: &LocalServer,
    folder: &TempDir,
) -> Result<Parts, Error> {
    let url = server.client_url().to_owned();
    let connect = |name: &str| {
        let options = windlass_broker::Options::new(url.as_str());
        Broker::connect(windlass_broker::Options { client_name: name.to_owned(), ..options })
    };
    let broker = connect("testing").await?;
    let layout = layout_of(&options);
    apply(&broker, &desired(broker.names(), &layout), false).await?;

    let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
    let mut host = |what: &'static str, task: Part| {
        let (ear, stop) = (ear.clone(), stop.clone());
        // In a task of its own, so that its panic is told too.
        tasks.spawn(async move {
            let ended = tokio::spawn(task).await.unwrap_or_else(|panic| Err(panic.to_string()));
            if !stop.is_cancelled() {
                ear.fail(format!(
                    "{what} ended: {}",
                    ended.err().unwrap_or_else(|| "without a cause".to_owned())
                ));
            }
        });
    };

    // Before anything is published, so that nothing is missed.
    let jobs = Jobs::new(&broker, options.pool.clone());
    let overheard = Overheard::listen(&jobs).await?;
    let payloads = Payloads {
        jobs,
        broker: broker.clone(),
        codec: options.codec.clone(),
        max_bytes: options.max_payload_bytes,
    };
    let reader = EventReader::open(&broker).await?;
    host("reading events", until(&stop, ear.clone().read_events(reader)));
    host("hearing jobs", until(&stop, ear.clone().read_payloads(overheard, payloads)));

    let context = context(connect("dispatcher").await?, layout, stop.clone());
    host("the dispatcher", plain(Dispatcher::run(windlass_dispatcher::Options::default(), context)));
    let client = Client::new(connect("worker").await?);
    let worker = Worker::new(&client, handlers, options)?;
    let ready = CancellationToken::new();
    host("the worker", plain(worker.run(stop.clone(), ready.clone())));
    ear.until("the worker serves its queues", |_| ready.is_cancelled().then_some(())).await?;

    let inside = Inside { broker, url, folder: folder.path().to_owned(), server_pid: server.pid() };
    Ok(Parts { inside, tasks, stop })
}

/// The streams that this worker and its dispatcher need.
fn layout_of(worker: &Options) -> Layout {
    let (pool, queues) = (worker.pool.clone(), worker.queues.clone());
    let layout = Layout { horizon: worker.horizon, ..Layout::default() };
    if pool == PoolName::default() {
        Layout { queues, ..layout }
    } else {
        Layout { pools: [(pool, queues)].into(), ..layout }
    }
}

/// What a service of the fleet is given: all but an HTTP endpoint, which a test has no use for.
fn context(broker: Broker, layout: Layout, stop: CancellationToken) -> Context {
    Context {
        broker,
        layout,
        codec: CodecSettings::default(),
        stop,
        drain_timeout: STOP_TIMEOUT,
        health: Health::new(),
        routes: Routes::new(tokio::runtime::Handle::current()),
        http_address: SocketAddr::from(([127, 0, 0, 1], 0)),
        instance: "dispatcher-testing".to_owned(),
    }
}

type Part = std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// A part that knows no end of its own.
fn until<E: Display>(
    stop: &CancellationToken,
    part: impl Future<Output = Result<(), E>> + Send + 'static,
) -> Part {
    let stop = stop.clone();
    plain(async move { stop.run_until_cancelled(part).await.unwrap_or(Ok(())) })
}

fn plain<E: Display>(part: impl Future<Output = Result<(), E>> + Send + 'static) -> Part {
    Box::pin(async move { part.await.map_err(|error| format!("{error:#}")) })
}
