//! The broker, as a fire needs it.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use opentelemetry::trace::SpanKind;
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::Instant;
use windlass_broker::Broker;
use windlass_broker::ahead::Mark;
use windlass_broker::commands::{self, Command, Verb};
use windlass_broker::jobs::Jobs;
use windlass_broker::kv::{self, Bucket};
use windlass_broker::provision::Layout;
use windlass_broker::tasks::{self, Id};
use windlass_broker::trace::{Hop, Relation, Subject};
use windlass_core::schedule::{Cause, Cursor, Fate, Fire, Followed, Pause, Schedule};
use windlass_core::{JobId, JobState, ScheduleId};
use windlass_proto::v1;
use windlass_schedules::ScheduleStore;
use windlass_schedules::store::{self, Author};

use crate::fire::{AHEAD, Failure, World};
use crate::measure;
use crate::misfires::Misfires;

/// For one task, with the tries in it: longer than the broker needs to choose a new leader.
const PUBLISH_WAIT: Duration = Duration::from_secs(12);

/// A leader's view of the broker: it writes only while the lease lasts.
#[derive(Debug)]
pub(crate) struct LeaderWorld {
    broker: Broker,
    cursors: Bucket,
    store: ScheduleStore,
    layout: Layout,
    leads_until: watch::Receiver<Instant>,
    pub(crate) misfires: Misfires,
}

// === impl LeaderWorld ===

impl LeaderWorld {
    pub(crate) fn new(broker: Broker, layout: Layout, leads_until: watch::Receiver<Instant>) -> Self {
        let cursors = broker.bucket(broker.names().cursors_bucket());
        let store = ScheduleStore::new(&broker);
        Self { broker, cursors, store, layout, leads_until, misfires: Misfires::default() }
    }

    /// By the job's records; of one that has none, by whether its task is still to be admitted.
    async fn fate(&self, schedule: &Schedule<Bytes>, job: &Followed) -> Result<Fate, Failure> {
        let jobs = Jobs::new(&self.broker, self.layout.pool_of(&schedule.queue));
        // In this order: a task is gone only after its job was made.
        let is_task = job.task_sequence > 0
            && tasks::stands(&self.broker, job.task_sequence).await.map_err(Failure::Broker)?;
        let seen = jobs.read(&schedule.queue, job.job_id).await.map_err(Failure::Jobs)?;
        // One that was admitted ahead of its delivery stands on, though its job may have ended and be forgotten.
        let is_task = is_task
            && (seen.last.is_some()
                || jobs.marked(&schedule.queue, job.task_sequence).await.map_err(Failure::Broker)?
                    != Some(Mark::Taken));
        Ok(match (&seen.done, &seen.last) {
            (Some(done), _) if matches!(done.state, JobState::Dead | JobState::Expired) => Fate::Failed,
            (None, Some(_)) => Fate::Live,
            (None, None) if is_task => Fate::Live,
            (Some(_), _) | (None, None) => Fate::Ended,
        })
    }

    /// A process that was stopped and goes on must not write what was next before it looks at its lease.
    fn check_lease(&self) -> Result<(), Failure> {
        if Instant::now() < *self.leads_until.borrow() { Ok(()) } else { Err(Failure::NotLeading) }
    }
}

impl World for LeaderWorld {
    /// The broker's time: that of this machine may be wrong, or be set. No more than it shows, so that nothing fires early.
    fn now(&self) -> Timestamp {
        self.broker.now_at_least()
    }

    async fn until(&self, at: Timestamp) {
        let left = Duration::try_from(at.duration_since(self.now())).unwrap_or_default();
        if !left.is_zero() {
            tokio::time::sleep(left.min(AHEAD)).await;
        }
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

    async fn publish(&self, schedule: &Schedule<Bytes>, fire: &Fire) -> Result<u64, Failure> {
        self.check_lease()?;
        let (instant, task) = (fire.instant, schedule.task_of(fire.job_id));
        let subject = Subject { job_id: task.id, kind: Some(&task.kind), queue: &schedule.queue, attempt: 0 };
        // Each fire is a trace of its own, whether or not it is recorded here, and names the last change of the schedule.
        let change = schedule.edits.last().and_then(|edit| edit.trace);
        let hop = Hop::start("send", SpanKind::Producer, subject, change, Relation::Link, None);
        hop.set("windlass.schedule.id", schedule.id.to_string());
        hop.set("windlass.schedule.instant", instant.to_string());
        hop.set("windlass.schedule.cause", fire.cause.as_str());
        let trace = hop.traceparent();
        // Only a policy that looks at the job before asks where its task stands; without that, tasks go together.
        let id =
            if schedule.policy.follows_jobs() || fire.cause != Cause::Rule { Id::Given } else { Id::New };
        let published =
            tasks::publish(&self.broker, &schedule.queue, (id, &task), Some(trace), PUBLISH_WAIT).await;
        match published {
            Ok(published) => {
                let lateness = Duration::try_from(self.now().duration_since(fire.due_at)).unwrap_or_default();
                measure::fired(lateness);
                tracing::info!(
                    schedule = %schedule.id,
                    %instant,
                    cause = fire.cause.as_str(),
                    job_id = %task.id,
                    trace_id = trace.trace_id_hex(),
                    lateness_ms = u64::try_from(lateness.as_millis()).unwrap_or(u64::MAX),
                    "a schedule fired"
                );
                hop.end();
                Ok(published.sequence.unwrap_or_default())
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

    async fn fates(
        &self,
        schedule: &Schedule<Bytes>,
        cursor: &Cursor,
    ) -> Result<HashMap<JobId, Fate>, Failure> {
        let mut fates = HashMap::new();
        for job in cursor.unknown() {
            fates.insert(job.job_id, self.fate(schedule, job).await?);
        }
        Ok(fates)
    }

    async fn cancel(&self, schedule: &Schedule<Bytes>, job_id: JobId) -> Result<(), Failure> {
        self.check_lease()?;
        let command = Command {
            queue: &schedule.queue,
            verb: Verb::Cancel,
            job_id,
            reason: "the next instant of its schedule has come",
            requested_by: &format!("schedule {}", schedule.id),
            dead_at: None,
        };
        commands::publish(&self.broker, command).await.map(|_| ()).map_err(Failure::Broker)
    }

    async fn pause(&self, schedule: &Schedule<Bytes>, failed: JobId) -> Result<(), Failure> {
        self.check_lease()?;
        let pause = Pause { note: format!("job {failed} failed"), until: None };
        let by = "windlass-scheduler".to_owned();
        let by = Author { by, at: self.now(), trace: None, reason: String::new() };
        let paused = self.store.pause(&schedule.id, None, pause, &by).await;
        match paused {
            // It is gone: there is nothing to pause.
            Ok(_) | Err(store::Error::None(_)) => {
                tracing::warn!(schedule = %schedule.id, job_id = %failed, "a schedule is paused: its job failed");
                Ok(())
            }
            Err(error) => Err(Failure::Pause(Box::new(error))),
        }
    }

    fn missed(&self, schedule: &Schedule<Bytes>, missed: u64, skipped: u64) {
        if missed > 0 {
            measure::missed(missed);
            self.misfires.add(&schedule.id, missed, self.now());
            tracing::warn!(schedule = %schedule.id, count = missed, "instants of a schedule were missed");
        }
        if skipped > 0 {
            measure::skipped(skipped);
            tracing::info!(
                schedule = %schedule.id,
                count = skipped,
                "instants of a schedule were passed over: a job is live"
            );
        }
    }
}
