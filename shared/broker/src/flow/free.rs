//! Giving slots back.

use std::time::Duration;

use async_nats::HeaderMap;
use jiff::Timestamp;
use tokio::time::Instant;
use windlass_core::flow::{FlowKey, Follows, Slots};
use windlass_core::{JobId, QueueName};
use windlass_proto::Job;

use super::{Flow, InLine, Taken};
use crate::connect::Error;
use crate::jobs::{Address, Jobs};
use crate::names::{ALL, FlowSubject, Line};
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

/// Has nothing start before this: of the key that a job has a slot of, else of its queue. Told before the job's next
/// record is written.
pub async fn hold(
    jobs: &Jobs,
    queue: &QueueName,
    job_id: JobId,
    slots: &Slots,
    until: Timestamp,
    wait: Duration,
) -> Result<(), Error> {
    let key = slots.key.as_ref().map(|key| key.token.clone());
    let subject = FlowSubject::Notice(key, job_id);
    let notice = jobs.broker().names().flow_subject(jobs.pool(), queue, &subject);
    let body = windlass_proto::hold_notice(until);
    publish::publish_until(jobs.broker(), notice, HeaderMap::new(), body, wait).await.map(|_| ())
}

impl Flow {
    /// Removes a job from every line that it may stand in, with a slot of its key that it may have taken meanwhile, after
    /// its end was written over its `held`. May be done again.
    pub async fn drop_places(&self, address: &Address, job: &Job, wait: Duration) -> Result<(), Error> {
        let (job_id, priority) = (address.job_id, address.priority);
        let key = job.task.key.as_ref().map(FlowKey::token);
        // Whether tenants counted when it was held is not known.
        let tenant = job.task.tenant.as_ref().map(FlowKey::token);
        let turns = tenant.into_iter().chain([ALL.to_owned()]);
        let mut places: Vec<_> =
            turns.map(|turn| (None, FlowSubject::Wait(Line::Turn(turn), priority, job_id))).collect();
        if let Some(key) = key {
            places.push((Some(key.clone()), FlowSubject::Wait(Line::Key(key.clone()), priority, job_id)));
            places.push((Some(key.clone()), FlowSubject::Slot(Some(key), job_id)));
        }
        self.remove(places, job_id, wait).await
    }

    /// Removes a place whose job stands elsewhere, with the slot of its key that goes with it. May be done again.
    pub async fn drop_place(&self, place: &InLine, wait: Duration) -> Result<(), Error> {
        if let Some(key) = &place.key_slot {
            let (token, sequence) = (Some(key.token.clone()), key.slot.sequence(place.sequence));
            give_back(&self.jobs, &self.queue, place.job_id, token, sequence, wait).await?;
        }
        let subject = FlowSubject::Wait(place.line.clone(), place.priority, place.job_id);
        self.remove([(None, subject)], place.job_id, wait).await
    }

    /// Gives back a slot whose job has moved on. May be done again.
    pub async fn give_back(&self, slot: &Taken, wait: Duration) -> Result<(), Error> {
        give_back(&self.jobs, &self.queue, slot.job_id, slot.key.clone(), slot.sequence, wait).await
    }

    async fn remove(
        &self,
        places: impl IntoIterator<Item = (Option<String>, FlowSubject)>,
        job_id: JobId,
        wait: Duration,
    ) -> Result<(), Error> {
        for (key, place) in places {
            let names = self.broker().names();
            let of = |subject: &FlowSubject| names.flow_subject(self.pool(), self.queue(), subject);
            let mut headers = HeaderMap::new();
            headers.insert(header::SCHEDULER, of(&place));
            headers.insert(header::SCHEDULE_NEXT, "purge");
            let notice = of(&FlowSubject::Notice(key, job_id));
            publish::publish_until(self.broker(), notice, headers, bytes::Bytes::new(), wait).await?;
        }
        Ok(())
    }
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
