//! The projection on a real broker, with the rights that the monitor has.

use tokio::task::JoinHandle;
use windlass_broker::events::EventWriter;
use windlass_broker::provision::Layout;
use windlass_core::{Event, JobId, JobState, Kind, PoolName, Transition};
use windlass_testkit::{SmallDisk, TestBroker, TestPostgres};

use super::*;

struct Running {
    store: Store,
    progress: watch::Receiver<Progress>,
    health: Health,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(server: &TestBroker, database: &str) -> Self {
        let store = Store::open(database).await.unwrap();
        let (progress, progress_seen) = watch::channel(Progress::default());
        let (health, stop) = (Health::new(), CancellationToken::new());
        let projection = Projection {
            broker: server.connect("monitor").await.unwrap(),
            store: store.clone(),
            batch_size: 2,
            progress,
            teller: Teller::new(),
            health: health.clone(),
        };
        let stopped = stop.clone();
        let task = tokio::spawn(async move { projection.run(&stopped).await });
        Self { store, progress: progress_seen, health, stop, task }
    }

    /// Waits until all that is in the stream is in the database.
    async fn catch_up(&mut self, last_sequence: u64) -> Progress {
        let caught_up = self
            .progress
            .wait_for(|progress| progress.last_sequence >= Some(last_sequence) && progress.lag == Some(0));
        tokio::time::timeout(Duration::from_secs(30), caught_up).await.unwrap().unwrap().clone()
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
        self.store.close().await;
    }

    async fn state(&self, job: u64) -> JobState {
        self.store.find(job_id(job), None).await.unwrap().pop().unwrap().state
    }
}

fn job_id(number: u64) -> JobId {
    format!("01890a5d-ac96-774b-bcce-{number:012x}").parse().unwrap()
}

/// Stores one message with one event.
async fn say(writer: &EventWriter, job: u64, transition: Transition) {
    writer.record(event(job, transition)).await.unwrap();
}

fn event(job: u64, transition: Transition) -> Event {
    let kind: Kind = "file.digest".parse().unwrap();
    Event::new("default".parse().unwrap(), job_id(job), kind, transition, 1, Timestamp::now())
}

fn file(server: &TestBroker, name: &str) -> String {
    server.folder().join(name).display().to_string()
}

async fn broker() -> (TestBroker, EventWriter) {
    let server = TestBroker::with_credentials().await.unwrap();
    server.provision(&Layout::default()).await.unwrap();
    let dispatcher = server.connect("dispatcher").await.unwrap();
    (server, EventWriter::new(dispatcher, "dispatcher", PoolName::default()))
}

#[tokio::test]
async fn events_are_projected_and_a_restart_resumes() {
    let (server, writer) = broker().await;
    let database = file(&server, "monitor.db");
    say(&writer, 1, Transition::Accepted).await;
    say(&writer, 1, Transition::Started).await;
    let mut running = Running::start(&server, &database).await;
    running.catch_up(2).await;
    assert_eq!(running.state(1).await, JobState::Running);
    assert!(running.health.readiness().ready);
    running.stop().await;

    say(&writer, 1, Transition::Succeeded).await;
    say(&writer, 2, Transition::Accepted).await;
    let mut running = Running::start(&server, &database).await;
    assert_eq!(running.catch_up(4).await.processed_sequence, 4);
    assert_eq!((running.state(1).await, running.state(2).await), (JobState::Succeeded, JobState::Queued));
    assert_eq!(running.store.gaps(10).await.unwrap(), []);
    running.stop().await;
}

#[tokio::test]
async fn what_another_database_got_is_a_gap() {
    let (server, writer) = broker().await;
    say(&writer, 1, Transition::Accepted).await;
    say(&writer, 2, Transition::Accepted).await;
    let mut first = Running::start(&server, &file(&server, "first.db")).await;
    first.catch_up(2).await;
    first.stop().await;

    say(&writer, 3, Transition::Accepted).await;
    let mut second = Running::start(&server, &file(&server, "second.db")).await;
    second.catch_up(3).await;
    assert_eq!(second.state(3).await, JobState::Queued);
    let gaps = second.store.gaps(10).await.unwrap();
    assert_eq!(gaps.iter().map(|gap| (gap.first_sequence, gap.last_sequence)).collect::<Vec<_>>(), [(1, 2)]);
    second.stop().await;
}

/// What the database's full disk keeps out is stored once there is room, by the same process; until then it says so.
#[tokio::test]
async fn a_full_disk_is_survived() {
    let disk = match SmallDisk::mount(2) {
        Ok(disk) => disk,
        // A container without the right to mount cannot show it.
        Err(error) => return tracing::warn!(%error, "not tested"),
    };
    let (server, writer) = broker().await;
    let mut running = Running::start(&server, &disk.path().join("monitor.db").display().to_string()).await;
    say(&writer, 1, Transition::Accepted).await;
    running.catch_up(1).await;

    disk.fill().unwrap();
    let large = Event { note: "x".repeat(200_000), ..event(1, Transition::Started) };
    writer.record(large).await.unwrap();
    let stands =
        running.progress.wait_for(|progress| progress.standstill.is_some() && progress.lag == Some(1));
    let progress = tokio::time::timeout(Duration::from_secs(30), stands).await.unwrap().unwrap().clone();
    let reason = progress.standstill.unwrap().reason;
    assert!(reason.contains("full"), "{reason}");
    assert!(!running.health.readiness().ready);
    assert_eq!(running.state(1).await, JobState::Queued, "what was known is shown");

    disk.free().unwrap();
    running.catch_up(2).await;
    let goes_on = running.progress.wait_for(|progress| progress.standstill.is_none());
    tokio::time::timeout(Duration::from_secs(30), goes_on).await.unwrap().unwrap();
    assert!(running.health.readiness().ready);
    assert_eq!(running.state(1).await, JobState::Running);
    running.stop().await;
}

/// A database server that crashes: its monitor says so, and stores what came meanwhile once it is there again.
#[tokio::test]
async fn a_server_that_goes_away_is_survived() {
    let (server, writer) = broker().await;
    let mut postgres = TestPostgres::start().await.unwrap();
    say(&writer, 1, Transition::Accepted).await;
    let mut running = Running::start(&server, &postgres.database().await.unwrap()).await;
    running.catch_up(1).await;

    postgres.stop().unwrap();
    say(&writer, 1, Transition::Started).await;
    let stands = running.progress.wait_for(|progress| progress.standstill.is_some());
    let standstill = tokio::time::timeout(Duration::from_secs(30), stands).await.unwrap().unwrap().clone();
    let reason = standstill.standstill.unwrap().reason;
    assert!(!reason.contains(windlass_testkit::postgres::PASSWORD), "{reason}");
    assert!(!running.health.readiness().ready);

    postgres.restart().unwrap();
    say(&writer, 2, Transition::Accepted).await;
    running.catch_up(3).await;
    assert_eq!((running.state(1).await, running.state(2).await), (JobState::Running, JobState::Queued));
    assert_eq!(running.store.gaps(10).await.unwrap(), []);
    let goes_on = running.progress.wait_for(|progress| progress.standstill.is_none());
    tokio::time::timeout(Duration::from_secs(30), goes_on).await.unwrap().unwrap();
    running.stop().await;
}
