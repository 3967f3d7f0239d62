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

use bytes::Bytes;
use jiff::Timestamp;
use windlass_broker::failpoint::{Point, hit};
use windlass_core::ScheduleId;
use windlass_core::schedule::{CatchUp, Cursor, Schedule};

use crate::plan::{Outcome, Place};

/// Instants that one step looks at, at most: it bounds the time between two cursors, and a step's computation.
const MAX_INSTANTS: usize = 1024;

/// What a step needs from outside.
pub(crate) trait World: Sync {
    /// What time it is.
    fn now(&self) -> Timestamp;

    /// Reads a cursor and its revision.
    fn load(&self, id: &ScheduleId) -> impl Future<Output = Result<Option<(Cursor, u64)>, Failure>> + Send;

    /// Stores a cursor if its revision is still this one; none: if there is none yet.
    fn save(
        &self,
        id: &ScheduleId,
        cursor: &Cursor,
        revision: Option<u64>,
    ) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// Publishes the task of an instant; done once the broker has stored it, now or before.
    fn publish(
        &self,
        schedule: &Schedule<Bytes>,
        instant: Timestamp,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The schedule was removed: its cursor has no further use. Best effort; a later removal tries again.
    fn forget(&self, id: &ScheduleId);

    /// So many instants were recorded as missed.
    fn missed(&self, schedule: &Schedule<Bytes>, count: u64);
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
}

/// Does what is due.
pub(crate) async fn step(
    world: &impl World,
    schedule: &Schedule<Bytes>,
    place: Place,
    catch_up: &CatchUp,
) -> Result<Outcome, Failure> {
    let id = &schedule.id;
    let mut place = match place {
        Place::Unknown => {
            world.load(id).await?.map_or(Place::None, |(cursor, revision)| Place::At(cursor, revision))
        }
        known => known,
    };
    let due = schedule.due(place.cursor(), world.now(), catch_up, MAX_INSTANTS);
    if let Some(before) = due.before(place.cursor(), schedule.created_at) {
        place = save(world, id, before, place).await?;
        hit(Point::IntentWritten).await;
        world.missed(schedule, due.missed);
        for instant in &due.fire {
            world.publish(schedule, *instant).await?;
            hit(Point::TaskPublished).await;
        }
        if let Some(after) = due.after(&before) {
            place = save(world, id, after, place).await?;
            hit(Point::CursorStored).await;
        }
    }
    Ok(if due.more { Outcome::More(place) } else { Outcome::Done(place) })
}

async fn save(world: &impl World, id: &ScheduleId, cursor: Cursor, place: Place) -> Result<Place, Failure> {
    let revision = match place {
        Place::At(_, revision) => Some(revision),
        Place::Unknown | Place::None => None,
    };
    world.save(id, &cursor, revision).await.map(|revision| Place::At(cursor, revision))
}

#[cfg(test)]
pub(crate) mod tests;
