//! Jobs that passed by other settings than now hold are taken back, to be decided on: those that no worker was given,
//! those whose timers lead past the queue's owner, and, where a pause says so, those that run.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::SignedDuration;
use windlass_broker::cancel::{Mark, mark};
use windlass_broker::flow::{Commit, ListedJob, Reading};
use windlass_core::RecordKind;
use windlass_core::flow::FlowKey;
use windlass_core::protocol::Kind;

use super::owner::Owner;
use super::{CALL_TIMEOUT, Failure};

/// Jobs that are looked at together.
const PART: usize = 250;
/// For as long nobody is given a job while some are taken back: more than a part takes.
const PAUSE: SignedDuration = SignedDuration::from_secs(20);
/// Of removals that are on their way at one time.
const REMOVALS: usize = 32;

/// What was done.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Recalled {
    pub(super) seen: u64,
    pub(super) moved: u64,
    /// Whether there is another part.
    pub(super) more: bool,
}

// === impl Owner ===

impl Owner {
    /// The next part of what is ready and was given to nobody: back to where it is decided on, if it does not go by
    /// the settings.
    pub(super) async fn recall_ready(&self, reading: &mut Reading) -> Result<Recalled, Failure> {
        let Some(given) = self.flow.delivered().await?.filter(|given| given.pending > 0) else {
            return Ok(Recalled::default());
        };
        reading.on_to(given.up_to + 1);
        let before = reading.clone();
        let (listed, more) = self.flow.records(RecordKind::Ready, reading, PART).await?;
        let seen = listed.len() as u64;
        if !listed.iter().any(|one| !self.goes_by(one)) {
            return Ok(Recalled { seen, moved: 0, more });
        }
        *reading = before;
        let until = self.shared.broker.now().saturating_add(PAUSE).unwrap_or_default();
        self.flow.pause_workers(Some(until)).await?;
        // Whatever comes of it, workers are to go on.
        let recalled = Box::pin(self.recall_from(reading)).await;
        self.flow.pause_workers(None).await?;
        recalled
    }

    /// While nobody is given anything.
    async fn recall_from(&self, reading: &mut Reading) -> Result<Recalled, Failure> {
        let Some(given) = self.flow.delivered().await? else { return Ok(Recalled::default()) };
        reading.on_to(given.up_to + 1);
        let (listed, more) = self.flow.records(RecordKind::Ready, reading, PART).await?;
        let seen = listed.len() as u64;
        let strangers: Vec<_> = listed.iter().filter(|one| !self.goes_by(one)).collect();
        let moved = self.recall(RecordKind::Ready, &strangers).await?;
        Ok(Recalled { seen, moved, more })
    }

    /// The next part of what waits for its time: its timer is to lead to the queue's owner.
    pub(super) async fn recall_delayed(&self, reading: &mut Reading) -> Result<Recalled, Failure> {
        let (listed, more) = self.flow.records(RecordKind::Later, reading, PART).await?;
        let strangers: Vec<_> = listed.iter().filter(|one| !one.fires_as_due).collect();
        let moved = self.recall(RecordKind::Later, &strangers).await?;
        Ok(Recalled { seen: listed.len() as u64, moved, more })
    }

    /// The next part of what workers have: where a pause says so, they are told to hand it back.
    pub(super) async fn hand_back(&self, reading: &mut Reading) -> Result<Recalled, Failure> {
        let Some(given) = self.flow.delivered().await? else { return Ok(Recalled::default()) };
        let (listed, more) = self.flow.records(RecordKind::Ready, reading, PART).await?;
        let mut done = Recalled { seen: listed.len() as u64, moved: 0, more };
        let queue = self.flow.queue();
        for one in listed.iter().take_while(|one| one.sequence <= given.up_to) {
            let task = &one.job.task;
            let key = task.key.as_ref().map(FlowKey::as_str);
            let Some(pause) = self.settings.paused_for(&task.kind, key).filter(|pause| pause.hand_back)
            else {
                continue;
            };
            let seen = self.flow.jobs().read(queue, one.address.job_id).await?;
            let Some(last) = seen.view.last.filter(|_| !seen.view.done) else { continue };
            let runs = match last.kind {
                Kind::Ready => last.sequence == one.sequence,
                Kind::Claim { work } => work == one.sequence,
                _ => false,
            };
            if runs {
                let reason = format!("paused by {}: {}", pause.by, pause.reason);
                let it = Mark { job_id: one.address.job_id, token: last.sequence, reason, hand_back: true };
                mark(&self.shared.broker, queue, &it).await?;
                done.moved += 1;
            }
        }
        let passed = listed.last().is_none_or(|last| last.sequence > given.up_to);
        done.more = more && !passed;
        Ok(done)
    }

    /// What came past the gate since the settings were applied, as from a worker that did not know of it: a part.
    pub(super) async fn recall_strays(&mut self) -> Result<(), Failure> {
        if !self.settings.is_controlled() {
            return Ok(());
        }
        let ready = self.recall_ready(&mut Reading::default()).await?;
        let mut timers = self.timers.clone();
        let delayed = self.recall_delayed(&mut timers).await?;
        if delayed.more {
            self.timers = timers;
        }
        let moved = ready.moved + delayed.moved;
        if moved > 0 {
            let queue = self.flow.queue();
            tracing::warn!(%queue, moved, "jobs that came past the queue's settings were taken back");
            metrics::counter!("windlass_reconciled_total", "found" => "stray").increment(moved);
        }
        Ok(())
    }

    /// Whether one that workers are to be given was let through, and nothing of it was paused since.
    fn goes_by(&self, one: &ListedJob) -> bool {
        let task = &one.job.task;
        let key = task.key.as_ref().map(FlowKey::as_str);
        one.job.slots.is_some() && self.settings.paused_for(&task.kind, key).is_none()
    }

    /// How many of these were taken back: those that have not moved meanwhile.
    async fn recall(&self, record: RecordKind, some: &[&ListedJob]) -> Result<u64, Failure> {
        if some.is_empty() {
            return Ok(0);
        }
        let mut recalled: Vec<ListedJob> = Vec::new();
        match self.flow.recall(record, some).await? {
            Commit::Done(_) => recalled.extend(some.iter().copied().cloned()),
            Commit::Unknown => return Err(Failure::Unknown),
            Commit::Refused => {
                for one in some {
                    match self.flow.recall(record, &[one]).await? {
                        Commit::Done(_) => recalled.push(ListedJob::clone(one)),
                        Commit::Unknown => return Err(Failure::Unknown),
                        Commit::Refused if record == RecordKind::Ready => {
                            // Taken back by one who died before it was removed.
                            let seen = self.flow.jobs().read(self.flow.queue(), one.address.job_id).await?;
                            let moved = seen.view.last.is_some_and(|last| {
                                matches!(last.kind, Kind::Due | Kind::Held | Kind::Later)
                                    && last.sequence > one.sequence
                            });
                            if moved && !seen.view.done {
                                self.flow.remove_recalled(one, CALL_TIMEOUT).await?;
                            }
                        }
                        Commit::Refused => {}
                    }
                }
            }
        }
        let moved = recalled.len() as u64;
        if record == RecordKind::Ready {
            self.remove(recalled).await?;
        }
        Ok(moved)
    }

    async fn remove(&self, recalled: Vec<ListedJob>) -> Result<(), Failure> {
        let removing = stream::iter(recalled).map(|one| {
            let flow = self.flow.clone();
            async move { flow.remove_recalled(&one, CALL_TIMEOUT).await.map_err(Failure::from) }
        });
        removing.buffer_unordered(REMOVALS).try_collect::<()>().await
    }
}
