//! Messages of work queues that nobody gets any more.
//!
//! Our consumers have no bound on deliveries. Where somebody has set one, a message that reaches it stays in its stream
//! for ever, seen by nobody. What is known is how far its consumer has come: all up to there was delivered and has been
//! settled, or is delivered no more. So work that stands there, under no end and no later message of its job, is never
//! delivered again. It is ended as dead, with a letter, so that people see it and may start it again.
//!
//! A job's message may be judged at once: nothing is acknowledged before its successor is stored, and the end is
//! written on the token. A task has no token; it is judged by the second round that meets it, so that one which was
//! acknowledged a moment ago is not taken for left behind, and not if its job exists.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::{Instant, Interval};
use windlass_broker::connect;
use windlass_broker::consumers::{self, Consumer, LeftBehind};
use windlass_broker::jobs::{self, Change, Jobs, Seen, SeenRecord, Verdict, nonce};
use windlass_core::protocol::{self, Standing};
use windlass_core::settle::DeadCause;
use windlass_core::{JobError, JobState, QueueName, RecordKind, Task};
use windlass_proto::{Done, Incoming};

use crate::ended;
use crate::reject::{Message, Rejection, keep};
use crate::shared::Shared;

/// For one conditional write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
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
    let done = Done {
        kind: last.body.kind().clone(),
        state: JobState::Dead,
        attempts: last.body.attempts().to_vec(),
        result: Bytes::new(),
        result_form: windlass_core::Form::default(),
        result_content_type: String::new(),
        error: Some(error),
        accepted_at: last.body.accepted_at(),
        ended_at: Timestamp::now(),
        nonce: nonce(),
    };
    let change = Change {
        address: &last.address,
        token,
        record: RecordKind::Done,
        body: done.encode(),
        nonce: &done.nonce,
        trace: last.trace,
        ttl: Some(shared.layout.horizon),
        timer: None,
        purge: None,
    };
    match jobs.write(change, Instant::now() + WRITE_TIMEOUT).await? {
        Verdict::Won(_) => {}
        Verdict::Lost | Verdict::Undecided => return Ok(false),
    }
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
        if !before.contains(&found.sequence) {
            suspects.sequences.insert(found.sequence);
        } else if bury(shared, &found).await {
            consumer.remove(found.sequence).await?;
            swept += 1;
        }
    }
    Ok(swept)
}

/// True once the task may go.
async fn bury(shared: &Shared, found: &LeftBehind) -> bool {
    let headers: Vec<_> = found.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let queue = shared.broker.names().queue_of_task(&found.subject).and_then(|queue| queue.parse().ok());
    let incoming = Incoming { headers: &headers, body: &found.body, derived_id: found.derived_id() };
    let task: Option<Task<Bytes>> = windlass_proto::read_task(incoming).ok();
    let mut rejection = Rejection::left_behind();
    if let Some(queue) = &queue {
        rejection = rejection.of_queue(queue);
    }
    if let Some(task) = &task {
        rejection = rejection.of_task(task);
    }
    if let (Some(queue), Some(task)) = (&queue, &task) {
        match shared.jobs(queue).read(queue, task.id).await {
            Ok(seen) if seen.last.is_some() => {
                tracing::warn!(job_id = %task.id, %queue, "a task was left behind whose job exists; removing it");
                return true;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(job_id = %task.id, %error, "a job could not be read");
                return false;
            }
        }
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
