//! What a job that ends from outside holds under flow control, or stands in line for, is given up.

use std::time::Duration;

use windlass_broker::flow::{Flow, InLine, free};
use windlass_broker::jobs::{self, Jobs, SeenRecord};
use windlass_core::flow::{Follows, KeySlot};
use windlass_core::letter::Letter;
use windlass_core::protocol::Kind;
use windlass_proto::RecordBody;

use super::Failure;
use super::owner::Owner;
use crate::shared::Shared;

/// For each write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

/// After an end was written over `last`, or found: true once nothing is held or waited for any more. May be done again.
pub(crate) async fn leave(jobs: &Jobs, last: &SeenRecord, follows: Follows) -> bool {
    match give_up(jobs, last, follows).await {
        Ok(()) => true,
        Err(error) => {
            let error = anyhow::Error::new(error);
            tracing::warn!(job_id = %last.address.job_id, %error, "what a job held is not given back yet; trying again");
            false
        }
    }
}

/// What a dead job still holds, so that its key's next jobs wait: given back once somebody has dealt with it. True once
/// it is.
pub(crate) async fn unblock(shared: &Shared, letter: &Letter<bytes::Bytes>) -> bool {
    let Some(key) = letter.task.as_ref().ok().and_then(|task| task.key.as_ref()) else { return true };
    let queue = &letter.queue;
    let flow = Flow::new(&shared.broker, shared.layout.pool_of(queue), queue.clone());
    let given_back = async {
        match flow.slot_of(&key.token(), letter.job_id).await? {
            Some(slot) => flow.give_back(&slot, WRITE_TIMEOUT).await,
            None => Ok(()),
        }
    };
    match given_back.await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(job_id = %letter.job_id, %error, "a dead job's key is not let go yet; trying again");
            false
        }
    }
}

/// A place in line whose job does not stand where the place says: it is removed, with the slot of its key that goes
/// with it, unless the job took the slot along.
pub(super) async fn forsake(owner: &Owner, place: &InLine) -> Result<(), Failure> {
    let seen = owner.flow.jobs().read(owner.flow.queue(), place.job_id).await?;
    let mut place = place.clone();
    if let (None, Some(last)) = (&seen.done, &seen.last) {
        if last.record.kind == Kind::Held {
            // It may stand in this very line again.
            return Ok(());
        }
        let held = match &last.body {
            RecordBody::Job(job) => job.slots.as_ref().and_then(|slots| slots.key.as_ref()),
            _ => None,
        };
        let sequence = |key: &KeySlot| key.slot.sequence(last.record.sequence);
        if held.map(sequence) == place.key_slot.as_ref().map(sequence) {
            place.key_slot = None;
        }
    }
    Ok(owner.flow.drop_place(&place, WRITE_TIMEOUT).await?)
}

async fn give_up(jobs: &Jobs, last: &SeenRecord, follows: Follows) -> Result<(), jobs::Error> {
    let (queue, job_id) = (&last.address.queue, last.address.job_id);
    let failed = |source| jobs::Error::Broker { stream: jobs.stream().to_owned(), source };
    let work;
    let (sequence, job) = match (&last.body, last.record.kind) {
        (RecordBody::Job(job), _) => (last.record.sequence, job),
        // What a claim is of says what is held.
        (RecordBody::Claim(_), Kind::Claim { work: sequence }) => match jobs.at(sequence).await? {
            Some(SeenRecord { body: RecordBody::Job(job), .. }) => {
                work = job;
                (sequence, &work)
            }
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    if let Some(slots) = &job.slots {
        free(jobs, queue, job_id, slots, sequence, follows, WRITE_TIMEOUT).await.map_err(failed)?;
    }
    if last.record.kind == Kind::Held {
        let flow = Flow::new(jobs.broker(), jobs.pool().clone(), queue.clone());
        flow.drop_places(&last.address, job, WRITE_TIMEOUT).await.map_err(failed)?;
    }
    Ok(())
}
