//! Hearing what a fleet's jobs do, from the first on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use windlass::Codec;
use windlass::codec::Field;
use windlass_broker::events::{self, BatchBounds, EventReader};
use windlass_broker::jobs::{Jobs, Overheard};
use windlass_broker::objects::Objects;
use windlass_broker::{Broker, connect};
use windlass_core::{Kind, Task};

use crate::error::Error;
use crate::known::Known;

/// How many messages are read at a time.
const BOUNDS: BatchBounds =
    BatchBounds { messages: 256, events: usize::MAX, linger: Duration::from_millis(5) };
/// For messages; then it asks again.
const QUIET: Duration = Duration::from_secs(1);
/// For a payload from Object Store.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// A wait looks again so often, in case an instant has come: nothing tells of that.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What was heard, and waiting for more. Clones hear the same.
#[derive(Debug, Clone)]
pub(crate) struct Ear {
    known: Arc<watch::Sender<Known>>,
    patience: Duration,
}

/// Opens what jobs were submitted with.
pub(crate) struct Payloads {
    pub(crate) jobs: Jobs,
    pub(crate) broker: Broker,
    pub(crate) codec: Codec,
    pub(crate) max_bytes: usize,
}

// === impl Ear ===

impl Ear {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { known: Arc::new(watch::Sender::new(Known::default())), patience }
    }

    /// Knows what its worker can handle.
    pub(crate) fn with_kinds(self, kinds: Vec<Kind>) -> Self {
        self.known.send_modify(|known| known.handled = kinds);
        self
    }

    /// Hears the same, and waits so long.
    pub(crate) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Reads events as the fleet's monitor would, for as long as it is let.
    pub(crate) async fn read_events(self, mut reader: EventReader) -> Result<(), events::Error> {
        loop {
            for message in reader.next_batch(BOUNDS, QUIET).await? {
                message.ack().await?;
                self.known.send_modify(|known| {
                    known.read = known.read.max(message.sequence);
                    message.events.into_iter().for_each(|event| known.record(event));
                });
            }
        }
    }

    /// Takes payloads in as their jobs are made. Later writes of a job have the same task, so the first decides.
    pub(crate) async fn read_payloads(
        self,
        mut overheard: Overheard,
        payloads: Payloads,
    ) -> Result<(), connect::Error> {
        while let Some((address, task)) = overheard.next().await {
            let key = (address.queue, address.job_id);
            if self.known.borrow().payloads.contains_key(&key) {
                continue;
            }
            let payload = payloads.open(key.1, task).await;
            self.known.send_modify(|known| {
                known.payloads.insert(key, payload);
            });
        }
        Err(connect::Error::Closed)
    }

    /// Says why the fleet runs no more; who waits learns of it.
    pub(crate) fn fail(&self, reason: String) {
        self.known.send_modify(|known| known.failure = known.failure.take().or(Some(reason)));
    }

    /// Looks at what was heard.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&Known) -> T) -> T {
        at(&self.known.borrow())
    }

    /// Waits until what was heard holds something, and returns it.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        mut holds: impl FnMut(&Known) -> Option<T>,
    ) -> Result<T, Error> {
        let mut changes = self.known.subscribe();
        let waiting = async {
            loop {
                {
                    let known = changes.borrow_and_update();
                    if let Some(held) = holds(&known) {
                        return Ok(held);
                    }
                    if let Some(reason) = known.failure.clone() {
                        return Err(Error::Ended { reason });
                    }
                }
                // Out of time: an instant may have come.
                let _ = timeout(LOOK_AGAIN, changes.changed()).await;
            }
        };
        timeout(self.patience, waiting).await.unwrap_or_else(|_| Err(self.timed_out(what)))
    }

    /// The error of a wait that was in vain.
    pub(crate) fn timed_out(&self, what: &str) -> Error {
        let no_handler = self.look(Known::without_handler);
        Error::TimedOut {
            what: what.to_owned(),
            waited: self.patience,
            heard: self.look(Known::heard),
            no_handler,
        }
    }
}

// === impl Payloads ===

impl Payloads {
    async fn open(&self, id: windlass::JobId, task: Task<Bytes>) -> Result<Bytes, String> {
        let bytes = match &task.form.object {
            None => task.payload,
            Some(object) => Objects::payloads(&self.broker, self.jobs.pool())
                .get(object, Instant::now() + FETCH_TIMEOUT)
                .await
                .map_err(|error| error.to_string())?,
        };
        // A job of a dead letter has the payload of the job that died.
        let id = task.origin.unwrap_or(id);
        let opened = self.codec.decode(id, Field::Payload, bytes, &task.form.encoding, self.max_bytes);
        opened.map_err(|error| error.to_string())
    }
}
