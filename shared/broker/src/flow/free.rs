//! Giving slots back.

use std::time::Duration;

use async_nats::HeaderMap;
use tokio::time::Instant;
use windlass_core::flow::{Follows, Slots};
use windlass_core::{JobId, QueueName};

use crate::connect::Error;
use crate::jobs::Jobs;
use crate::names::FlowSubject;
use crate::publish::{self, header};
use crate::retry::Waits;

/// For one try.
const TRY_TIMEOUT: Duration = Duration::from_secs(3);

/// Gives back what a job held, after its `later` or its end was written and before its work message (of the sequence
/// `work`) is acknowledged: the message of each slot is removed, and the queue's owner is told, in one write. May be
/// done late, and again: what the job holds anew is left alone.
pub async fn free(
    jobs: &Jobs,
    queue: &QueueName,
    job_id: JobId,
    slots: &Slots,
    work: u64,
    follows: Follows,
    wait: Duration,
) -> Result<(), Error> {
    let of_key = slots.key.as_ref().filter(|_| !slots.keeps_key(follows));
    let of_key = of_key.map(|key| (Some(key.token.clone()), key.slot));
    for (key, slot) in of_key.into_iter().chain(slots.turn.map(|slot| (None, slot))) {
        give_back(jobs, queue, job_id, key, slot.sequence(work), wait).await?;
    }
    Ok(())
}

async fn give_back(
    jobs: &Jobs,
    queue: &QueueName,
    job_id: JobId,
    key: Option<String>,
    sequence: u64,
    wait: Duration,
) -> Result<(), Error> {
    let names = jobs.broker().names();
    let place = |subject| names.flow_subject(jobs.pool(), queue, &subject);
    let slot = place(FlowSubject::Slot(key.clone(), job_id));
    let notice = place(FlowSubject::Notice(key, job_id));
    let mut waits = Waits::until(Instant::now() + wait);
    loop {
        let mut headers = HeaderMap::new();
        headers.insert(header::EXPECTED_SEQUENCE, sequence.to_string());
        headers.insert(header::EXPECTED_SUBJECT, slot.as_str());
        headers.insert(header::SCHEDULER, slot.as_str());
        headers.insert(header::SCHEDULE_NEXT, "purge");
        let timeout = waits.left().min(TRY_TIMEOUT);
        let body = bytes::Bytes::new();
        match publish::publish(jobs.broker(), notice.clone(), headers, body, timeout).await {
            // Given back already, by us or by another; and what made it so has told the owner.
            Ok(_) | Err(Error::Refused { code: 10071, .. }) => return Ok(()),
            Err(error) if publish::is_transient(&error) => {
                if !waits.wait().await {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
}
