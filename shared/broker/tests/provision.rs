//! Provisioning and the local server, on a real one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::jetstream;
use windlass_broker::local::{
    Credentials, EMPTY_CONFIG, Error as LocalError, LocalServer, Search, ServerOptions, find, write_config,
};
use windlass_broker::provision::{
    Desired, Error, Layout, Mode, Part, apply, desired, ensure_queue, existing, remove, verify,
};
use windlass_broker::{Auth, Broker, Names, Options};
use windlass_core::QueueName;

/// A server, a connection to it, and a bare one to look and meddle with.
struct Fixture {
    server: LocalServer,
    broker: Broker,
    jetstream: jetstream::Context,
    _folder: tempfile::TempDir,
}

impl Fixture {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let program = find(&Search::from_env(), &|_| ()).await.expect("a nats-server");
        let config = write_config(folder.path(), EMPTY_CONFIG).expect("a configuration");
        let options = ServerOptions { config: Some(config), ..ServerOptions::new(program, folder.path()) };
        let server = LocalServer::start(options).await.expect("a running server");
        let broker = Broker::connect(Options::new(server.client_url())).await.expect("a connection");
        let client = async_nats::connect(server.client_url()).await.expect("a bare connection");
        Self { server, broker, jetstream: jetstream::new(client), _folder: folder }
    }

    fn desired(&self, layout: &Layout) -> Desired {
        desired(self.broker.names(), layout)
    }

    async fn differences(&self, layout: &Layout) -> Vec<String> {
        let found = verify(&self.broker, &self.desired(layout)).await.expect("an answer");
        found.iter().map(ToString::to_string).collect()
    }

    async fn stream(&self, name: &str) -> jetstream::stream::Config {
        self.jetstream.get_stream(name).await.expect("a stream").cached_info().config.clone()
    }
}

fn layout() -> Layout {
    let mut layout = Layout::default();
    layout.pools.insert("billing".parse().expect("a pool"), vec!["invoices".parse().expect("a queue")]);
    layout
}

#[tokio::test]
async fn what_is_applied_verifies_and_applies_again_without_a_change() {
    let fixture = Fixture::start().await;
    let layout = layout();
    let missing = fixture.differences(&layout).await;
    assert!(missing.contains(&"stream JOBS_billing is missing".to_owned()), "{missing:?}");
    assert_eq!(missing.len(), fixture.desired(&layout).streams.len());

    apply(&fixture.broker, &fixture.desired(&layout), false).await.unwrap();
    assert_eq!(fixture.differences(&layout).await, Vec::<String>::new());
    let before = fixture.stream("JOBS").await;
    apply(&fixture.broker, &fixture.desired(&layout), false).await.unwrap();
    assert_eq!(fixture.stream("JOBS").await, before);
}

#[tokio::test]
async fn every_difference_is_told_and_mended_and_what_is_foreign_stays() {
    let fixture = Fixture::start().await;
    let layout = Layout::default();
    apply(&fixture.broker, &fixture.desired(&layout), false).await.unwrap();

    let mut tasks = fixture.stream("TASKS").await;
    tasks.max_bytes = 1_000_000_000;
    tasks.allow_rollup = true;
    tasks.metadata.insert("owner".to_owned(), "team-a".to_owned());
    tasks.description = Some("kept".to_owned());
    fixture.jetstream.update_stream(tasks).await.unwrap();
    let stream = fixture.jetstream.get_stream("JOBS").await.unwrap();
    stream.delete_consumer("worker-default").await.unwrap();

    assert_eq!(
        fixture.differences(&layout).await,
        [
            "stream TASKS: allow_rollup_hdrs is true, expected false",
            "stream TASKS: max_bytes is 1000000000, expected 1073741824",
            "consumer worker-default of stream JOBS is missing",
        ]
    );
    apply(&fixture.broker, &fixture.desired(&layout), false).await.unwrap();
    assert_eq!(fixture.differences(&layout).await, Vec::<String>::new());
    let tasks = fixture.stream("TASKS").await;
    assert_eq!(tasks.metadata.get("owner").map(String::as_str), Some("team-a"));
    assert_eq!(tasks.description.as_deref(), Some("kept"));
}

#[tokio::test]
async fn nothing_is_made_weaker_unless_that_is_allowed() {
    let fixture = Fixture::start().await;
    let mut layout = Layout::default();
    apply(&fixture.broker, &fixture.desired(&layout), false).await.unwrap();
    layout.events.max_age = Duration::from_hours(1);
    layout.events.max_bytes = 1 << 30;
    let refused = apply(&fixture.broker, &fixture.desired(&layout), false).await.unwrap_err();
    let Error::Weaker(differences) = refused else { panic!("{refused}") };
    let told: Vec<_> = differences.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "stream EVENTS: max_age is 604800s, expected 3600s",
            "stream EVENTS: max_bytes is 4294967296, expected 1073741824",
        ]
    );
    assert_eq!(fixture.stream("EVENTS").await.max_age, Duration::from_hours(168));

    apply(&fixture.broker, &fixture.desired(&layout), true).await.unwrap();
    assert_eq!(fixture.stream("EVENTS").await.max_age, Duration::from_hours(1));
}

#[tokio::test]
async fn a_stream_of_another_nature_is_refused() {
    let fixture = Fixture::start().await;
    let layout = Layout::default();
    let config = jetstream::stream::Config {
        name: "JOBS".to_owned(),
        subjects: vec!["windlass.job.>".to_owned()],
        ..jetstream::stream::Config::default()
    };
    fixture.jetstream.create_stream(config).await.unwrap();
    let wanted = fixture.desired(&layout).only(&[Part::Jobs(windlass_core::PoolName::default())]);
    let refused = apply(&fixture.broker, &wanted, false).await.unwrap_err().to_string();
    assert!(refused.contains("stream JOBS: retention is `limits`, expected `workqueue`"), "{refused}");
}

#[tokio::test]
async fn rivals_converge() {
    let fixture = Fixture::start().await;
    let layout = layout();
    let wanted = fixture.desired(&layout);
    let appliers = (0..8).map(|_| apply(&fixture.broker, &wanted, false));
    for applied in futures::future::join_all(appliers).await {
        applied.unwrap();
    }
    assert_eq!(fixture.differences(&layout).await, Vec::<String>::new());
}

#[tokio::test]
async fn off_asks_nothing_and_verify_changes_nothing() {
    let fixture = Fixture::start().await;
    let layout = Layout::default();
    let provision = |mode| fixture.broker.provision(mode, &layout, &[Part::Tasks]);
    assert!(provision(Mode::Off).await.unwrap().is_empty());
    let found = provision(Mode::Verify).await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(fixture.jetstream.get_stream("TASKS").await.is_err());
    assert!(provision(Mode::Apply).await.unwrap().is_empty());
    assert!(fixture.jetstream.get_stream("TASKS").await.is_ok());
    assert!(fixture.jetstream.get_stream("EVENTS").await.is_err());
}

#[tokio::test]
async fn a_queue_is_made_on_first_use_and_their_number_is_bounded() {
    let fixture = Fixture::start().await;
    let layout = Layout { max_queues: 3, ..layout() };
    apply(&fixture.broker, &fixture.desired(&layout), false).await.unwrap();
    let queue = |name: &str| name.parse::<QueueName>().unwrap();
    for name in ["mail", "mail", "default", "images"] {
        ensure_queue(&fixture.broker, &layout, &queue(name)).await.unwrap();
    }
    let refused = ensure_queue(&fixture.broker, &layout, &queue("one-more")).await.unwrap_err();
    assert!(matches!(refused, Error::TooManyQueues { max_queues: 3, .. }), "{refused}");
    // Another pool's queues are counted apart.
    ensure_queue(&fixture.broker, &layout, &queue("invoices")).await.unwrap();

    let stream = fixture.jetstream.get_stream("JOBS").await.unwrap();
    let mail = stream.get_consumer::<jetstream::consumer::pull::Config>("worker-mail").await.unwrap();
    let config = &mail.cached_info().config;
    assert_eq!(config.filter_subject, "windlass.job.mail.ready.>");
    assert_eq!((config.max_deliver, config.ack_wait), (-1, Duration::from_secs(30)));
}

/// Pins that work leaves TASKS by acknowledgement although deletes are denied there, that a full stream refuses, and
/// that headers which would remove or forge messages are refused.
#[tokio::test]
async fn tasks_refuse_what_would_lose_them() {
    let fixture = Fixture::start().await;
    let layout = Layout { tasks_max_bytes: 1 << 20, ..Layout::default() };
    apply(&fixture.broker, &fixture.desired(&layout), false).await.unwrap();
    let publish = async |headers: &[(&str, &str)], size: usize| {
        let mut map = async_nats::HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        let body = vec![0_u8; size].into();
        let stored = fixture.jetstream.publish_with_headers("windlass.task.q", map, body).await.unwrap();
        stored.await.map_err(|error| format!("{error:?}"))
    };
    publish(&[], 10).await.unwrap();
    for (name, value, code) in [
        ("Nats-Rollup", "all", "10111"),
        ("Nats-TTL", "1s", "10166"),
        ("Nats-Schedule", "@at 2030-01-01T00:00:00Z", "10188"),
        ("Nats-Scheduler", "windlass.task.x", "10212"),
    ] {
        let refused = publish(&[(name, value)], 10).await.unwrap_err();
        assert!(refused.contains(code), "{name}: {refused}");
    }
    publish(&[], 900_000).await.unwrap();
    let full = publish(&[], 900_000).await.unwrap_err();
    assert!(full.contains("10077"), "{full}");

    let stream = fixture.jetstream.get_stream("TASKS").await.unwrap();
    let consumer = stream.get_consumer::<jetstream::consumer::pull::Config>("dispatcher").await.unwrap();
    let mut batch =
        consumer.batch().max_messages(2).expires(Duration::from_secs(5)).messages().await.unwrap();
    while let Some(message) = futures::StreamExt::next(&mut batch).await {
        message.unwrap().double_ack().await.unwrap();
    }
    assert_eq!(stream.get_info().await.unwrap().state.messages, 0);
    publish(&[], 900_000).await.unwrap();
}

#[tokio::test]
async fn a_server_keeps_its_port_and_store_through_kill_and_restart() {
    let mut fixture = Fixture::start().await;
    let layout = Layout::default();
    apply(&fixture.broker, &fixture.desired(&layout), false).await.unwrap();
    let url = fixture.server.client_url().to_owned();
    let first = fixture.server.pid();
    fixture.server.kill9().await.unwrap();
    fixture.server.restart().await.unwrap();
    assert_eq!(fixture.server.client_url(), url);
    assert_ne!(fixture.server.pid(), first);
    let broker = Broker::connect(Options::new(&url)).await.unwrap();
    assert!(verify(&broker, &fixture.desired(&layout)).await.unwrap().is_empty());

    fixture.server.stop().await.unwrap();
    assert_eq!(fixture.server.pid(), None);
    let log = std::fs::read_to_string(fixture.server.log_path()).unwrap();
    assert!(log.contains("Server Exiting"), "it was killed, not stopped:\n{log}");
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("bad.conf");
    std::fs::write(&config, "authorization { user: a, password: $NO_SUCH_VARIABLE_HERE }").unwrap();
    let program = find(&Search::from_env(), &|_| ()).await.unwrap();
    let options = ServerOptions { config: Some(config), ..ServerOptions::new(program, folder.path()) };
    let error = LocalServer::start(options).await.unwrap_err();
    assert!(matches!(&error, LocalError::Exited { .. }), "{error}");
    assert!(error.to_string().contains("NO_SUCH_VARIABLE_HERE"), "{error}");
}

/// Needs a package index. The first to come installs, the others wait for it and find it.
#[tokio::test]
async fn rivals_install_once() {
    let cache = tempfile::tempdir().unwrap();
    let search = Search { cache: Some(cache.path().to_owned()), ..Search::default() };
    let installs = AtomicUsize::new(0);
    let progress = |what: &str| {
        installs.fetch_add(usize::from(what.starts_with("installing")), Ordering::Relaxed);
    };
    let found = futures::future::join_all((0..4).map(|_| find(&search, &progress))).await;
    for program in found {
        assert!(program.unwrap().starts_with(cache.path()));
    }
    assert_eq!(installs.into_inner(), 1);
    let left: Vec<_> = std::fs::read_dir(cache.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "only the folder and its lock: {left:?}");
}

#[test]
fn a_user_connects_by_its_own_prefixes() {
    let credentials = Credentials::generate();
    let worker = credentials.options("nats://localhost", "worker").unwrap();
    assert_eq!(worker.inbox_prefix.as_deref(), Some("_INBOX_worker"));
    assert_eq!(worker.api_prefix.as_deref(), Some("JS.windlass.API"));
    assert!(matches!(worker.auth, Auth::UserPassword { .. }));
    assert_eq!(credentials.options("nats://localhost", "dispatcher").unwrap().api_prefix, None);
    assert!(credentials.options("nats://localhost", "nobody").is_none());
}

#[tokio::test]
async fn what_is_removed_is_gone_and_nothing_else() {
    let fixture = Fixture::start().await;
    let (names, layout) = (Names::new("other").expect("a namespace"), Layout::default());
    let (ours, other) = (fixture.desired(&layout), desired(&names, &layout));
    apply(&fixture.broker, &ours, false).await.expect("streams");
    apply(&fixture.broker, &other, false).await.expect("streams of another namespace");
    let all = |wanted: &Desired| wanted.streams.iter().map(|stream| stream.name.clone()).collect::<Vec<_>>();
    assert_eq!(existing(&fixture.broker, &other).await.expect("an answer"), all(&other));

    remove(&fixture.broker, &other).await.expect("they can be removed");
    assert_eq!(existing(&fixture.broker, &other).await.expect("an answer"), [""; 0]);
    assert_eq!(existing(&fixture.broker, &ours).await.expect("an answer"), all(&ours));
    // What is gone is gone.
    remove(&fixture.broker, &other).await.expect("nothing to do");
}
