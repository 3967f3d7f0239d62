//! Jobs that wait for other jobs.
//!
//! A job of which a dependency has not ended is made `held`, and released once none of its edges is open. The marks of its
//! edges (`windlass_broker::jobs::Edge`) stand *before* the job is made, and its dependencies are looked at *after*: so an
//! end is either found by that look, or whoever hears of it finds the marks. Nothing is known only here, and each step may
//! be the last: whoever comes next does it again.
//!
//! - `admission`: what a task waits for, when it is admitted.
//! - `close`: what follows from an end; releasing a job, and letting it die.
//! - `listen`: hearing of ends, where somebody waits for one, and nowhere else.
//! - `patience`: waiting for a task that others name.
//! - `tidy`: what was missed.

mod admission;
mod close;
mod listen;
mod patience;
mod tidy;

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use windlass_broker::jobs::{self, Jobs, Seen, SeenRecord};
use windlass_broker::names::Place;
use windlass_core::dependency::Standing;
use windlass_core::protocol::Kind;
use windlass_proto::{Job, RecordBody};

pub(crate) use self::admission::{Gate, Held, gate, known_again};
pub(crate) use self::close::{abandon, settle};
pub(crate) use self::listen::{Listening, listen};
pub(crate) use self::patience::Patience;
pub(crate) use self::tidy::{mend, tidy};

/// Reads of dependencies at one time.
const READS: usize = 32;
/// For one conditional write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

/// The timer of a job that is held until somebody releases it.
pub(crate) fn never() -> Timestamp {
    Timestamp::from_second(7_258_118_400).unwrap_or(Timestamp::MAX)
}

/// A job that is held until others have ended.
fn awaiting(seen: &Seen) -> Option<(&SeenRecord, &Job)> {
    let last = seen.last.as_ref().filter(|last| !seen.view.done && last.record.kind == Kind::Held)?;
    match &last.body {
        RecordBody::Job(job) if job.awaiting => Some((last, job)),
        _ => None,
    }
}

/// How a job stands, from the stream's leader; none if it is not known.
async fn standing(jobs: &Jobs, place: &Place) -> Result<Option<Standing>, jobs::Error> {
    // Most are: and one that itself waits for many is long.
    if jobs.is_live(&place.0, place.1).await {
        return Ok(Some(Standing::Open));
    }
    let seen = jobs.read(&place.0, place.1).await?;
    Ok(match (&seen.done, &seen.last) {
        (Some(done), _) => Some(Standing::Ended(done.state)),
        (None, Some(_)) => Some(Standing::Open),
        (None, None) => None,
    })
}

async fn standing_of(jobs: &Jobs, place: Place) -> Result<Option<Standing>, jobs::Error> {
    standing(jobs, &place).await
}

async fn standings(jobs: &Jobs, places: Vec<Place>) -> Result<Vec<Option<Standing>>, jobs::Error> {
    let reading = places.into_iter().map(|place| standing_of(jobs, place));
    stream::iter(reading).buffered(READS).try_collect().await
}
