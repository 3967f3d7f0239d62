//! What was missed: an end that nobody heard of, a dependency that was forgotten, a job that nobody releases.

use jiff::Timestamp;
use tokio::time::Interval;
use windlass_broker::jobs::{self, Jobs, SeenRecord};
use windlass_broker::names::Place;
use windlass_core::dependency::Standing;
use windlass_core::protocol::Kind;
use windlass_proto::RecordBody;

use super::close::close;
use super::{settle, standing};
use crate::shared::Shared;

/// Walks the edges of a pool. Those that are old are looked at.
pub(crate) async fn tidy(
    shared: &Shared,
    jobs: &Jobs,
    pace: &mut Interval,
    old: Timestamp,
) -> Result<(), jobs::Error> {
    let mut from = 0;
    // The edges of one job were often made together.
    let mut last: Option<(Place, Option<Standing>)> = None;
    let forgotten = shared.broker.now().saturating_sub(shared.layout.horizon).unwrap_or(Timestamp::MIN);
    while let Some(edge) = jobs.next_awaited_of_all(from).await? {
        pace.tick().await;
        from = edge.next_awaited();
        // After an absence of all dispatchers the broker may have removed it.
        if let Err(error) = shared.listening.ensure(shared, &edge.on.0).await {
            tracing::warn!(queue = %edge.on.0, %error, "the ends of a queue's jobs cannot be followed; trying again");
        }
        if edge.stored_at > old {
            continue;
        }
        let known = match last.take().filter(|(place, _)| *place == edge.on) {
            Some((_, known)) => known,
            None => standing(jobs, &edge.on).await?,
        };
        let missed = match known {
            // It existed when the edge was made.
            None if edge.stored_at <= forgotten => Some(Standing::Forgotten),
            Some(standing @ Standing::Ended(_)) => Some(standing),
            None | Some(_) => None,
        };
        if let Some(standing) = missed
            && close(shared, jobs, &edge, standing).await?
        {
            tracing::warn!(job_id = %edge.waiting.1, queue = %edge.waiting.0, on = %edge.on.1, "a job still waited for one that has ended");
            metrics::counter!("windlass_reconciled_total", "found" => "dependency").increment(1);
        }
        last = Some((edge.on, known));
    }
    Ok(())
}

/// A job that is held although none of its edges is open: true if that is mended now. None if this is no job that waits
/// for others.
pub(crate) async fn mend(
    shared: &Shared,
    jobs: &Jobs,
    found: &SeenRecord,
) -> Result<Option<bool>, jobs::Error> {
    match &found.body {
        RecordBody::Job(job) if job.awaiting && found.record.kind == Kind::Held => {}
        _ => return Ok(None),
    }
    let (queue, job_id) = (&found.address.queue, found.address.job_id);
    if jobs.next_open_edge((queue, job_id)).await?.is_some() {
        return Ok(Some(false));
    }
    let seen = jobs.read(queue, job_id).await?;
    if seen.view.last != Some(found.record) || seen.view.done {
        return Ok(Some(seen.view.done && crate::ended::clear_up(shared, jobs, queue, job_id, &seen).await));
    }
    tracing::warn!(%job_id, %queue, "a job is held, and waits for none any more");
    Ok(Some(settle(shared, queue, job_id, None).await))
}
