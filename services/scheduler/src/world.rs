//! The broker, as a fire needs it.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use opentelemetry::trace::SpanKind;
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::Instant;
use windlass_broker::Broker;
use windlass_broker::kv::{self, Bucket};
use windlass_broker::tasks::{self, Id};
use windlass_broker::trace::{Hop, Relation, Subject};
use windlass_core::ScheduleId;
use windlass_core::schedule::{Cursor, Schedule};
use windlass_proto::v1;

use crate::fire::{Failure, World};
use crate::{measure, store};

/// For one task, with the tries in it: longer than the broker needs to choose a new leader.
const PUBLISH_WAIT: Duration = Duration::from_secs(12);

/// A leader's view of the broker: it writes only while the lease lasts.
#[derive(Debug)]
pub(crate) struct LeaderWorld {
    broker: Broker,
    cursors: Bucket,
    leads_until: watch::Receiver<Instant>,
}

// === impl LeaderWorld ===

impl LeaderWorld {
    pub(crate) fn new(broker: Broker, leads_until: watch::Receiver<Instant>) -> Self {
        let cursors = broker.bucket(broker.names().cursors_bucket());
        Self { broker, cursors, leads_until }
    }

    /// A process that was stopped and goes on must not write what was next before it looks at its lease.
    fn check_lease(&self) -> Result<(), Failure> {
        if Instant::now() < *self.leads_until.borrow() { Ok(()) } else { Err(Failure::NotLeading) }
    }
}

impl World for LeaderWorld {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn load(&self, id: &ScheduleId) -> Result<Option<(Cursor, u64)>, Failure> {
        let Some(entry) = self.cursors.get(id.as_str()).await.map_err(Failure::Cursor)? else {
            return Ok(None);
        };
        let cursor = store::decode_cursor(entry.value).map_err(Failure::Malformed)?;
        Ok(Some((cursor, entry.revision)))
    }

    async fn save(&self, id: &ScheduleId, cursor: &Cursor, revision: Option<u64>) -> Result<u64, Failure> {
        self.check_lease()?;
        let value = v1::Cursor::from(cursor).encode_to_vec().into();
        let saved = match revision {
            Some(revision) => self.cursors.update(id.as_str(), value, revision, None).await,
            None => self.cursors.create(id.as_str(), value, None).await,
        };
        saved.map_err(|error| match error {
            kv::Error::Conflict(_) => Failure::Conflict,
            error => Failure::Cursor(error),
        })
    }

    async fn publish(&self, schedule: &Schedule<Bytes>, instant: Timestamp) -> Result<(), Failure> {
        self.check_lease()?;
        let task = schedule.task_at(instant);
        let subject = Subject { job_id: task.id, kind: Some(&task.kind), queue: &schedule.queue, attempt: 0 };
        // Each fire is a trace of its own, whether or not it is recorded here.
        let hop = Hop::start("send", SpanKind::Producer, subject, None, Relation::Child, None);
        hop.set("windlass.schedule.id", schedule.id.to_string());
        hop.set("windlass.schedule.instant", instant.to_string());
        let trace = hop.traceparent();
        let published =
            tasks::publish(&self.broker, &schedule.queue, (Id::Given, &task), Some(trace), PUBLISH_WAIT)
                .await;
        match published {
            Ok(published) => {
                let lateness = Duration::try_from(self.now().duration_since(instant)).unwrap_or_default();
                measure::fired(lateness);
                tracing::info!(
                    schedule = %schedule.id,
                    %instant,
                    job_id = %task.id,
                    trace_id = trace.trace_id_hex(),
                    duplicate = published.duplicate,
                    lateness_ms = u64::try_from(lateness.as_millis()).unwrap_or(u64::MAX),
                    "a schedule fired"
                );
                hop.end();
                Ok(())
            }
            Err(error) => {
                hop.fail(&error.to_string());
                Err(Failure::Publish(error))
            }
        }
    }

    fn forget(&self, id: &ScheduleId) {
        let (cursors, id) = (self.cursors.clone(), id.clone());
        tokio::spawn(async move {
            let removed = match cursors.get(id.as_str()).await {
                Ok(Some(entry)) => cursors.delete_revision(id.as_str(), entry.revision).await,
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = removed {
                tracing::debug!(schedule = %id, %error, "the cursor of a removed schedule stays");
            }
        });
    }

    fn missed(&self, schedule: &Schedule<Bytes>, count: u64) {
        if count > 0 {
            measure::missed(count);
            tracing::warn!(schedule = %schedule.id, count, "instants of a schedule were missed");
        }
    }
}
