//! EVENTS into the database.
//!
//! Messages are acknowledged after their events are committed, and committing them again changes nothing; so whatever
//! fails in between is mended by trying again, here or after a restart. A message that cannot be read is counted and
//! acknowledged: it would be no better the next time.
//!
//! While one batch is being stored the next is read: the database has a thread of its own. Where many events come, they
//! are waited for a little, as a job is written once for all of its events in a batch.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_broker::Broker;
use windlass_broker::events::{self, BatchBounds, EventMessage, EventReader};
use windlass_broker::failpoint::{Point, hit};
use windlass_service::health::Health;

use crate::live::Teller;
use crate::progress::{Progress, Standstill};
use crate::store::{self, Message, Store};
use crate::trace;

/// The condition of readiness that this loop sets.
pub(crate) const CONDITION: &str = "events";
/// For the first message of a batch.
const WAIT: Duration = Duration::from_secs(1);
/// Between two looks at the stream.
const LOOK: Duration = Duration::from_secs(2);
/// How long events wait for others where few come, and where many do.
const LINGER: Duration = Duration::from_millis(5);
const LINGER_OF_MANY: Duration = Duration::from_millis(100);
/// Many, in one batch.
const MANY: usize = 100;
/// About the most events of a batch: some 10 MB in memory, and the next is read meanwhile.
const MOST_EVENTS: usize = 5_000;
/// After a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// Longer than every time limit within one round.
const STALLED: Duration = Duration::from_mins(1);

/// What the loop works with.
pub(crate) struct Projection {
    pub(crate) broker: Broker,
    pub(crate) store: Store,
    pub(crate) batch_size: usize,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) teller: Teller,
    pub(crate) health: Health,
}

/// What a round did.
enum Round {
    /// Nothing came.
    Quiet,
    /// What came is stored, or will be by the next round.
    Busy,
}

/// What was read, and is not stored yet.
#[derive(Default)]
struct Taken {
    reader: Option<EventReader>,
    batch: Vec<EventMessage>,
    looked_at: Option<Instant>,
    /// Events of the batch before.
    events: usize,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("events cannot be read")]
    Events(#[from] events::Error),
    #[error("events cannot be stored")]
    Store(#[from] store::Error),
}

// === impl Projection ===

impl Projection {
    /// Runs until stopped; what was read and not acknowledged by then is delivered again to the next monitor.
    pub(crate) async fn run(self, stop: &CancellationToken) {
        let heartbeat = self.health.heartbeat("projection", STALLED);
        let mut taken = Taken::default();
        let mut unstored = false;
        while !stop.is_cancelled() {
            heartbeat.beat();
            match self.round(&mut taken, stop).await {
                // What could not be stored comes again; until it does, a quiet round says nothing.
                Ok(Round::Quiet) if unstored && self.progress.borrow().lag != Some(0) => {}
                Ok(_) => {
                    unstored = false;
                    self.goes_on();
                }
                Err(error) => {
                    // Whatever it had taken comes again: as soon as it is tried again, not when its lease ends. Unsaid,
                    // that is when it comes.
                    for message in &taken.batch {
                        let _ = message.put_back(PAUSE / 2).await;
                    }
                    taken = Taken::default();
                    unstored |= matches!(error, Error::Store(_));
                    metrics::counter!("windlass_monitor_projection_errors_total").increment(1);
                    let error = format!("{:#}", anyhow::Error::new(error));
                    tracing::warn!(error, "the projection failed, trying again");
                    self.stands_still(error);
                    stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
                }
            }
        }
        // Read, and nobody else's until its lease ends.
        if !taken.batch.is_empty()
            && let Err(error) = self.project(taken.batch).await
        {
            tracing::debug!(%error, "the last batch was not stored; it comes again");
        }
    }

    fn goes_on(&self) {
        self.health.ready(CONDITION);
        self.progress.send_if_modified(|progress| progress.standstill.take().is_some());
    }

    fn stands_still(&self, reason: String) {
        self.health.not_ready(CONDITION, reason.clone());
        self.progress.send_modify(|progress| {
            let since = progress.standstill.as_ref().map_or_else(Timestamp::now, |known| known.since);
            progress.standstill = Some(Standstill { since, reason });
        });
    }

    async fn round(&self, taken: &mut Taken, stop: &CancellationToken) -> Result<Round, Error> {
        if taken.looked_at.is_none_or(|at| at.elapsed() >= LOOK) {
            self.look(stop).await?;
            taken.looked_at = Some(Instant::now());
        }
        let reader = match &mut taken.reader {
            Some(reader) => reader,
            None => taken.reader.insert(EventReader::open(&self.broker).await?),
        };
        let bounds = BatchBounds {
            messages: self.batch_size,
            events: MOST_EVENTS,
            linger: if taken.events < MANY { LINGER } else { LINGER_OF_MANY },
        };
        let batch = std::mem::take(&mut taken.batch);
        taken.events = batch.iter().map(|message| message.events.len()).sum();
        let read = stop.run_until_cancelled(reader.next_batch(bounds, WAIT));
        if batch.is_empty() {
            taken.batch = read.await.transpose()?.unwrap_or_default();
            return Ok(if taken.batch.is_empty() { Round::Quiet } else { Round::Busy });
        }
        let (stored, next) = tokio::join!(self.project(batch), read);
        // What was read must be known before anything is given up, to be put back.
        let next = next.transpose().map(|next| taken.batch = next.unwrap_or_default());
        stored?;
        next?;
        Ok(Round::Busy)
    }

    async fn project(&self, mut batch: Vec<EventMessage>) -> Result<(), Error> {
        hit(Point::BatchRead).await;
        let events: usize = batch.iter().map(|message| message.events.len()).sum();
        let messages: Vec<Message> = batch
            .iter_mut()
            .map(|message| Message {
                sequence: message.sequence,
                events: std::mem::take(&mut message.events),
                progress: std::mem::take(&mut message.progress),
                lines: std::mem::take(&mut message.lines),
            })
            .collect();
        let applied = match self.store.apply(messages).await {
            Ok(applied) => applied,
            Err(error) => {
                for message in &batch {
                    let _ = message.put_back(PAUSE / 2).await;
                }
                return Err(error.into());
            }
        };
        hit(Point::BatchStored).await;
        for message in &batch {
            message.ack().await?;
            for error in &message.malformed {
                if error.is_unknown {
                    self.broker.not_understood("events", error);
                    continue;
                }
                metrics::counter!("windlass_monitor_malformed_events_total").increment(1);
                tracing::warn!(sequence = message.sequence, %error, "an event cannot be read");
            }
        }
        hit(Point::BatchAcked).await;
        self.teller.tell(&applied.jobs);
        applied.ended.iter().for_each(trace::record);
        metrics::counter!("windlass_monitor_events_total").increment(count(applied.changed));
        #[allow(clippy::cast_precision_loss, reason = "a batch has far fewer than 2^52 events")]
        metrics::histogram!("windlass_monitor_batch_events").record(events as f64);
        Ok(())
    }

    /// Compares the stream with what was processed.
    async fn look(&self, stop: &CancellationToken) -> Result<(), Error> {
        // In this order: what another process stores meanwhile is never taken for missing, nor for beyond the end.
        let before = self.store.processed().await?;
        let Some(extent) = stop.run_until_cancelled(events::extent(&self.broker)).await.transpose()? else {
            return Ok(());
        };
        // A stream that ends before what was read of it was restored from an earlier copy.
        let end = if before.last() > extent.last_sequence { extent.last_sequence } else { u64::MAX };
        if self.store.follow(&extent.created, end).await? {
            tracing::warn!(
                created = extent.created,
                "the stream of events was replaced, or restored from a copy"
            );
        }
        // What is gone from the stream, or was acknowledged by somebody else, will never come.
        let end = extent.first_sequence.max(extent.acknowledged_sequence + 1);
        for gap in self.store.record_gaps(end, Timestamp::now()).await? {
            let (first_sequence, last_sequence) = (gap.first_sequence, gap.last_sequence);
            metrics::counter!("windlass_monitor_missing_messages_total")
                .increment(last_sequence - first_sequence + 1);
            tracing::error!(first_sequence, last_sequence, "events were gone before the monitor read them");
        }
        let processed = self.store.processed().await?;
        let lag = extent.last_sequence.saturating_sub(processed.count());
        #[allow(clippy::cast_precision_loss, reason = "a gauge is for people")]
        metrics::gauge!("windlass_monitor_lag_messages").set(lag as f64);
        self.progress.send_modify(|progress| {
            *progress = Progress {
                last_sequence: Some(extent.last_sequence),
                processed_sequence: processed.last(),
                lag: Some(lag),
                checked_at: Some(Timestamp::now()),
                standstill: progress.standstill.take(),
            };
        });
        Ok(())
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
