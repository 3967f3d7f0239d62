//! Who holds a key, as the stream's leader shows it.

use windlass_broker::jobs::{self, FoundMarker, Jobs, Seen, SeenRecord};
use windlass_core::JobState;
use windlass_core::protocol::Kind;
use windlass_core::unique::Standing;
use windlass_proto::{RecordBody, v1};

use super::line::Place;

/// A marker, and its job.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) found: FoundMarker,
    pub(super) seen: Seen,
    pub(super) standing: Standing,
}

/// Reads the marker first, and then its job: so whoever is refused is told of a job that held the key meanwhile.
/// `tells_running`: whether a job that is with the workers is to be looked at more closely.
pub(super) async fn look(
    jobs: &Jobs,
    place: &Place,
    tells_running: bool,
) -> Result<Option<Holder>, jobs::Error> {
    let (queue, of) = place;
    let Some(found) = jobs.marker(queue, of).await? else { return Ok(None) };
    let seen = jobs.read(queue, found.marker.job_id).await?;
    let state = state(jobs, &seen, tells_running).await?;
    let due_at = match seen.last.as_ref().map(|last| &last.body) {
        Some(RecordBody::Job(job)) if state.is_some() => job.due_at,
        _ => found.marker.due_at,
    };
    let standing = Standing { state, since: found.marker.since, due_at, until: found.marker.until };
    Ok(Some(Holder { found, seen, standing }))
}

/// Where a job stands; none if it has ended, or is not known any more.
async fn state(jobs: &Jobs, seen: &Seen, tells_running: bool) -> Result<Option<JobState>, jobs::Error> {
    let Some(last) = seen.last.as_ref().filter(|_| !seen.view.done) else { return Ok(None) };
    let SeenRecord { address, record, body, .. } = last;
    Ok(Some(match (record.kind, body) {
        (Kind::Done, _) => return Ok(None),
        (Kind::Later, _) if body.attempts().is_empty() => JobState::Scheduled,
        (Kind::Later, _) => JobState::Retrying,
        (Kind::Held | Kind::Due, _) => JobState::Held,
        (Kind::Claim { .. }, RecordBody::Claim(claim)) if claim.reason == v1::ClaimReason::HandBack => {
            JobState::Queued
        }
        (Kind::Claim { .. }, _) => JobState::Running,
        (Kind::Ready, _) if tells_running && jobs.was_delivered(&address.queue, record.sequence).await? => {
            JobState::Running
        }
        (Kind::Ready, _) => JobState::Queued,
    }))
}
