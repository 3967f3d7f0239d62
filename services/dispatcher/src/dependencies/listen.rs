//! Hearing of ends, where somebody waits for one.
//!
//! Workers do not know who is waited for, and a job that nobody waits for pays nothing. A queue of which a job is waited
//! for has a consumer of its events, made with the first edge; whichever dispatcher is given an end looks whether somebody
//! waits for it. Nobody removes the consumer: dispatchers stop asking once nobody waits for a job of the queue any more,
//! and the broker removes what nobody asks. What is missed all the same, the reconciler finds.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use windlass_broker::events::{self, BatchBounds, EventMessage, EventReader, ends};
use windlass_broker::names::Place;
use windlass_broker::{connect, jobs};
use windlass_core::{JobId, QueueName};

use super::close::ended;
use crate::shared::Shared;

/// How long a consumer is believed to exist: much less than the broker keeps one that nobody asks.
const BELIEVED: Duration = Duration::from_secs(10);
/// Between two looks for consumers that another dispatcher has made.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Between two looks whether somebody still waits.
const ASK_EVERY: Duration = Duration::from_secs(30);
/// How long a queue is followed after somebody has begun to wait for a job of it, whatever a look says.
const FOLLOWED: Duration = Duration::from_mins(1);
/// Messages that are asked for, and dealt with, at one time.
const MESSAGES: usize = 16;
/// At once what has come.
const BOUNDS: BatchBounds =
    BatchBounds { messages: MESSAGES, events: 10_000, linger: Duration::from_millis(5) };
/// Ends that are looked at at one time.
const LOOKS: usize = 16;
/// So many ends of one message are looked up together, if no more than so many edges stand there.
const TOGETHER: (usize, u64) = (4, 1000);
/// Before what could not be dealt with is delivered again.
const AGAIN: Duration = Duration::from_secs(1);

/// The queues whose ends are followed.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    /// When it was last made sure that the consumer exists. Bounded by the layout's `max_queues`.
    ensured: Mutex<HashMap<QueueName, Instant>>,
    /// Held by whoever makes sure: of many tasks that come together, one asks the broker.
    ensuring: tokio::sync::Mutex<()>,
    new: Notify,
}

// === impl Listening ===

impl Listening {
    /// From here on, ends of jobs of this queue are heard of.
    pub(crate) async fn ensure(&self, shared: &Shared, queue: &QueueName) -> Result<(), connect::Error> {
        let is_believed = || self.age(queue).is_some_and(|age| age < BELIEVED);
        if is_believed() {
            return Ok(());
        }
        let _one = self.ensuring.lock().await;
        if is_believed() {
            return Ok(());
        }
        Box::pin(ends::ensure(&shared.broker, queue, shared.layout.horizon)).await?;
        self.list().insert(queue.clone(), Instant::now());
        self.new.notify_one();
        Ok(())
    }

    fn age(&self, queue: &QueueName) -> Option<Duration> {
        self.list().get(queue).map(Instant::elapsed)
    }

    fn list(&self) -> std::sync::MutexGuard<'_, HashMap<QueueName, Instant>> {
        self.ensured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the queue is worth following.
    async fn is_wanted(&self, shared: &Shared, queue: &QueueName) -> Result<bool, jobs::Error> {
        if self.age(queue).is_some_and(|age| age < FOLLOWED) {
            return Ok(true);
        }
        let wanted = shared.jobs(queue).is_awaited(queue).await?;
        if !wanted {
            self.list().remove(queue);
        }
        Ok(wanted)
    }
}

/// Follows all queues that are to be, until it is dropped.
pub(crate) async fn listen(shared: Arc<Shared>) {
    let mut followed: HashSet<QueueName> = HashSet::new();
    let mut following: JoinSet<QueueName> = JoinSet::new();
    loop {
        match ends::followed(&shared.broker).await {
            Ok(queues) => {
                for queue in queues {
                    if followed.contains(&queue)
                        || !matches!(shared.listening.is_wanted(&shared, &queue).await, Ok(true))
                    {
                        continue;
                    }
                    followed.insert(queue.clone());
                    let shared = Arc::clone(&shared);
                    following.spawn(async move {
                        follow(&shared, &queue).await;
                        queue
                    });
                }
            }
            Err(error) => {
                tracing::warn!(%error, "it is not known which queues' ends are to be followed; trying again");
            }
        }
        tokio::select! {
            () = shared.listening.new.notified() => {}
            () = sleep(LOOK_EVERY) => {}
            Some(ended) = following.join_next() => if let Ok(queue) = ended {
                followed.remove(&queue);
            } else {
                // Whose it was is not known; all the others are found again.
                following.abort_all();
                followed.clear();
            },
        }
    }
}

/// Follows one queue, until nobody waits for a job of it.
async fn follow(shared: &Shared, queue: &QueueName) {
    tracing::info!(%queue, "a job of the queue is waited for: its ends are followed");
    let mut asked = Instant::now();
    let mut reader = None;
    loop {
        if let Err(error) = read(shared, queue, &mut reader).await {
            tracing::warn!(%queue, error = format!("{:#}", anyhow::Error::new(error)), "the ends of a queue's jobs cannot be read; trying again");
            reader = None;
            sleep(AGAIN).await;
        }
        if asked.elapsed() < ASK_EVERY {
            continue;
        }
        asked = Instant::now();
        match shared.listening.is_wanted(shared, queue).await {
            Ok(true) if reader.is_none() => {
                // Somebody removed it.
                if let Err(error) = ends::ensure(&shared.broker, queue, shared.layout.horizon).await {
                    tracing::warn!(%queue, %error, "the ends of a queue's jobs cannot be followed; trying again");
                }
            }
            Ok(true) => {}
            Ok(false) => {
                tracing::info!(%queue, "no job of the queue is waited for any more");
                return;
            }
            Err(error) => {
                tracing::warn!(%queue, %error, "it is not known whether a job of the queue is waited for");
            }
        }
    }
}

/// Reads what has come, and deals with it.
async fn read(
    shared: &Shared,
    queue: &QueueName,
    reader: &mut Option<EventReader>,
) -> Result<(), events::Error> {
    let reader = match reader {
        Some(reader) => reader,
        None => reader.insert(EventReader::of_ends(&shared.broker, queue).await?),
    };
    let messages = reader.next_batch(BOUNDS, LOOK_EVERY).await?;
    let dealing = messages.into_iter().map(|message| deal_with(shared, queue, message));
    stream::iter(dealing).buffer_unordered(MESSAGES).collect::<()>().await;
    Ok(())
}

async fn deal_with(shared: &Shared, queue: &QueueName, message: EventMessage) {
    let ends = message.events.iter().filter(|event| event.transition.is_end());
    let ended_ids: HashSet<JobId> = ends.map(|event| event.job_id).collect();
    let dealt_with = tell(shared, queue, ended_ids).await;
    let settled = if dealt_with { message.ack().await } else { message.put_back(AGAIN).await };
    if settled.is_err() {
        tracing::debug!(
            "an acknowledgement of events was not sent; their ends are looked at again, which does no harm"
        );
    }
}

async fn tell(shared: &Shared, queue: &QueueName, mut ids: HashSet<JobId>) -> bool {
    if ids.len() >= TOGETHER.0 {
        match shared.jobs(queue).awaited_of(queue, TOGETHER.1).await {
            Ok(Some(awaited)) => ids.retain(|id| awaited.contains(id)),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%queue, %error, "who is waited for could not be read; trying again");
                return false;
            }
        }
    }
    let telling = ids.into_iter().map(|id| tell_one(shared, (queue.clone(), id)));
    let told: Vec<bool> = stream::iter(telling).buffer_unordered(LOOKS).collect().await;
    told.into_iter().all(|one| one)
}

async fn tell_one(shared: &Shared, place: Place) -> bool {
    Box::pin(ended(shared, &place)).await
}
