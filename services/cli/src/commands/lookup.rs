//! Finding a job: at the monitor, which has its history, else in JOBS, which has its live record.

use std::collections::BTreeSet;

use jiff::Timestamp;
use windlass::JobId;
use windlass_broker::jobs::Jobs;
use windlass_broker::locate;
use windlass_core::QueueName;
use windlass_core::history::JobView;

use super::api::Known;
use super::{Error, api, record};
use crate::connect::Fleet;

/// The job of this id, in this queue or in the only one that has it.
pub(super) async fn find(fleet: &Fleet, id: JobId, queue: Option<&QueueName>) -> Result<JobView, Error> {
    let (silent, rejected) = match history(fleet, id, queue).await? {
        Ok(Known::Job(view)) => return Ok(*view),
        Ok(Known::Several(queues)) => return Err(Error::Ambiguous { id, queues }),
        Ok(Known::Nothing(rejected)) => (None, rejected),
        Err(silent) => (Some(silent), None),
    };
    if let Some(view) = live(fleet, id, queue).await? {
        return Ok(view);
    }
    if let Some(rejected) = rejected {
        return Err(Error::Rejected { id, rejected });
    }
    let place = queue.map(|queue| format!(" in the queue {queue}")).unwrap_or_default();
    let past = silent.map(|error| format!(": none is live, and the past is not known, as {error}"));
    Err(Error::NotFound { id, place: place + &past.unwrap_or_default() })
}

/// What the monitor knows of the id. The inner error says why it could not be asked.
async fn history(fleet: &Fleet, id: JobId, queue: Option<&QueueName>) -> Result<Result<Known, Error>, Error> {
    let known = match fleet.monitor().await {
        Ok(Some(monitor)) => monitor.job(id, queue).await,
        Ok(None) => return Ok(Err(Error::NoMonitor)),
        Err(error) => return Ok(Err(error.into())),
    };
    match known {
        Ok(known) => Ok(Ok(known)),
        Err(error @ api::Error::Refused(_)) => Err(error.into()),
        Err(error) => Ok(Err(error.into())),
    }
}

/// The job as its record in JOBS has it.
pub(super) async fn live(
    fleet: &Fleet,
    id: JobId,
    queue: Option<&QueueName>,
) -> Result<Option<JobView>, Error> {
    let broker = fleet.broker().await?;
    let unread = |source| Error::Jobs { id, source };
    let places = locate::places(broker, queue, id).await.map_err(unread)?;
    let queues: BTreeSet<_> = places.iter().map(|place| place.queue.to_string()).collect();
    if queues.len() > 1 {
        return Err(Error::Ambiguous { id, queues: queues.into_iter().collect() });
    }
    for place in places {
        let seen = Jobs::new(broker, place.pool).read(&place.queue, id).await.map_err(unread)?;
        if let Some(view) = record::view(id, &seen, Timestamp::now()) {
            return Ok(Some(view));
        }
    }
    Ok(None)
}
