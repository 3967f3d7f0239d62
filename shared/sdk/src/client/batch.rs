//! Tasks that are accepted all or none.

use std::collections::HashMap;

use opentelemetry::trace::SpanKind;
use windlass_broker::tasks::{self, Together};
use windlass_broker::trace::{self, Hop, Relation, Subject};
use windlass_core::dependency::in_order;
use windlass_core::{InvalidTask, JobId, QueueName};

use super::submission::Prepared;
use super::{Client, Error, Outlet, Submission, Submitted, payload};

/// The most tasks of one batch.
pub const MAX_BATCH: usize = tasks::MOST_TOGETHER;
/// The most that the tasks of one batch have together, in bytes. Payloads that go to Object Store do not count.
pub const MAX_BATCH_BYTES: usize = 32 << 20;

/// Tasks of any queues that are put together, to be accepted all or none.
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before `submit`"]
pub struct Batch {
    client: Client,
    tasks: Vec<Submission>,
}

/// A batch was not accepted: none of its tasks is, unless the error says that this is not known.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// It has too many tasks: nothing was sent.
    #[error("the batch has {count} tasks: expected at most {limit}")]
    TooMany {
        /// How many it has.
        count: usize,
        /// How many it may have.
        limit: usize,
    },
    /// Its tasks are too large together: nothing was sent.
    #[error("the batch has {bytes} bytes with task {index} (from 0): expected at most {limit}")]
    TooLarge {
        /// The first task that is too much, from 0.
        index: usize,
        /// Of the tasks up to this one.
        bytes: usize,
        /// What they may have.
        limit: usize,
    },
    /// A field of a task is not what it must be: nothing was sent.
    #[error("task {index} of the batch (from 0) is not valid")]
    Invalid {
        /// Which, from 0.
        index: usize,
        /// Its field, and why.
        source: InvalidTask,
    },
    /// Two tasks would be the same job: nothing was sent.
    #[error("tasks {first} and {index} of the batch (from 0) have the same id {id} in the queue {queue}")]
    SameId {
        /// The earlier one, from 0.
        first: usize,
        /// The later one.
        index: usize,
        /// Their id.
        id: JobId,
        /// Their queue.
        queue: QueueName,
    },
    /// Tasks wait for each other: nothing was sent.
    #[error("the tasks {} of the batch (from 0) wait for each other", list(.0))]
    Cycle(Vec<usize>),
    /// A task could not be prepared: nothing was published.
    #[error("task {index} of the batch (from 0) cannot be submitted")]
    Task {
        /// Which, from 0.
        index: usize,
        /// Why.
        source: Error,
    },
    /// The broker did not accept it, or it is not known whether it did. Submitting the same batch again is safe.
    #[error("the batch was not accepted")]
    NotAccepted(#[source] tasks::Error),
}

fn list(indices: &[usize]) -> String {
    indices.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

// === impl Client ===

impl Client {
    /// Puts tasks together that are accepted all or none, at most [`MAX_BATCH`].
    pub fn batch(&self) -> Batch {
        Batch { client: self.clone(), tasks: Vec::new() }
    }

    /// Publishes all of these or none.
    pub async fn submit_all(
        &self,
        tasks: impl IntoIterator<Item = Submission>,
    ) -> Result<Vec<Submitted>, BatchError> {
        Batch { client: self.clone(), tasks: tasks.into_iter().collect() }.submit().await
    }
}

// === impl Batch ===

impl Batch {
    /// Adds a task; returns its place, from 0.
    pub fn add(&mut self, task: Submission) -> usize {
        self.tasks.push(task);
        self.tasks.len() - 1
    }

    /// How many tasks it has.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Checks all tasks and publishes them all or none; returns once they are stored, within a bound. Those that others
    /// wait for are stored first. What is returned is in the order of adding; that a task is a duplicate is not known of
    /// batches. A batch that is submitted again, after a time-out, makes no second jobs: the ids of its tasks are made
    /// when they are put together.
    pub async fn submit(self) -> Result<Vec<Submitted>, BatchError> {
        let (count, limit) = (self.tasks.len(), MAX_BATCH);
        if count > limit {
            return Err(BatchError::TooMany { count, limit });
        }
        let mut prepared = Vec::with_capacity(count);
        for (index, task) in self.tasks.into_iter().enumerate() {
            prepared.push(task.prepare().await.map_err(|error| of_task(index, error))?);
        }
        let order = order(&prepared)?;
        let broker = match &self.client.outlet {
            Outlet::Broker(broker) => broker,
            Outlet::Recorder(recorder) => {
                let mut submitted = Vec::with_capacity(count);
                for Prepared { client, queue, mut task, large, .. } in prepared {
                    if let Some(bytes) = large {
                        task.payload = bytes;
                    }
                    let (id, trace_id) = (task.id, String::new());
                    let duplicate = !recorder.record(&client, &queue, task).await;
                    submitted.push(Submitted { id, queue, duplicate, trace_id });
                }
                return Ok(submitted);
            }
        };
        let (mut messages, mut submitted, mut hops) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        for (index, one) in prepared.iter_mut().enumerate() {
            let Prepared { client, queue, pool, task, large, .. } = one;
            let subject = Subject { job_id: task.id, kind: Some(&task.kind), queue, attempt: 0 };
            let hop =
                Hop::start("send", SpanKind::Producer, subject, trace::current(), Relation::Child, None);
            let trace = hop.traceparent();
            if let Some(large) = large.take() {
                let uploading = payload::upload(client, broker, pool, queue, task, large);
                uploading.await.map_err(|source| BatchError::Task { index, source })?;
            }
            let message = Together::new(broker, queue, task, Some(trace)).map_err(|source| {
                BatchError::Task { index, source: Error::NotAccepted { id: task.id, source } }
            })?;
            bytes += message.bytes();
            if bytes > MAX_BATCH_BYTES {
                return Err(BatchError::TooLarge { index, bytes, limit: MAX_BATCH_BYTES });
            }
            let trace_id = trace.trace_id_hex();
            submitted.push(Submitted { id: task.id, queue: queue.clone(), duplicate: false, trace_id });
            messages.push(Some(message));
            hops.push(hop);
        }
        let in_order: Vec<_> = order.into_iter().filter_map(|index| messages[index].take()).collect();
        if !in_order.is_empty()
            && let Err(error) = tasks::publish_all(broker, &in_order, self.client.publish_timeout).await
        {
            for hop in &hops {
                hop.fail("the batch was not accepted");
            }
            return Err(BatchError::NotAccepted(error));
        }
        Ok(submitted)
    }
}

fn of_task(index: usize, error: Error) -> BatchError {
    match error {
        Error::Invalid(source) => BatchError::Invalid { index, source },
        source => BatchError::Task { index, source },
    }
}

/// The places of the tasks, those that others wait for first.
fn order(prepared: &[Prepared]) -> Result<Vec<usize>, BatchError> {
    let mut places: HashMap<(&QueueName, JobId), usize> = HashMap::with_capacity(prepared.len());
    for (index, one) in prepared.iter().enumerate() {
        let id = one.task.id;
        if let Some(first) = places.insert((&one.queue, id), index) {
            return Err(BatchError::SameId { first, index, id, queue: one.queue.clone() });
        }
    }
    let edges = |index: usize| {
        let one = &prepared[index];
        let after = one.task.after.iter().map(|other| (other.queue_or(&one.queue), other.job_id));
        after.filter_map(|place| places.get(&place).copied()).collect()
    };
    in_order(prepared.len(), edges).map_err(BatchError::Cycle)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::testing::Bench;

    fn task(client: &Client) -> Submission {
        client.raw("a.b", Bytes::from_static(b"1"), "application/json")
    }

    #[tokio::test]
    async fn what_is_wrong_is_named_by_its_place() {
        let bench = Bench::new(crate::Handlers::new());
        let client = bench.client();
        let many = (0..=MAX_BATCH).map(|_| task(&client));
        let error = client.submit_all(many).await.unwrap_err();
        assert!(matches!(error, BatchError::TooMany { count: 1001, limit: 1000 }), "{error}");
        let mut batch = client.batch();
        batch.add(task(&client));
        batch.add(task(&client).priority(crate::Priority::High).queue("a.b"));
        let error = batch.submit().await.unwrap_err();
        assert!(
            matches!(&error, BatchError::Invalid { index: 1, source } if source.field == "queue"),
            "{error}"
        );
        let one = task(&client);
        let error = client.submit_all([one.clone(), one]).await.unwrap_err();
        assert!(matches!(error, BatchError::SameId { first: 0, index: 1, .. }), "{error}");
    }

    #[tokio::test]
    async fn those_that_are_waited_for_come_first_and_nobody_waits_in_a_circle() {
        let bench = Bench::new(crate::Handlers::new());
        let client = bench.client();
        let (a, b) = (task(&client), task(&client));
        let b = b.after(&a);
        let order_of = async |tasks: [Submission; 2]| {
            let mut prepared = Vec::new();
            for task in tasks {
                prepared.push(task.prepare().await.unwrap());
            }
            order(&prepared)
        };
        assert_eq!(order_of([b.clone(), a.clone()]).await.unwrap(), [1, 0]);
        assert_eq!(order_of([a.clone(), b.clone()]).await.unwrap(), [0, 1]);
        let a = a.after(&b);
        assert!(matches!(order_of([a, b]).await, Err(BatchError::Cycle(stuck)) if stuck.len() == 2));
    }
}
