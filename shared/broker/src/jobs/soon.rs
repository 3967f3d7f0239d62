//! Timers of less than a second, fired by whoever set them.
//!
//! The broker looks at its timers four times a second, so a short delay would be as long again on average. Its own
//! timer is set a second later, in case this process does not live to fire.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};
use windlass_core::RecordKind;
use windlass_core::trace::TraceParent;
use windlass_proto::Job;

use super::{Address, Change, Jobs, Verdict, nonce};

/// What is sooner than this is fired here, and by the broker this much later.
const SOON: Duration = Duration::from_secs(1);
/// How much of jobs may wait here, in KiB; what comes beyond it is left to the broker.
pub(crate) const ROOM_KIB: usize = 64 * 1024;
/// For the write; past it the broker's own timer has come.
const FIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// A timer of this process.
pub(super) struct Soon {
    address: Address,
    job: Job,
    target: RecordKind,
    trace: Option<TraceParent>,
    due_at: Timestamp,
    _room: OwnedSemaphorePermit,
}

// === impl Soon ===

impl Soon {
    /// Takes a timer over if it is short and there is room, and sets the broker's back.
    pub(super) fn take_over(jobs: &Jobs, change: &mut Change<'_>) -> Option<Self> {
        let (due_at, target) = change.timer?;
        if change.record != RecordKind::Later
            || due_at.duration_since(jobs.broker.now()).unsigned_abs() >= SOON
        {
            return None;
        }
        let kib = u32::try_from(change.body.len() / 1024 + 1).ok()?;
        let room = jobs.broker.soon().try_acquire_many_owned(kib).ok()?;
        let job = Job::decode(change.body.clone()).ok()?;
        change.timer = Some((due_at.saturating_add(SOON).ok()?, target));
        Some(Self { address: change.address.clone(), job, target, trace: change.trace, due_at, _room: room })
    }

    /// Fires when it is due, on the token of the timer's record.
    pub(super) fn start(self, jobs: &Jobs, token: u64) {
        let jobs = jobs.clone();
        tokio::spawn(async move {
            // Negative: it has come.
            let left = self.due_at.duration_since(jobs.broker.now());
            sleep(Duration::try_from(left).unwrap_or_default()).await;
            let job = Job { nonce: nonce(), ..self.job };
            let change = Change {
                address: &self.address,
                token,
                record: self.target,
                body: job.encode(),
                nonce: &job.nonce,
                trace: self.trace,
                ttl: None,
                timer: None,
                purge: Some(RecordKind::Later),
            };
            match jobs.write_until(change, Instant::now() + FIRE_TIMEOUT).await {
                // Lost: somebody cancelled or released it, or the broker has fired.
                Ok(Verdict::Won(_) | Verdict::Lost) => {}
                Ok(Verdict::Undecided) => {
                    tracing::debug!(job_id = %self.address.job_id, "a short timer is left to the broker");
                }
                Err(error) => {
                    tracing::warn!(job_id = %self.address.job_id, %error, "a short timer is left to the broker");
                }
            }
        });
    }
}
