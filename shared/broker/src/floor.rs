//! The floor: bare clients that make a job's writes and nothing else, to measure against.
//!
//! What a fleet does beyond it (checks, leases, handlers, spans, metrics) is what Windlass itself costs. Each side of
//! the floor has a thread and a connection of its own, as the services have processes of their own, and keeps a bounded
//! number of publishes on their way. They check nothing: they are to be run on streams of their own.

mod link;
mod relay;

use std::time::Duration;

use tokio::time::Instant;
use windlass_core::{PoolName, Priority, QueueName, RecordKind};

use self::link::Link;
use self::relay::{Relay, Then};
use crate::connect::{Broker, Error};
use crate::options::Options;
use crate::publish::header;

/// What is measured.
#[derive(Debug, Clone)]
pub struct Work {
    /// How many jobs.
    pub jobs: u64,
    /// The queues that they are spread over, in turn; their consumers exist.
    pub queues: Vec<QueueName>,
    /// What stands in TASKS: one job's message.
    pub task: bytes::Bytes,
    /// What stands in JOBS while it waits.
    pub ready: bytes::Bytes,
    /// The record of its end.
    pub done: bytes::Bytes,
    /// A message of events, of so many.
    pub events: bytes::Bytes,
    /// Events in one message.
    pub events_in_batch: u64,
    /// How long an end is kept.
    pub horizon: Duration,
    /// Publishes on their way, of each side.
    pub window: usize,
}

/// How long the jobs took, from the first publish to the last answer.
pub type Took = Duration;

/// For the whole of it: a broker that loses a message would never end.
const TIMEOUT: Duration = Duration::from_mins(10);

/// The writes of the protocol: the task; the conditional `ready`, the event of it, the acknowledgement; the conditional
/// `done` with its time to live, two events, the acknowledgement.
pub async fn protocol(options: &Options, work: &Work) -> Result<Took, Error> {
    let names = options.names.clone();
    let pool = PoolName::default();
    let dispatcher = Relay {
        streams: vec![(names.tasks_stream(), names.dispatcher_consumer().to_owned())],
        jobs: work.jobs,
        window: work.window,
        then: Then::Protocol {
            record: RecordKind::Ready,
            pool: pool.clone(),
            names: names.clone(),
            body: work.ready.clone(),
            ttl: None,
            events: work.events.clone(),
            jobs_in_batch: work.events_in_batch,
            event_subject: names.event_subject(&work.queues[0], "dispatcher", &pool),
        },
    };
    let consumers = work.queues.iter().map(|queue| (names.jobs_stream(&pool), names.worker_consumer(queue)));
    let worker = Relay {
        streams: consumers.collect(),
        then: Then::Protocol {
            record: RecordKind::Done,
            pool: pool.clone(),
            names: names.clone(),
            body: work.done.clone(),
            ttl: Some(work.horizon),
            events: work.events.clone(),
            jobs_in_batch: work.events_in_batch / 2,
            event_subject: names.event_subject(&work.queues[0], "worker", &pool),
        },
        ..dispatcher.clone()
    };
    run(options, work, dispatcher, worker).await
}

/// Three plain publishes a job through two hops, with plain acknowledgements: the same way through the same streams,
/// without conditions, times to live and events.
pub async fn three_publishes(options: &Options, work: &Work) -> Result<Took, Error> {
    let names = options.names.clone();
    let pool = PoolName::default();
    let to =
        |record| Then::Plain { record, pool: pool.clone(), names: names.clone(), body: work.task.clone() };
    let dispatcher = Relay {
        streams: vec![(names.tasks_stream(), names.dispatcher_consumer().to_owned())],
        jobs: work.jobs,
        window: work.window,
        then: to(RecordKind::Ready),
    };
    let consumers = work.queues.iter().map(|queue| (names.jobs_stream(&pool), names.worker_consumer(queue)));
    let worker = Relay { streams: consumers.collect(), then: to(RecordKind::Done), ..dispatcher.clone() };
    run(options, work, dispatcher, worker).await
}

async fn run(options: &Options, work: &Work, dispatcher: Relay, worker: Relay) -> Result<Took, Error> {
    let begun = Instant::now();
    let sides = [
        side(options, "floor-publisher", Side::Publisher(work.clone())),
        side(options, "floor-dispatcher", Side::Relay(dispatcher)),
        side(options, "floor-worker", Side::Relay(worker)),
    ];
    futures::future::try_join_all(sides).await?;
    Ok(begun.elapsed())
}

/// What a thread does.
enum Side {
    Publisher(Work),
    Relay(Relay),
}

/// One side, on a thread and a connection of its own.
async fn side(options: &Options, name: &str, side: Side) -> Result<(), Error> {
    let options = Options { client_name: name.to_owned(), ..options.clone() };
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        let outcome = runtime.block_on(async {
            let broker = Broker::connect(options).await?;
            let working = async {
                match side {
                    Side::Publisher(work) => publish(broker.clone(), work).await,
                    Side::Relay(relay) => relay.run(broker.clone()).await,
                }
            };
            let outcome = tokio::time::timeout(TIMEOUT, working).await;
            broker.drain().await;
            outcome.unwrap_or(Err(Error::Closed))
        });
        let _ = ended.send(outcome);
    });
    end.await.unwrap_or(Err(Error::Closed))
}

/// Publishes the tasks, as fast as they are stored.
async fn publish(broker: Broker, work: Work) -> Result<(), Error> {
    let mut link = Link::open(&broker).await?;
    let subjects: Vec<String> = work.queues.iter().map(|queue| broker.names().task_subject(queue)).collect();
    let queues = work.queues.len();
    for (number, at) in (0..work.jobs).zip((0..queues).cycle()) {
        while link.on_their_way() >= work.window {
            link.answered().await?;
        }
        let id = windlass_core::JobId::from_parts(jiff::Timestamp::now(), rand::random());
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(header::MESSAGE_ID, format!("{}.{id}", work.queues[at]));
        link.publish(number, subjects[at].clone(), headers, work.task.clone()).await?;
    }
    while link.on_their_way() > 0 {
        link.answered().await?;
    }
    Ok(())
}

/// The subject of a job's record.
fn record_subject(
    names: &crate::Names,
    pool: &PoolName,
    record: RecordKind,
    queue: &QueueName,
    id: windlass_core::JobId,
) -> String {
    names.job_subject(pool, queue, record, Priority::default(), id)
}
