//! Taking jobs back that passed without a decision, or before it was another: so that they are decided on now.
//!
//! Each is written on its job's token, so one that has moved meanwhile stays as it is. A `ready` that nobody was given
//! stands in its queue's consumer; that is paused for as long, because a first delivery is run without a look. Should
//! the one who paused it die, the pause ends by itself.

use std::time::Duration;

use async_nats::HeaderMap;
use jiff::Timestamp;
use windlass_core::RecordKind;
use windlass_core::flow::Follows;
use windlass_core::protocol::Answer;
use windlass_core::trace::TraceParent;
use windlass_proto::Job;

use super::delivered::NO_CONSUMER;
use super::{Commit, Flow, TIMEOUT, free};
use crate::batch::Reading;
use crate::connect::Error;
use crate::jobs::{self, Address, nonce};
use crate::publish::{Outgoing, header, publish_all_if};
use crate::trace;

/// A job's record, as lists have it: any replica answers, so it may have moved.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Which job.
    pub address: Address,
    /// Of the message.
    pub sequence: u64,
    /// As it stands there.
    pub job: Job,
    /// Of a timer: whether it fires for the queue's owner.
    pub fires_as_due: bool,
    trace: Option<TraceParent>,
}

// === impl Flow ===

impl Flow {
    /// The next records of this sort, which has jobs; and whether there are more. One that cannot be read is left out.
    pub async fn records(
        &self,
        record: RecordKind,
        reading: &mut Reading,
        most: usize,
    ) -> Result<(Vec<Listed>, bool), Error> {
        let names = self.broker().names();
        let filter = names.records_filter(self.pool(), self.queue(), record);
        let (messages, more) = reading.page(self.broker(), self.jobs().stream(), &filter, most).await?;
        let read = messages.into_iter().filter_map(|raw| {
            let subject = names.parse_job_subject(&raw.subject)?;
            let address =
                Address { queue: subject.queue, priority: subject.priority, job_id: subject.job_id };
            let due = self.jobs().subject(&address, RecordKind::Due);
            let target = raw.headers.get(header::SCHEDULE_TARGET);
            let fires_as_due = target.is_some_and(|target| target.as_str() == due);
            let trace = trace::from_headers(Some(&raw.headers));
            let job = Job::decode(raw.body).ok()?;
            Some(Listed { address, sequence: raw.sequence, job, fires_as_due, trace })
        });
        Ok((read.collect(), more))
    }

    /// Has what these jobs stand at, `ready` or `later`, decided on: at once, or when its time has come. All or none;
    /// at most [`Flow::MOST_MESSAGES`] of them.
    pub async fn recall(&self, record: RecordKind, some: &[&Listed]) -> Result<Commit, Error> {
        let messages = some.iter().map(|one| self.recalled(record, one)).collect();
        Ok(match publish_all_if(self.broker(), messages, TIMEOUT).await? {
            Answer::Stored(first) => Commit::Done(first),
            Answer::Refused => Commit::Refused,
            Answer::Undecided | Answer::Silent => Commit::Unknown,
        })
    }

    fn recalled(&self, record: RecordKind, one: &Listed) -> Outgoing {
        let names = self.broker().names();
        let Listed { address, sequence, job, trace, .. } = one;
        let mut headers = HeaderMap::new();
        headers.insert(header::EXPECTED_SEQUENCE, sequence.to_string());
        headers
            .insert(header::EXPECTED_SUBJECT, names.job_filter(self.pool(), &address.queue, address.job_id));
        trace::to_headers(&mut headers, *trace);
        let due = self.jobs().subject(address, RecordKind::Due);
        let (subject, slots) = if record == RecordKind::Later {
            headers.insert(header::SCHEDULE, format!("@at {}", job.due_at));
            headers.insert(header::SCHEDULE_TARGET, due);
            (self.jobs().subject(address, RecordKind::Later), job.slots.clone())
        } else {
            let kept = job.slots.as_ref().and_then(|slots| slots.after(Follows::Another, *sequence));
            (due, kept)
        };
        let body = Job { nonce: nonce(), slots, ..job.clone() }.encode();
        Outgoing { subject, headers, body }
    }

    /// After a `ready` was recalled: its slots are free, and it is removed. May be done again.
    pub async fn remove_recalled(&self, one: &Listed, wait: Duration) -> Result<(), jobs::Error> {
        let (queue, job_id) = (&one.address.queue, one.address.job_id);
        if let Some(slots) = &one.job.slots {
            let freed = free(self.jobs(), queue, job_id, slots, one.sequence, Follows::Another, wait).await;
            let stream = || self.jobs().stream().to_owned();
            freed.map_err(|source| jobs::Error::Broker { stream: stream(), source })?;
        }
        self.jobs().delete(one.sequence).await
    }

    /// Nobody is given a job of the queue before this; none: from now on somebody is again. In force when it returns.
    pub async fn pause_workers(&self, until: Option<Timestamp>) -> Result<(), Error> {
        let request = match until {
            Some(until) => serde_json::json!({ "pause_until": until.to_string() }),
            None => serde_json::json!({}),
        };
        match self.broker().api::<serde_json::Value>(&self.of_workers("PAUSE"), &request, TIMEOUT).await {
            Ok(_) | Err(Error::Refused { code: NO_CONSUMER, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
