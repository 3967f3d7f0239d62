//! One queue: asks for as many messages as there are free slots, and starts an attempt for each.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_broker::cancel::{self, Marks};
use windlass_broker::delivery::Delivered;
use windlass_broker::pull::{Arrival, Puller};
use windlass_core::QueueName;

use super::options::Error;
use super::process;
use super::serving::Serving;
use super::shared::Shared;

/// Before looking again for a consumer that is missing.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Before asking again for what the broker has refused for lack of a right.
const DENIED_AGAIN: Duration = Duration::from_secs(5);

/// What serves one queue.
pub(super) struct Fetch {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: QueueName,
    pub(super) attempts: TaskTracker,
    pub(super) stop: CancellationToken,
}

// === impl Fetch ===

impl Fetch {
    /// Until told to stop. A consumer that is missing is looked for again: the dispatcher makes it with the queue's
    /// first task.
    pub(super) async fn run(self) -> Result<(), Error> {
        let slots = Arc::new(Semaphore::new(self.shared.options.slots));
        while !self.stop.is_cancelled() {
            let Some(mut puller) = self.open().await else { break };
            let ended = self.serve(&mut puller, &slots).await;
            // What had come already is handed back with its claims, not left to its lease.
            for delivered in puller.rest().await {
                self.start(delivered, puller.ack_wait(), None);
            }
            ended?;
        }
        Ok(())
    }

    async fn open(&self) -> Option<Puller> {
        let broker = &self.shared.broker;
        let stream = self.shared.jobs.stream().to_owned();
        let consumer = broker.names().worker_consumer(&self.queue);
        loop {
            let failed = match Puller::open(broker, stream.clone(), consumer.clone()).await {
                Ok(puller) => return Some(puller),
                Err(error) => Serving::of_error(&error),
            };
            // Each try is in the broker's log, too.
            let pause = if matches!(failed, Serving::Denied(_)) { DENIED_AGAIN } else { LOOK_AGAIN };
            self.shared.board.set(&self.queue, failed);
            self.stop.run_until_cancelled(tokio::time::sleep(pause)).await?;
        }
    }

    async fn serve(&self, puller: &mut Puller, slots: &Arc<Semaphore>) -> Result<(), Error> {
        let mut denials = puller.denials();
        let mut wanted_alone = self.shared.isolation.wanted();
        // After a refusal only what comes shows that it is over.
        let mut is_served = !self.shared.board.is_denied(&self.queue);
        if is_served {
            self.shared.board.set(&self.queue, Serving::Served);
        }
        loop {
            if !self.shared.isolation.is_open() {
                // A job runs alone here: nothing is asked for before it has ended. What was asked for would come here and
                // be handed on, and come again; given up, it goes to other workers.
                if puller.outstanding() > 0 {
                    return Ok(());
                }
                tokio::select! {
                    () = self.stop.cancelled() => return Ok(()),
                    () = self.shared.isolation.opened() => {}
                }
            }
            let room = slots.available_permits().saturating_sub(puller.outstanding());
            // Asking for a few at a time as they become free would cost a request for each job.
            if room > 0
                && self.shared.isolation.is_open()
                && (puller.outstanding() == 0 || room * 4 >= self.shared.options.slots)
            {
                puller.request(room).await.map_err(|_| Error::Closed)?;
            }
            let arrival = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                denial = denials.next() => {
                    self.shared.board.set(&self.queue, Serving::Denied(denial));
                    self.stop.run_until_cancelled(tokio::time::sleep(DENIED_AGAIN)).await;
                    return Ok(());
                }
                () = async { drop(wanted_alone.wait_for(|wanted| *wanted).await) } => continue,
                arrival = puller.next() => arrival.map_err(|_| Error::Closed)?,
                // With nothing asked for, only a free slot changes anything.
                permit = slots.acquire(), if puller.outstanding() == 0 => {
                    drop(permit);
                    continue;
                }
            };
            if !is_served && !matches!(arrival, Arrival::Missing) {
                self.shared.board.set(&self.queue, Serving::Served);
                is_served = true;
            }
            match arrival {
                Arrival::Message(delivered) => {
                    // There is one, but for a broker that answers a request that it was believed to have forgotten.
                    let permit = tokio::select! {
                        permit = Arc::clone(slots).acquire_owned() => permit.ok(),
                        () = self.stop.cancelled() => None,
                    };
                    self.start(*delivered, puller.ack_wait(), permit);
                }
                Arrival::Renew => {}
                Arrival::Missing => {
                    tracing::warn!(queue = %self.queue, "the queue's consumer went missing");
                    tokio::select! {
                        () = tokio::time::sleep(LOOK_AGAIN) => {}
                        () = self.stop.cancelled() => {}
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Without a permit the job is only handed back.
    fn start(
        &self,
        delivered: Delivered,
        ack_wait: Duration,
        permit: Option<tokio::sync::OwnedSemaphorePermit>,
    ) {
        let shared = Arc::clone(&self.shared);
        let run = permit.is_some();
        self.attempts.spawn(async move {
            Box::pin(process::process(&shared, delivered, ack_wait, run)).await;
            drop(permit);
        });
    }
}

/// Passes marks of cancellation on to the attempts that they mean. After a reconnection every running job is looked
/// up, because marks are announced to those who are connected only.
pub(super) async fn listen(shared: Arc<Shared>) {
    let queues: HashSet<_> = shared.options.queues.iter().collect();
    let broker = &shared.broker;
    let mut status = broker.status();
    loop {
        status.mark_unchanged();
        let mut marks = match Marks::listen(broker, &shared.options.queues).await {
            Ok(marks) => marks,
            Err(error) => {
                tracing::warn!(%error, "cancellations cannot be heard");
                return;
            }
        };
        for (queue, job_id, token) in shared.running.all() {
            if let Ok(Some(mark)) = cancel::find(broker, &queue, job_id, token).await {
                shared.running.obey(&queue, &mark);
            }
        }
        loop {
            tokio::select! {
                mark = marks.next() => match mark {
                    Some((queue, mark)) if queues.contains(&queue) => shared.running.obey(&queue, &mark),
                    Some(_) => {}
                    None => return,
                },
                changed = status.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if status.borrow().connected {
                        break;
                    }
                }
            }
        }
    }
}
