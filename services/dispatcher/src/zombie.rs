//! Messages of work queues that nobody gets any more.
//!
//! Our consumers have no bound on deliveries. Where somebody has set one, a message that reaches it stays in its stream
//! for ever, seen by nobody. What is known is how far its consumer has come: all up to there was delivered and has been
//! settled, or is delivered no more. So work that stands there, under no end and no later message of its job, is never
//! delivered again. It is ended as dead, with a letter, so that people see it and may start it again.
//!
//! A job's message may be judged at once: nothing is acknowledged before its successor is stored, and the end is
//! written on the token. A task whose job exists has no further use, acknowledged or not, and is removed. One without a
//! job is judged by the second round that meets it, so that one which was acknowledged a moment ago is not taken for left
//! behind.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use tokio::time::Interval;
use windlass_broker::connect;
use windlass_broker::consumers::{self, Consumer, LeftBehind};
use windlass_broker::jobs::{self, Jobs, Seen, SeenRecord, Verdict};
use windlass_core::protocol::{self, Standing};
use windlass_core::settle::DeadCause;
use windlass_core::{JobError, JobState, QueueName, Task};
use windlass_proto::Incoming;

use crate::ended::{self, End};
use crate::reject::{Message, Rejection, keep};
use crate::shared::Shared;

/// Tasks of one round; the next one finds the others.
const MOST_TASKS: usize = 1000;

/// How far the consumers of a pool's queues have come, looked up once a round.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    by_queue: HashMap<QueueName, u64>,
}

/// Tasks that the round before has met.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    sequences: HashSet<u64>,
}

// === impl Passed ===

impl Passed {
    /// Whether its consumer has come past this message. What cannot be looked up has not.
    pub(crate) async fn has(&mut self, shared: &Shared, jobs: &Jobs, found: &SeenRecord) -> bool {
        let queue = &found.address.queue;
        if let Some(settled) = self.by_queue.get(queue) {
            return found.record.sequence <= *settled;
        }
        // Whatever happens to the job meanwhile is found out on its token.
        let consumer = shared.broker.names().worker_consumer(queue);
        let settled = match consumers::settled(&shared.broker, jobs.stream(), &consumer).await {
            Ok(settled) => settled.unwrap_or(0),
            Err(error) => {
                tracing::warn!(%queue, %error, "a queue's consumer could not be looked up");
                0
            }
        };
        self.by_queue.insert(queue.clone(), settled);
        found.record.sequence <= settled
    }
}

/// Ends a job whose work is delivered no more. What follows the end is done by whoever comes next, should this be cut
/// short: the work is left over then.
pub(crate) async fn end(
    shared: &Shared,
    jobs: &Jobs,
    found: &SeenRecord,
    seen: &Seen,
) -> Result<bool, jobs::Error> {
    let (Standing::Mine { token }, Some(last)) =
        (protocol::claim(found.record.sequence, &seen.view), &seen.last)
    else {
        return Ok(false);
    };
    let (job_id, queue) = (last.address.job_id, &last.address.queue);
    tracing::warn!(%job_id, %queue, "a job's message is delivered no more; ending the job");
    let message = "it was delivered as often as its queue's consumer allows, and never ended".to_owned();
    let error = JobError { message, code: DeadCause::MaxDeliveries.as_str().to_owned(), terminal: false };
    let end = End { token, purge_timer: false, state: JobState::Dead, error };
    let (Verdict::Won(_), _) = ended::write(shared, jobs, last, end).await? else { return Ok(false) };
    let seen = jobs.read(queue, job_id).await?;
    Ok(ended::clear_up(shared, jobs, queue, job_id, &seen).await)
}

/// Makes letters of tasks that the dispatchers' consumer has left behind, and removes them; returns how many.
pub(crate) async fn sweep_tasks(
    shared: &Shared,
    suspects: &mut Suspects,
    pace: &mut Interval,
) -> Result<u64, connect::Error> {
    let consumer = Consumer::of_tasks(&shared.broker);
    let before = std::mem::take(&mut suspects.sequences);
    let Some(settled) = consumer.settled().await? else { return Ok(0) };
    let (mut from, mut swept) = (0, 0);
    for _ in 0..MOST_TASKS {
        pace.tick().await;
        let Some(found) = consumer.next(from).await? else { break };
        if found.sequence > settled {
            break;
        }
        from = found.sequence + 1;
        if may_go(shared, &found, before.contains(&found.sequence)).await {
            consumer.remove(found.sequence).await?;
            swept += 1;
        } else {
            suspects.sequences.insert(found.sequence);
        }
    }
    Ok(swept)
}

/// True once the task may go: its job exists, or it was met `before` and a letter is kept of it.
async fn may_go(shared: &Shared, found: &LeftBehind, before: bool) -> bool {
    let headers: Vec<_> = found.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let queue = shared.broker.names().queue_of_task(&found.subject).and_then(|queue| queue.parse().ok());
    let incoming = Incoming { headers: &headers, body: &found.body, derived_id: &|| found.derived_id() };
    let task: Option<Task<Bytes>> = windlass_proto::read_task(incoming).ok();
    if let (Some(queue), Some(task)) = (&queue, &task) {
        match shared.jobs(queue).read(queue, task.id).await {
            Ok(Seen { last: Some(last), .. }) => {
                // A broker whose disk was full has forgotten the acknowledgement, or a dispatcher died before it.
                tracing::warn!(job_id = %task.id, %queue, "a task was left behind whose job exists; removing it");
                return shared.events.record(last.accepted()).await.is_ok();
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(job_id = %task.id, %error, "a job could not be read");
                return false;
            }
        }
    }
    if !before {
        return false;
    }
    let mut rejection = Rejection::left_behind();
    if let Some(queue) = &queue {
        rejection = rejection.of_queue(queue);
    }
    if let Some(task) = &task {
        rejection = rejection.of_task(task);
    }
    let message = Message {
        subject: &found.subject,
        headers: headers.clone(),
        body: &found.body,
        published_at: found.published_at,
        derived_id: found.derived_id(),
        trace: None,
    };
    keep(shared, message, rejection).await
}
