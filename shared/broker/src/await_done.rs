//! Waiting for a job's end, or for a job to be known.

use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::{Instant, timeout, timeout_at};
use windlass_core::{JobId, QueueName, RecordKind};
use windlass_proto::Done;

use crate::connect;
use crate::jobs::{Error, Jobs, Seen};
use crate::retry::Waits;

/// How often the record is looked up in case its announcement was missed: it is not kept for who was disconnected.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

impl Jobs {
    /// Waits for the `done` of a job; none if it does not come in time. Listens first and looks afterwards, so that
    /// an end between the two is not missed.
    pub async fn wait_done(
        &self,
        queue: &QueueName,
        job_id: JobId,
        wait: Duration,
    ) -> Result<Option<Done>, Error> {
        let deadline = Instant::now() + wait;
        let filter = self.broker().names().record_filter(self.pool(), queue, RecordKind::Done, job_id);
        let lost = |source| Error::Broker { stream: self.stream().to_owned(), source };
        let subscribing = timeout(Duration::from_secs(5), self.broker().client().subscribe(filter.clone()));
        let mut announced = match subscribing.await {
            Ok(Ok(announced)) => announced,
            Ok(Err(_)) => return Err(lost(connect::Error::Closed)),
            Err(_) => {
                let timeout = Duration::from_secs(5);
                return Err(lost(connect::Error::TimedOut { subject: filter, timeout }));
            }
        };
        loop {
            match self.read(queue, job_id).await {
                Ok(seen) if seen.done.is_some() => return Ok(seen.done),
                Ok(_) => {}
                // A right that is missing is not given while we wait.
                Err(error @ Error::Broker { source: connect::Error::PermissionDenied(_), .. }) => {
                    return Err(error);
                }
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(error) => tracing::debug!(%error, "the job could not be looked up; trying again"),
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            // An announcement is a hint: a write on a condition may still be refused, so the record decides.
            let hint = timeout_at(deadline.min(Instant::now() + LOOK_AGAIN), announced.next()).await;
            if matches!(hint, Ok(None)) {
                return Err(lost(connect::Error::Closed));
            }
        }
    }

    /// Waits until anything is known of a job: what is, or none if nothing is in time. It is
    /// looked up, more and more seldom: that a job was made is announced to its workers alone.
    pub async fn wait_known(
        &self,
        queue: &QueueName,
        job_id: JobId,
        wait: Duration,
    ) -> Result<Option<Seen>, Error> {
        let mut waits = Waits::until(Instant::now() + wait);
        loop {
            match self.read(queue, job_id).await {
                Ok(seen) if seen.last.is_some() => return Ok(Some(seen)),
                Err(error @ Error::Broker { source: connect::Error::PermissionDenied(_), .. }) => {
                    return Err(error);
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "the job could not be looked up; trying again"),
            }
            if !waits.wait().await {
                return Ok(None);
            }
        }
    }
}
