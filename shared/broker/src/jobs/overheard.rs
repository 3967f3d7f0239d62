//! Jobs as they are written, for whoever needs no more than a hint: and for tests and tools.

use async_nats::Subscriber;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{SelectAll, select_all};
use jiff::Timestamp;
use windlass_core::{QueueName, RecordKind, Task};
use windlass_proto::{Job, RecordBody};

use super::{Address, End, Jobs};
use crate::connect;
use crate::names::FlowSubject;
use crate::publish::header;

/// What is written to a pool's stream of jobs, heard by a plain subscription: a write that is refused is heard as well,
/// and what is written while this connection is lost is not.
#[derive(Debug)]
pub struct Overheard {
    jobs: Jobs,
    arriving: SelectAll<Subscriber>,
}

/// Ends of jobs as they are written, heard in the same way.
#[derive(Debug)]
pub struct HeardEnds {
    jobs: Jobs,
    arriving: Subscriber,
}

/// What comes for a queue's owner, as it is written, heard in the same way. What a timer makes due is not heard.
#[derive(Debug)]
pub struct HeardDue {
    jobs: Jobs,
    arriving: Subscriber,
}

/// One of that.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one at a time, and never kept")]
pub enum Due {
    /// A job that becomes due.
    Job(Address, Job),
    /// Something was given back, or nothing is to start for a while.
    Notice,
}

// === impl HeardDue ===

impl HeardDue {
    /// Listens from now on.
    pub async fn listen(jobs: &Jobs, queue: &QueueName) -> Result<Self, connect::Error> {
        let subject = jobs.broker.names().queue_filter(&jobs.pool, queue, RecordKind::Due);
        let arriving = jobs.broker.client().subscribe(subject).await.map_err(|_| connect::Error::Closed)?;
        Ok(Self { jobs: jobs.clone(), arriving })
    }

    /// The next one; none at the end of the connection.
    pub async fn next(&mut self) -> Option<Due> {
        let names = self.jobs.broker.names();
        loop {
            let message = self.arriving.next().await?;
            if matches!(names.parse_flow_subject(&message.subject), Some(FlowSubject::Notice(..))) {
                return Some(Due::Notice);
            }
            // One that is withdrawn.
            if message.headers.as_ref().is_some_and(|headers| headers.get(header::SCHEDULE).is_some()) {
                continue;
            }
            let subject = names.parse_job_subject(&message.subject);
            if let (Some(subject), Ok(job)) = (subject, Job::decode(message.payload)) {
                let (queue, priority, job_id) = (subject.queue, subject.priority, subject.job_id);
                return Some(Due::Job(Address { queue, priority, job_id }, job));
            }
        }
    }
}

// === impl HeardEnds ===

impl HeardEnds {
    /// Listens from now on.
    pub async fn listen(jobs: &Jobs) -> Result<Self, connect::Error> {
        let subject = jobs.broker.names().pool_filter(&jobs.pool, RecordKind::Done);
        let arriving = jobs.broker.client().subscribe(subject).await.map_err(|_| connect::Error::Closed)?;
        jobs.broker.client().flush().await.map_err(|_| connect::Error::Closed)?;
        Ok(Self { jobs: jobs.clone(), arriving })
    }

    /// The next one, with the instant of its hearing; none at the end of the connection.
    pub async fn next(&mut self) -> Option<End> {
        loop {
            let message = self.arriving.next().await?;
            let subject = self.jobs.broker.names().parse_job_subject(&message.subject);
            let body = RecordBody::decode(RecordKind::Done, message.payload);
            if let (Some(subject), Ok(RecordBody::Done(done))) = (subject, body) {
                return Some(End { job_id: subject.job_id, stored_at: Timestamp::now(), done });
            }
        }
    }
}

// === impl Overheard ===

impl Overheard {
    /// Listens from now on.
    pub async fn listen(jobs: &Jobs) -> Result<Self, connect::Error> {
        let mut all = Vec::new();
        for record in [RecordKind::Ready, RecordKind::Later] {
            let subject = jobs.broker.names().pool_filter(&jobs.pool, record);
            all.push(jobs.broker.client().subscribe(subject).await.map_err(|_| connect::Error::Closed)?);
        }
        // What another connection publishes is heard from here on only once the server has both.
        jobs.broker.client().flush().await.map_err(|_| connect::Error::Closed)?;
        Ok(Self { jobs: jobs.clone(), arriving: select_all(all) })
    }

    /// The task of the next write; none at the end of the connection.
    pub async fn next(&mut self) -> Option<(Address, Task<Bytes>)> {
        loop {
            let message = self.arriving.next().await?;
            let Some(subject) = self.jobs.broker.names().parse_job_subject(&message.subject) else {
                continue;
            };
            if let Ok(RecordBody::Job(Job { task, .. })) = RecordBody::decode(subject.record, message.payload)
            {
                let (queue, priority, job_id) = (subject.queue, subject.priority, subject.job_id);
                return Some((Address { queue, priority, job_id }, task));
            }
        }
    }
}
