//! A task in the making.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use opentelemetry::trace::SpanKind;
use windlass_broker::trace::{Hop, Relation, Subject};
use windlass_broker::{tasks, trace};
use windlass_core::dependency::{self, Dependency, OnFailure};
use windlass_core::labels::Label;
use windlass_core::{InvalidTask, JobId, PoolName, Priority, QueueName, RetryPolicy, Start, Task};

use super::unique::{self, Aggregate, Unique};
use super::{Client, Error, Outlet, Submitted, payload};

/// A task that is being put together; nothing is sent before [`Submission::submit`].
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before `submit`"]
pub struct Submission {
    pub(super) client: Client,
    pub(super) queue: Result<QueueName, InvalidTask>,
    pub(super) pool: PoolName,
    pub(super) task: Result<Task<Bytes>, InvalidTask>,
    pub(super) id: tasks::Id,
}

/// A task that can be sent.
pub(super) struct Prepared {
    pub(super) client: Client,
    pub(super) queue: QueueName,
    pub(super) pool: PoolName,
    pub(super) task: Task<Bytes>,
    pub(super) id: tasks::Id,
    /// Of its payload, what goes to Object Store.
    pub(super) large: Option<Bytes>,
}

/// What a job can wait for: see [`Submission::after`].
pub trait Prerequisite {
    /// The job, with the default policy.
    fn dependency(&self) -> Result<Dependency, InvalidTask>;
}

impl Prerequisite for Submitted {
    fn dependency(&self) -> Result<Dependency, InvalidTask> {
        Ok(Dependency::new(self.queue.clone(), self.id))
    }
}

impl Prerequisite for Submission {
    fn dependency(&self) -> Result<Dependency, InvalidTask> {
        Ok(Dependency::new(self.queue.clone()?, self.job_id()?))
    }
}

impl Prerequisite for Dependency {
    fn dependency(&self) -> Result<Dependency, InvalidTask> {
        Ok(self.clone())
    }
}

// === impl Submission ===

impl Submission {
    pub(super) fn with(mut self, change: impl FnOnce(&mut Task<Bytes>) -> Result<(), InvalidTask>) -> Self {
        if let Ok(task) = &mut self.task
            && let Err(error) = change(task)
        {
            self.task = Err(error);
        }
        self
    }

    /// Another queue than `default`.
    pub fn queue(mut self, queue: &str) -> Self {
        self.queue = queue.parse().map_err(|e| InvalidTask::new("queue", e));
        self
    }

    /// Another pool than `default` serves the queue: large payloads go where its workers read them.
    pub fn pool(mut self, pool: PoolName) -> Self {
        self.pool = pool;
        self
    }

    /// Under an id of the caller's, so that submitting again makes no second job.
    pub fn id(mut self, id: JobId) -> Self {
        self.id = tasks::Id::Given;
        self.with(|task| {
            task.id = id;
            Ok(())
        })
    }

    /// As urgent as this.
    pub fn priority(self, priority: Priority) -> Self {
        self.with(|task| {
            task.priority = priority;
            Ok(())
        })
    }

    /// Not before this long after its acceptance.
    pub fn delay(self, delay: Duration) -> Self {
        self.with(|task| {
            task.start = Start::After(delay);
            Ok(())
        })
    }

    /// Not before this instant.
    pub fn run_at(self, at: Timestamp) -> Self {
        self.with(|task| {
            task.start = Start::At(at);
            Ok(())
        })
    }

    /// With a retry policy of its own.
    pub fn retry(self, policy: RetryPolicy) -> Self {
        self.with(|task| {
            task.retry = Some(policy);
            Ok(())
        })
    }

    /// Failed attempts allowed, the first one included.
    pub fn max_attempts(self, max_attempts: u32) -> Self {
        self.with(|task| {
            let policy = task.retry.take().unwrap_or_default().with_max_attempts(max_attempts);
            task.retry = Some(policy.map_err(|e| InvalidTask::new("max_attempts", e))?);
            Ok(())
        })
    }

    /// Time allowed for one attempt.
    pub fn attempt_timeout(self, timeout: Duration) -> Self {
        self.with(|task| {
            task.attempt_timeout = Some(timeout);
            Ok(())
        })
    }

    /// Time allowed to wait for the first attempt, from the instant at which the task may start: past it the job ends
    /// as expired.
    pub fn max_wait(self, max_wait: Duration) -> Self {
        self.with(|task| {
            task.max_wait = Some(max_wait);
            Ok(())
        })
    }

    /// What limits, orders and rates by key count it under: 1 to 256 bytes.
    pub fn key(self, key: &str) -> Self {
        self.with(|task| {
            task.key = Some(key.parse().map_err(|e| InvalidTask::new("key", e))?);
            Ok(())
        })
    }

    /// What it costs where its queue or its key has a rate: 1 unless set, at most 1,000,000.
    pub fn points(self, points: u32) -> Self {
        self.with(|task| {
            task.points = points;
            Ok(())
        })
    }

    /// Whom it is for: among tenants the queue's turns are shared out, where its settings say so. 1 to 256 bytes.
    pub fn tenant(self, tenant: &str) -> Self {
        self.with(|task| {
            task.tenant = Some(tenant.parse().map_err(|e| InvalidTask::new("tenant", e))?);
            Ok(())
        })
    }

    /// What it says of itself, for people to find its job by; nothing is decided by it. At most 16; a name of 1 to 64
    /// letters, digits, `_`, `-` and `.`, a value of 1 to 128 bytes without commas.
    pub fn label(self, name: &str, value: &str) -> Self {
        self.with(|task| {
            let label = Label::new(name, value).and_then(|label| task.labels.add(label));
            label.map_err(|error| InvalidTask::new("labels", error))
        })
    }

    /// One job of its key at a time, see [`Unique`].
    pub fn unique(self, unique: Unique) -> Self {
        self.with(|task| {
            unique.apply(task)?;
            Ok(())
        })
    }

    /// One job with others of its key and kind, whose payload is the list of theirs; see [`Aggregate`].
    pub fn aggregate(self, aggregate: Aggregate) -> Self {
        self.with(|task| {
            task.aggregate = Some(Box::new(aggregate.check()?));
            Ok(())
        })
    }

    /// A child of the job whose handler submits it, which goes on when that job is cancelled. Without a parent, nothing.
    pub fn detached(self) -> Self {
        self.with(|task| {
            if let Some(parent) = &mut task.parent {
                parent.detached = true;
            }
            Ok(())
        })
    }

    /// Waits for the end of another job: one that was submitted, or that will be in the same batch. What follows if that
    /// one does not succeed says [`Submission::on_failure`]; unless it is said, the job is dead. May be given up to 1000
    /// times. The other is to be in a queue of the same pool.
    pub fn after(self, other: &impl Prerequisite) -> Self {
        let dependency = other.dependency();
        self.with(|task| {
            task.after.push(dependency?);
            Ok(())
        })
    }

    /// What follows if the job that was named last by [`Submission::after`] does not succeed.
    pub fn on_failure(self, policy: OnFailure) -> Self {
        self.with(|task| {
            let last = task.after.last_mut();
            last.ok_or_else(|| InvalidTask::new("after", "is not given: expected before a policy"))?
                .on_failure = policy;
            Ok(())
        })
    }

    /// The id of the job to be.
    pub fn job_id(&self) -> Result<JobId, InvalidTask> {
        self.task.as_ref().map(|task| task.id).map_err(Clone::clone)
    }

    /// As [`Submission::submit`], and waits until a dispatcher has admitted the task, for at most this long. If it gets no
    /// job of its own, because its unique key is held or because it was merged into another, [`Error::NoJob`] names that
    /// one. It takes the rights of [`Client::wait`].
    pub async fn submit_admitted(self, timeout: Duration) -> Result<Submitted, Error> {
        let (client, pool) = (self.client.clone(), self.pool.clone());
        let submitted = self.submit().await?;
        client.admitted(&pool, &submitted.queue, submitted.id, timeout).await?;
        Ok(submitted)
    }

    /// Checks the task, and encodes its payload; what is too large for the task is returned beside it.
    pub(super) async fn prepare(self) -> Result<Prepared, Error> {
        let (queue, mut task, client) = (self.queue?, self.task?, self.client);
        payload::check(&client, &task)?;
        // Of the payload as it is: the dispatchers see what is sent.
        unique::resolve(&mut task)?;
        let large = payload::encode(&client, &mut task).await?;
        unique::check_encoded(&task, large.as_deref())?;
        client.limits.check(&task, Timestamp::now())?;
        dependency::check(&queue, task.id, &task.after)?;
        Ok(Prepared { client, queue, pool: self.pool, task, id: self.id, large })
    }

    /// Checks the task and publishes it; returns once it is stored, within a bound.
    pub async fn submit(self) -> Result<Submitted, Error> {
        let Prepared { client, queue, pool, mut task, id, large } = self.prepare().await?;
        let hop = Hop::start(
            "send",
            SpanKind::Producer,
            Subject { job_id: task.id, kind: Some(&task.kind), queue: &queue, attempt: 0 },
            trace::current(),
            Relation::Child,
            None,
        );
        let trace = hop.traceparent();
        let broker = match &client.outlet {
            Outlet::Broker(broker) => broker,
            Outlet::Recorder(recorder) => {
                let (id, trace_id) = (task.id, trace.trace_id_hex());
                if let Some(bytes) = large {
                    task.payload = bytes;
                }
                let duplicate = !recorder.record(&client, &queue, task).await;
                return Ok(Submitted { id, queue, duplicate, trace_id });
            }
        };
        if let Some(bytes) = large {
            payload::upload(&client, broker, &pool, &queue, &mut task, bytes)
                .await
                .inspect_err(|_| hop.fail("the payload was not stored"))?;
        }
        let published = tasks::publish(broker, &queue, (id, &task), Some(trace), client.publish_timeout)
            .await
            .map_err(|source| {
                hop.fail("the task was not accepted");
                Error::NotAccepted { id: task.id, source }
            })?;
        Ok(Submitted { id: task.id, queue, duplicate: published.duplicate, trace_id: trace.trace_id_hex() })
    }
}
