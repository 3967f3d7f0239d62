//! One step of one schedule: what is due is published, and the cursor follows.
//!
//! Why each instant makes one job, or a recorded misfire:
//!
//! 1. Before anything is published, the cursor is stored past what was missed, with the instants that are in doubt,
//!    on the condition that nobody changed it. Of two schedulers that believe to lead, one goes on.
//! 2. The task's id follows from the schedule and the instant. A crash after 1 publishes it again, under the same id,
//!    which is refused as a duplicate while the broker remembers the job.
//! 3. Later than the limit, an instant that is still in doubt is recorded as missed and not published.
//! 4. The cursor moves past the instants only after the broker has stored every task, on the same condition.
//!
//! What to do is decided by [`Schedule::step`], which is pure; here it is done.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use windlass_broker::failpoint::{Point, hit};
use windlass_core::schedule::{CatchUp, Cursor, Fate, Fire, Schedule};
use windlass_core::{JobId, ScheduleId};

use crate::plan::{Outcome, Place};

/// Instants that one step looks at, at most: it bounds the time between two cursors, and a step's computation.
const MAX_INSTANTS: usize = 1024;

/// So long before an instant its intent is written, so that at the instant there is nothing but the publish. A change of
/// the schedule that comes later than that may hold for the next one only.
pub(crate) const AHEAD: Duration = Duration::from_millis(200);

/// What a step needs from outside.
pub(crate) trait World: Sync {
    /// What time it is.
    fn now(&self) -> Timestamp;

    /// Waits until then, for [`AHEAD`] at most.
    fn until(&self, at: Timestamp) -> impl Future<Output = ()> + Send;

    /// Reads a cursor and its revision.
    fn load(&self, id: &ScheduleId) -> impl Future<Output = Result<Option<(Cursor, u64)>, Failure>> + Send;

    /// Stores a cursor if its revision is still this one; none: if there is none yet.
    fn save(
        &self,
        id: &ScheduleId,
        cursor: &Cursor,
        revision: Option<u64>,
    ) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// Publishes the task of a fire; done once the broker has stored it, now or before. Gives its place among the tasks.
    fn publish(
        &self,
        schedule: &Schedule<Bytes>,
        fire: &Fire,
    ) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// What became of the jobs that the cursor names.
    fn fates(
        &self,
        schedule: &Schedule<Bytes>,
        cursor: &Cursor,
    ) -> impl Future<Output = Result<HashMap<JobId, Fate>, Failure>> + Send;

    /// Cancels a job, by a command that is stored.
    fn cancel(
        &self,
        schedule: &Schedule<Bytes>,
        job: JobId,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Pauses the schedule, because this job has failed.
    fn pause(
        &self,
        schedule: &Schedule<Bytes>,
        failed: JobId,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The schedule was removed: its cursor has no further use. Best effort; a later removal tries again.
    fn forget(&self, id: &ScheduleId);

    /// So many instants were recorded as missed, and so many were passed over because a job was live.
    fn missed(&self, schedule: &Schedule<Bytes>, missed: u64, skipped: u64);
}

/// A step did not come to its end. What it had begun is in doubt, and the next step goes on from the stored cursor.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Somebody else moved the cursor.
    #[error("another scheduler moved the cursor")]
    Conflict,
    /// The lease has ended, or is about to.
    #[error("this scheduler does not lead any more")]
    NotLeading,
    /// The cursor that is stored cannot be read.
    #[error("the stored cursor is malformed")]
    Malformed(#[source] windlass_proto::Error),
    /// The cursors cannot be reached.
    #[error("cannot read or store the cursor")]
    Cursor(#[source] windlass_broker::kv::Error),
    /// The task was not stored.
    #[error("cannot publish the task")]
    Publish(#[source] windlass_broker::tasks::Error),
    /// What became of the job before is not known.
    #[error("cannot look at the job before")]
    Jobs(#[source] windlass_broker::jobs::Error),
    /// Where jobs or tasks are is not known, or a command was not stored.
    #[error("cannot look at the tasks, or command a job")]
    Broker(#[source] windlass_broker::connect::Error),
    /// The schedule could not be paused.
    #[error("cannot pause the schedule")]
    Pause(#[source] Box<windlass_schedules::store::Error>),
}

/// How far a step has come.
#[derive(Debug)]
pub(crate) enum Begun {
    /// There is nothing more to do in it.
    Ended(Outcome),
    /// Its tasks are stored, and the cursor is to follow.
    Published(Box<Published>),
}

/// A step whose tasks are stored.
#[derive(Debug)]
pub(crate) struct Published {
    /// Where the schedule then stands.
    after: Cursor,
    /// Where it stands.
    place: Place,
    more: bool,
}

/// Does what is due at this instant, but for the cursor after it: that is not urgent, and other schedules may be due.
///
/// The instant may be a little ahead, see [`AHEAD`]: what is written before the publish is then written when it comes.
pub(crate) async fn begin(
    world: &impl World,
    schedule: &Schedule<Bytes>,
    place: Place,
    at: Timestamp,
    catch_up: &CatchUp,
) -> Result<Begun, Failure> {
    let id = &schedule.id;
    let mut place = match place {
        Place::Unknown => world
            .load(id)
            .await?
            .map_or(Place::None, |(cursor, revision)| Place::At(Box::new(cursor), revision)),
        known => known,
    };
    if schedule.policy.follows_jobs() {
        // Whether a job is live is to be known of the instant, not of the moment before.
        world.until(at).await;
    }
    // What the policy asks about the jobs before, by their records: events tell it late, and may be lost.
    let fates = match place.cursor().filter(|cursor| cursor.unknown().next().is_some()) {
        Some(cursor) => world.fates(schedule, cursor).await?,
        None => HashMap::new(),
    };
    let known = |job| fates.get(&job).copied().unwrap_or(Fate::Live);
    let step = schedule.step(place.cursor(), &known, world.now().max(at), catch_up, MAX_INSTANTS);
    if let Some(failed) = step.failed {
        world.pause(schedule, failed).await?;
    }
    for job in &step.cancel {
        world.cancel(schedule, *job).await?;
    }
    if let Some(before) = step.before {
        let counts = |cursor: Option<&Cursor>| cursor.map_or((0, 0), |c| (c.misfires, c.skipped));
        let (old, new) = (counts(place.cursor()), counts(Some(&before)));
        place = save(world, id, before, place).await?;
        world.missed(schedule, new.0.saturating_sub(old.0), new.1.saturating_sub(old.1));
        hit(Point::IntentWritten).await;
    }
    let Some(mut after) = step.after else { return Ok(Begun::Ended(outcome(step.more, place))) };
    for fire in &step.fire {
        world.until(fire.due_at).await;
        let task_sequence = world.publish(schedule, fire).await?;
        after.stored(fire.job_id, task_sequence);
        hit(Point::TaskPublished).await;
    }
    Ok(Begun::Published(Box::new(Published { after, place, more: step.more })))
}

/// Stores the cursor after a step.
pub(crate) async fn end(
    world: &impl World,
    id: &ScheduleId,
    published: Published,
) -> Result<Outcome, Failure> {
    let Published { after, place, more } = published;
    let place = save(world, id, after, place).await?;
    hit(Point::CursorStored).await;
    Ok(outcome(more, place))
}

const fn outcome(more: bool, place: Place) -> Outcome {
    if more { Outcome::More(place) } else { Outcome::Done(place) }
}

async fn save(world: &impl World, id: &ScheduleId, cursor: Cursor, place: Place) -> Result<Place, Failure> {
    let revision = match place {
        Place::At(_, revision) => Some(revision),
        Place::Unknown | Place::None => None,
    };
    world.save(id, &cursor, revision).await.map(|revision| Place::At(Box::new(cursor), revision))
}

#[cfg(test)]
pub(crate) mod tests;
