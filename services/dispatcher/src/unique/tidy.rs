//! Markers that nothing has count any more: they decide nothing, and are removed so that they do not pile up.
//!
//! A marker is removed by its sequence, so one that was moved meanwhile stays.

use futures::{FutureExt as _, StreamExt as _, stream};
use jiff::Timestamp;
use tokio::time::Interval;
use windlass_broker::jobs::{self, FoundMarker, Jobs};
use windlass_broker::names::MarkerOf;
use windlass_core::unique::is_spent;
use windlass_proto::RecordBody;

use super::group::is_open;
use crate::shared::Shared;

/// Looked at together.
const PAGE: usize = 256;
/// Jobs that are read at one time.
const READS: usize = 8;

/// Walks a pool's markers, as many a tick as are read together.
pub(crate) async fn tidy(
    shared: &Shared,
    jobs: &Jobs,
    pace: &mut Interval,
    old: Timestamp,
) -> Result<(), jobs::Error> {
    for filter in shared.broker.names().marker_filters(jobs.pool()) {
        let mut from = Some(1);
        while let Some(start) = from {
            let (found, next) = jobs.markers(&filter, start, PAGE).await?;
            from = next;
            let mut removals = Vec::with_capacity(found.len());
            for found in found.into_iter().filter(|found| found.stored_at <= old) {
                removals.push(remove(shared, jobs, found).boxed());
            }
            let mut looked_at = stream::iter(removals).buffer_unordered(READS);
            while let Some(removed) = looked_at.next().await {
                pace.tick().await;
                if removed? {
                    metrics::counter!("windlass_reconciled_total", "found" => "key_marker").increment(1);
                }
            }
        }
    }
    Ok(())
}

async fn remove(shared: &Shared, jobs: &Jobs, found: FoundMarker) -> Result<bool, jobs::Error> {
    let FoundMarker { queue, of, marker, .. } = &found;
    let seen = match jobs.read(queue, marker.job_id).await {
        // A newer version's is left to it.
        Err(error) if error.is_not_understood() => return Ok(false),
        seen => seen?,
    };
    let live = seen.last.as_ref().filter(|_| !seen.view.done);
    let has_ended = match (of, live.map(|last| (last.record.kind, &last.body))) {
        (MarkerOf::Group(_), Some((kind, RecordBody::Job(job)))) => !is_open(kind, job),
        (_, None) | (MarkerOf::Group(_), Some(_)) => true,
        (MarkerOf::Unique(_), Some(_)) => false,
    };
    let spent = is_spent(has_ended, [marker.until, marker.window_until], shared.broker.now());
    if spent {
        jobs.delete(found.sequence).await?;
    }
    Ok(spent)
}
