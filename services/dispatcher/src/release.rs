//! Letting a waiting job run at once: its timer fires and is removed in one write.

use std::time::Duration;

use tokio::time::Instant;
use windlass_broker::jobs::{Change, Jobs, Seen, Verdict, nonce};
use windlass_core::protocol::{self, Kind, Removal};
use windlass_core::{RecordKind, Transition};
use windlass_proto::{Job, RecordBody};

use crate::dependencies;
use crate::order::{Carried, Order};
use crate::shared::Shared;

/// For one conditional write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) async fn release(shared: &Shared, order: &Order) -> Carried {
    let jobs = shared.jobs(&order.queue);
    let seen = match jobs.read(&order.queue, order.job_id).await {
        Ok(seen) => seen,
        Err(error) => {
            tracing::warn!(job_id = %order.job_id, %error, "a job could not be read");
            return Carried::Open;
        }
    };
    let_run(shared, &jobs, &seen, &order.reason).await
}

/// Of a job as it was just read; `note` is for people.
pub(crate) async fn let_run(shared: &Shared, jobs: &Jobs, seen: &Seen, note: &str) -> Carried {
    let Some(last) = &seen.last else { return Carried::NoJob };
    let (Removal::Write { token, .. }, RecordBody::Job(waiting)) =
        (protocol::release(&seen.view), &last.body)
    else {
        // It runs, is about to, or has ended: there is nothing to release.
        return Carried::Out;
    };
    let entrance = shared.settings.entrance(&last.address.queue);
    if last.record.kind == Kind::Held && entrance == RecordKind::Due && !waiting.awaiting {
        tracing::info!(job_id = %last.address.job_id, "a held job waits for a limit, and is not released");
        return Carried::Refused;
    }
    let now = shared.broker.now();
    let job = Job { due_at: now, awaiting: false, nonce: nonce(), ..waiting.clone() };
    let change = Change {
        address: &last.address,
        token,
        record: entrance,
        body: job.encode(),
        nonce: &job.nonce,
        trace: last.trace,
        ttl: None,
        timer: None,
        purge: Some(last.record.kind.record_kind()),
    };
    match jobs.write(change, Instant::now() + WRITE_TIMEOUT).await {
        Ok(Verdict::Won(_)) => {
            let attempt = waiting.attempts.iter().map(|a| a.number).max().unwrap_or(0);
            let mut event = last.teller().event(Transition::Released, attempt, now);
            event.due_at = Some(now);
            note.clone_into(&mut event.note);
            // The job's own record does not say that it was released, so an event that is lost here is lost.
            let said = shared.events.record(event).await.is_ok();
            if waiting.awaiting
                && let Err(error) =
                    dependencies::abandon(jobs, &last.address.queue, last.address.job_id).await
            {
                tracing::debug!(%error, "the edges of a released job stay until the jobs that it waited for have ended");
            }
            if said { Carried::Out } else { Carried::Open }
        }
        Ok(Verdict::Lost | Verdict::Undecided) => Carried::Open,
        Err(error) => {
            tracing::error!(job_id = %last.address.job_id, %error, "a release was not written");
            Carried::Open
        }
    }
}
