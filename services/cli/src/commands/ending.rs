//! Waiting for a job's end.
//!
//! Two are asked at once: JOBS, whose `done` is the truth and is announced the moment it is written, and the monitor,
//! which also knows of the ends that leave no `done` (a task that was refused) and of those that are long past. What
//! is shown in the end is the history, as soon as the monitor has caught up; else the record.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use windlass::JobId;
use windlass_broker::jobs::Jobs;
use windlass_broker::locate;
use windlass_core::QueueName;
use windlass_core::history::JobView;

use super::api::Known;
use super::{Error, lookup};
use crate::connect::Fleet;

/// For showing a job that ended in the last moment.
const LAST_LOOK: Duration = Duration::from_secs(1);
/// How often the monitor is asked while the job goes on.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How often it is asked once the job has ended.
const ASK_FOR_END: Duration = Duration::from_millis(100);
/// How long the monitor may take to hear of an end before the record is shown.
const HISTORY_WAIT: Duration = Duration::from_secs(3);

/// The job once it has ended; none if it has not by the deadline.
pub(super) async fn wait(
    fleet: &Fleet,
    id: JobId,
    queue: &QueueName,
    deadline: Instant,
) -> Result<Option<JobView>, Error> {
    let recorded = tokio::select! {
        recorded = recorded(fleet, id, queue, deadline) => recorded?,
        view = told(fleet, id, queue) => return Ok(Some(view)),
    };
    if !recorded {
        return Ok(None);
    }
    // Where the broker falls silent now, single calls may take longer than is left.
    let bound = deadline.max(Instant::now() + LAST_LOOK);
    timeout_at(bound, show(fleet, id, queue)).await.unwrap_or(Ok(None))
}

/// Whether JOBS has its end; false at the deadline.
pub(super) async fn recorded(
    fleet: &Fleet,
    id: JobId,
    queue: &QueueName,
    deadline: Instant,
) -> Result<bool, Error> {
    // Bounded as a whole: a broker that is silent may take longer over a single call.
    timeout_at(deadline, look(fleet, id, queue, deadline)).await.unwrap_or(Ok(false))
}

async fn look(fleet: &Fleet, id: JobId, queue: &QueueName, deadline: Instant) -> Result<bool, Error> {
    let broker = fleet.broker().await?;
    let unread = |source| Error::Jobs { id, source };
    let pools = locate::pools(broker).await.map_err(unread)?;
    // Which pool serves the queue is the dispatchers' to know; until the job is there, it may be any.
    let mut waits: FuturesUnordered<_> = pools
        .into_iter()
        .map(|pool| async move {
            let left = deadline.saturating_duration_since(Instant::now());
            Jobs::new(broker, pool).wait_done(queue, id, left).await
        })
        .collect();
    while let Some(done) = waits.next().await {
        if done.map_err(unread)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The job once the monitor says that it has ended; never, where it does not.
async fn told(fleet: &Fleet, id: JobId, queue: &QueueName) -> JobView {
    loop {
        if let Some(Some(view)) = ask(fleet, id, queue).await {
            return view;
        }
        sleep(ASK_AGAIN).await;
    }
}

/// The job if it has ended, as far as the monitor knows; none at all where the monitor does not answer.
async fn ask(fleet: &Fleet, id: JobId, queue: &QueueName) -> Option<Option<JobView>> {
    let monitor = fleet.monitor().await.ok()??;
    Some(match monitor.job(id, Some(queue)).await.ok()? {
        Known::Job(view) if view.state.is_terminal() => Some(*view),
        _ => None,
    })
}

/// The job that has ended: with its history if that comes in time.
pub(super) async fn show(fleet: &Fleet, id: JobId, queue: &QueueName) -> Result<Option<JobView>, Error> {
    let history = async {
        loop {
            match ask(fleet, id, queue).await {
                Some(None) => sleep(ASK_FOR_END).await,
                Some(Some(view)) => return Some(view),
                None => return None,
            }
        }
    };
    match timeout(HISTORY_WAIT, history).await {
        Ok(Some(view)) => Ok(Some(view)),
        _ => lookup::live(fleet, id, Some(queue)).await,
    }
}
