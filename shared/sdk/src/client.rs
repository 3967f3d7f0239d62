//! Publishing tasks, and waiting for their ends.

mod batch;
mod bulk;
mod ended;
pub(crate) mod payload;
mod submission;
mod unique;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use windlass_broker::jobs::{self, Jobs};
use windlass_broker::{Broker, Options, connect, objects, tasks};
use windlass_core::task::Parent;
use windlass_core::unique::Instead;
use windlass_core::{InvalidTask, JobId, JobState, Kind, Limits, PoolName, QueueName, Task};

pub use self::batch::{Batch, BatchError, MAX_BATCH, MAX_BATCH_BYTES};
pub use self::bulk::{Bulk, Outcome, place_in};
pub use self::ended::Ended;
pub use self::payload::Payloads;
pub use self::submission::{Prerequisite, Submission};
pub use self::unique::{Aggregate, Unique};
use crate::Job;
use crate::codec::{self, Codec};
use crate::testing::Recorder;

/// Results that are larger are not fetched.
const MAX_RESULT_BYTES: usize = 64 * 1024 * 1024;

/// Publishes tasks. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Client {
    outlet: Outlet,
    limits: Limits,
    publish_timeout: Duration,
    codec: Codec,
    payloads: Payloads,
    max_result_bytes: usize,
    /// The job whose handler submits through this client.
    parent: Option<Parent>,
}

/// Where tasks go.
#[derive(Debug, Clone)]
enum Outlet {
    Broker(Broker),
    /// Of a test without a broker.
    Recorder(Arc<Recorder>),
}

/// A task that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Its job.
    pub id: JobId,
    /// Where it waits.
    pub queue: QueueName,
    /// A task of this id was accepted a moment ago: this is the same job.
    pub duplicate: bool,
    /// 32 hexadecimal digits.
    pub trace_id: String,
}

/// A task was not accepted, or a job not found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection.
    #[error("cannot reach the broker")]
    Connect(#[source] connect::Error),
    /// A field is not what it must be: nothing was sent.
    #[error("the task is not valid")]
    Invalid(#[from] InvalidTask),
    /// It was not accepted, or it is not known whether it was. Submitting it again under its id is safe.
    #[error("the task {id} was not accepted")]
    NotAccepted {
        /// Its job's.
        id: JobId,
        /// Why.
        source: tasks::Error,
    },
    /// Its payload was not stored: nothing was published.
    #[error("the payload of the task {id} was not stored")]
    NotStored {
        /// Its job's.
        id: JobId,
        /// Why.
        source: objects::Error,
    },
    /// Its payload cannot be compressed or sealed: nothing was sent.
    #[error("the payload of the task {id} cannot be encoded")]
    Codec {
        /// Its job's.
        id: JobId,
        /// Why.
        source: codec::Error,
    },
    /// It has no job of its own, or its job was ended for another's: wait for that one.
    #[error("the task {id} has no job: {} {other}", instead.words())]
    NoJob {
        /// The task's.
        id: JobId,
        /// Why.
        instead: Instead,
        /// The job that has its unique key, stands for it as well, or was made in its place.
        other: JobId,
    },
    /// No dispatcher has admitted it in time; it is stored, and will be.
    #[error("the task {id} was not admitted within {} s", waited.as_secs_f64())]
    NotAdmitted {
        /// Its job's.
        id: JobId,
        /// For how long.
        waited: Duration,
    },
    /// The job did not end in time.
    #[error("job {id} did not end within {} s", waited.as_secs_f64())]
    TimedOut {
        /// Which.
        id: JobId,
        /// For how long.
        waited: Duration,
    },
    /// The job has ended, but its result cannot be fetched.
    #[error("job {id} is {state}, but its result cannot be read")]
    ResultGone {
        /// Which.
        id: JobId,
        /// How it ended.
        state: JobState,
        /// Why.
        source: objects::Error,
    },
    /// The job has ended, but its result cannot be opened.
    #[error("job {id} is {state}, but its result cannot be opened")]
    ResultSealed {
        /// Which.
        id: JobId,
        /// How it ended.
        state: JobState,
        /// Why.
        source: codec::Error,
    },
    /// The job has ended, but its result is not taken into memory.
    #[error("job {id} is {state}, but its result has {bytes} bytes: expected at most {limit}")]
    ResultTooLarge {
        /// Which.
        id: JobId,
        /// How it ended.
        state: JobState,
        /// Of the result, as stored.
        bytes: u64,
        /// What is taken.
        limit: usize,
    },
    /// The job cannot be read.
    #[error("job {id} cannot be read")]
    Read {
        /// Which.
        id: JobId,
        /// Why.
        source: jobs::Error,
    },
}

// === impl Client ===

impl Client {
    /// Connects to the broker at an address, as `nats://127.0.0.1:4222`.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::connect_with(Options::new(url)).await
    }

    /// Connects with credentials, or in another namespace.
    pub async fn connect_with(options: Options) -> Result<Self, Error> {
        Ok(Self::new(Broker::connect(options).await.map_err(Error::Connect)?))
    }

    /// Uses a connection that exists.
    pub fn new(broker: Broker) -> Self {
        Self::through(Outlet::Broker(broker))
    }

    /// Submits to a test.
    pub(crate) fn recording(recorder: Arc<Recorder>) -> Self {
        Self::through(Outlet::Recorder(recorder))
    }

    fn through(outlet: Outlet) -> Self {
        Self {
            outlet,
            limits: Limits::default(),
            publish_timeout: Duration::from_secs(15),
            codec: Codec::default(),
            payloads: Payloads::default(),
            max_result_bytes: MAX_RESULT_BYTES,
            parent: None,
        }
    }

    /// The connection; none for a client of `windlass::testing`.
    pub fn broker(&self) -> Option<&Broker> {
        match &self.outlet {
            Outlet::Broker(broker) => Some(broker),
            Outlet::Recorder(_) => None,
        }
    }

    /// With other limits than the defaults; those of the dispatcher decide in the end.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// For the handler of a job: what it submits is a child of that job.
    pub(crate) fn with_parent(&self, queue: QueueName, job_id: JobId) -> Self {
        Self { parent: Some(Parent { queue, job_id, detached: false }), ..self.clone() }
    }

    /// Compresses and seals payloads, and opens results, as workers with the same keys do.
    #[must_use]
    pub fn with_codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// With other bounds on payloads than the defaults.
    #[must_use]
    pub fn with_payloads(mut self, payloads: Payloads) -> Self {
        self.payloads = payloads;
        self
    }

    /// A task of this payload.
    pub fn task<J: Job>(&self, job: &J) -> Submission {
        match serde_json::to_vec(job) {
            Ok(payload) => self.raw(J::KIND, payload.into(), "application/json"),
            Err(error) => Submission {
                client: self.clone(),
                queue: Ok(QueueName::default()),
                pool: PoolName::default(),
                task: Err(InvalidTask::new("payload", format!("cannot be written as JSON: {error}"))),
                id: tasks::Id::New,
            },
        }
    }

    /// A task of any kind and any bytes.
    pub fn raw(&self, kind: &str, payload: Bytes, content_type: &str) -> Submission {
        let task = kind.parse::<Kind>().map_err(|e| InvalidTask::new("kind", e)).map(|kind| Task {
            content_type: content_type.to_owned(),
            parent: self.parent.clone(),
            ..Task::new(JobId::from_parts(Timestamp::now(), rand::random()), kind, payload)
        });
        Submission {
            client: self.clone(),
            queue: Ok(QueueName::default()),
            pool: PoolName::default(),
            task,
            id: tasks::Id::New,
        }
    }

    /// Publishes a payload with default options.
    pub async fn submit<J: Job>(&self, job: &J) -> Result<Submitted, Error> {
        self.task(job).submit().await
    }

    /// Waits until a task of this id has a job, or has ended without one; which is told by [`Error::NoJob`].
    ///
    /// Of a task that is not valid nothing is told here: it is a dead letter, and [`Error::NotAdmitted`] follows.
    pub(super) async fn admitted(
        &self,
        pool: &PoolName,
        queue: &QueueName,
        id: JobId,
        timeout: Duration,
    ) -> Result<(), Error> {
        let Outlet::Broker(broker) = &self.outlet else { return Ok(()) };
        let jobs = Jobs::new(broker, pool.clone());
        match timeout_at(Instant::now() + timeout, jobs.wait_known(queue, id, timeout)).await {
            Ok(Ok(Some(seen))) => match seen.done {
                Some(done) => match ended::instead(&done) {
                    Some((instead, other)) => Err(Error::NoJob { id, instead, other }),
                    None => Ok(()),
                },
                None => Ok(()),
            },
            Ok(Err(source)) => Err(Error::Read { id, source }),
            Ok(Ok(None)) | Err(_) => Err(Error::NotAdmitted { id, waited: timeout }),
        }
    }

    /// Waits for a job's end, also one that came before this call, as long as its record is kept (the horizon). Never
    /// longer than `timeout`, whatever the broker does: looking the job up and fetching its result are part of it.
    pub async fn wait(&self, queue: &QueueName, id: JobId, timeout: Duration) -> Result<Ended, Error> {
        self.wait_in(&PoolName::default(), queue, id, timeout).await
    }

    /// As [`Client::wait`], for a queue of another pool.
    pub async fn wait_in(
        &self,
        pool: &PoolName,
        queue: &QueueName,
        id: JobId,
        timeout: Duration,
    ) -> Result<Ended, Error> {
        let broker = match &self.outlet {
            Outlet::Broker(broker) => broker,
            Outlet::Recorder(recorder) => {
                return recorder.ended(queue, id).ok_or(Error::TimedOut { id, waited: Duration::ZERO });
            }
        };
        let deadline = Instant::now() + timeout;
        let waiting = async {
            let done = Jobs::new(broker, pool.clone())
                .wait_done(queue, id, timeout)
                .await
                .map_err(|source| Error::Read { id, source })?;
            match done {
                Some(done) => ended::read(self, broker, pool, id, done, deadline).await,
                None => Err(Error::TimedOut { id, waited: timeout }),
            }
        };
        // Single calls to the broker have bounds of their own, and some are longer than what is left.
        timeout_at(deadline, waiting).await.unwrap_or(Err(Error::TimedOut { id, waited: timeout }))
    }
}

/// The JSON text of a value, as handlers return it.
pub fn to_json<T: Serialize>(value: &T) -> Result<Bytes, serde_json::Error> {
    serde_json::to_vec(value).map(Bytes::from)
}
