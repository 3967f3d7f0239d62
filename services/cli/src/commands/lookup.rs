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
    let silent = match history(fleet, id, queue).await? {
        Ok(Some(view)) => return Ok(view),
        Ok(None) => None,
        Err(silent) => Some(silent),
    };
    if let Some(view) = live(fleet, id, queue).await? {
        return Ok(view);
    }
    let place = queue.map(|queue| format!(" in the queue {queue}")).unwrap_or_default();
    let past = silent.map(|error| format!(": none is live, and the past is not known, as {error}"));
    Err(Error::NotFound { id, place: place + &past.unwrap_or_default() })
}

/// The job as the monitor has it. The inner error says why the monitor could not be asked.
async fn history(
    fleet: &Fleet,
    id: JobId,
    queue: Option<&QueueName>,
) -> Result<Result<Option<JobView>, Error>, Error> {
    let known = match fleet.monitor().await {
        Ok(Some(monitor)) => monitor.job(id, queue).await,
        Ok(None) => return Ok(Err(Error::NoMonitor)),
        Err(error) => return Ok(Err(error.into())),
    };
    match known {
        Ok(Known::Job(view)) => Ok(Ok(Some(*view))),
        Ok(Known::Nothing) => Ok(Ok(None)),
        Ok(Known::Several(queues)) => Err(Error::Ambiguous { id, queues }),
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
