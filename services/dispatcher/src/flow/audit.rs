//! Slots that nobody gives back: of a job that has moved on, though whoever moved it should have.
//!
//! Whoever ends an attempt gives its slots back before the work message is acknowledged, so a crash in between is mended
//! by the redelivery. What is left is a worker of a version that knows no slots, or a mistake. A part of the slots is
//! looked at each time, the oldest first, and none that is young.

use std::time::Duration;

use windlass_broker::flow::Taken;
use windlass_broker::jobs::{Jobs, Seen};
use windlass_broker::names::{FlowSubject, Line};
use windlass_core::JobState;
use windlass_core::flow::OnDead;
use windlass_core::protocol::Kind;
use windlass_proto::RecordBody;

use super::Failure;
use super::owner::Owner;

/// Between two parts.
pub(super) const AUDIT_EVERY: Duration = Duration::from_secs(5);
/// Slots that are looked at together.
const PART: usize = 50;

impl Owner {
    /// Looks at the next part; where the one after it begins, or the start.
    pub(super) async fn audit(&mut self, from: u64) -> Result<u64, Failure> {
        let (taken, more) = self.flow.taken(from, PART).await?;
        let young = self.shared.layout.ack_wait * 2;
        let now = self.shared.broker.now();
        let mut next = 0;
        for slot in &taken {
            if now.duration_since(slot.since).unsigned_abs() < young {
                // All that follow are younger.
                return Ok(0);
            }
            next = slot.sequence + 1;
            if self.is_leaked(slot).await? {
                self.mend(slot).await?;
            }
        }
        Ok(if more { next } else { 0 })
    }

    async fn is_leaked(&self, slot: &Taken) -> Result<bool, Failure> {
        let jobs = self.flow.jobs();
        let seen = jobs.read(self.flow.queue(), slot.job_id).await?;
        // A dead job keeps its key's slot until somebody has dealt with it, however long that takes.
        let blocks = slot.key.is_some() && self.settings.fifo() == Some(OnDead::Block);
        match (&seen.last, &seen.done) {
            (_, Some(done)) => Ok(!(blocks && done.state == JobState::Dead)),
            (None, None) => Ok(!blocks),
            (Some(_), None) => self.is_leaked_by(slot, jobs, &seen).await,
        }
    }

    /// Of a job that has not ended.
    async fn is_leaked_by(&self, slot: &Taken, jobs: &Jobs, seen: &Seen) -> Result<bool, Failure> {
        let Some(last) = &seen.last else { return Ok(false) };
        let of_claim;
        let (work, body) = match last.record.kind {
            Kind::Claim { work } => match jobs.at(work).await? {
                Some(record) => {
                    of_claim = record.body;
                    (work, &of_claim)
                }
                None => return Ok(false),
            },
            Kind::Held => {
                // One that waits for its turn has a slot of its key, and none of the queue.
                let Some(key) = &slot.key else { return Ok(true) };
                let line = Line::Key(key.clone());
                let place = FlowSubject::Wait(line, last.address.priority, slot.job_id);
                return Ok(self.flow.stands(&place).await?);
            }
            _ => (last.record.sequence, &last.body),
        };
        let RecordBody::Job(job) = body else { return Ok(false) };
        let holds = job.slots.as_ref().is_some_and(|slots| match &slot.key {
            Some(_) => slots.key.as_ref().is_some_and(|key| key.slot.sequence(work) == slot.sequence),
            None => slots.turn.is_some_and(|turn| turn.sequence(work) == slot.sequence),
        });
        Ok(!holds)
    }

    async fn mend(&mut self, slot: &Taken) -> Result<(), Failure> {
        let (queue, job_id) = (self.flow.queue(), slot.job_id);
        tracing::warn!(%queue, %job_id, of_key = slot.key.is_some(), "a slot was not given back; doing it");
        metrics::counter!("windlass_reconciled_total", "found" => "slot").increment(1);
        // What tells the owner of it tells us.
        self.flow.give_back(slot, super::CALL_TIMEOUT).await?;
        Ok(())
    }
}
