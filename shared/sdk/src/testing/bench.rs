//! A bench: the handlers of a worker, what is submitted to them, and a clock that the test moves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use windlass_core::attempt::push_bounded;
use windlass_core::expiry::is_expired;
use windlass_core::settle::{AfterFailure, Failed, after_failure};
use windlass_core::{Attempt, JobId, JobState, Kind, Outcome, QueueName, Task};

use super::attempt::{Ran, TestAttempt};
use crate::client::{Client, Ended};
use crate::failure::{Failure, Follows};
use crate::handler::extract::Payload;
use crate::handler::{ErasedHandlers, Handlers, Job};

/// Runs handlers in the test's own process. What they and the test submit is recorded, and runs in [`Bench::drain`], or
/// at once where the bench is [inline](Bench::inline); retries, delays, snoozes and expiry go by the bench's clock, and
/// by the same rules as in a worker.
#[derive(Debug, Clone)]
pub struct Bench {
    recorder: Arc<Recorder>,
}

/// A task that was submitted.
#[derive(Debug, Clone)]
pub struct SubmittedTask {
    /// Where to.
    pub queue: QueueName,
    /// The task, with all its options.
    pub task: Task<Bytes>,
}

/// A job that has ended on the bench.
#[derive(Debug, Clone)]
pub struct EndedJob {
    /// Its queue.
    pub queue: QueueName,
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: Kind,
    /// A terminal one.
    pub state: JobState,
    /// The handler's value, as JSON text.
    pub result: Bytes,
    /// Why, where it did not succeed.
    pub error: Option<windlass_core::JobError>,
    /// All of them.
    pub attempts: Vec<Attempt>,
}

/// What a bench and its clients share.
pub(crate) struct Recorder {
    handlers: ErasedHandlers,
    inline: bool,
    state: Mutex<State>,
}

struct State {
    now: Timestamp,
    submitted: Vec<SubmittedTask>,
    waiting: Vec<Waiting>,
    ended: BTreeMap<(QueueName, JobId), EndedJob>,
}

struct Waiting {
    queue: QueueName,
    task: Task<Bytes>,
    accepted_at: Timestamp,
    due_at: Timestamp,
    attempts: Vec<Attempt>,
    checkpoint: Bytes,
}

// === impl Bench ===

impl Bench {
    /// With these handlers; jobs run when the test says so.
    pub fn new<S: Send + Sync + 'static>(handlers: Handlers<S>) -> Self {
        Self { recorder: Recorder::new(handlers.erase(), false) }
    }

    /// With these handlers; a job that is due runs before its `submit` returns.
    pub fn inline<S: Send + Sync + 'static>(handlers: Handlers<S>) -> Self {
        Self { recorder: Recorder::new(handlers.erase(), true) }
    }

    /// For the code under test: what is submitted through it stays here.
    pub fn client(&self) -> Client {
        Client::recording(Arc::clone(&self.recorder))
    }

    /// One attempt of the handler of this job.
    pub fn attempt<J: Job>(&self, job: &J) -> TestAttempt {
        let bytes = serde_json::to_vec(job).unwrap_or_default().into();
        let payload = Payload { bytes, content_type: "application/json".to_owned() };
        let kind: Option<Kind> = J::KIND.parse().ok();
        let handler = kind.as_ref().and_then(|kind| self.recorder.handlers.get(kind)).cloned();
        let kind = kind.unwrap_or_else(unnamed);
        let attempt = TestAttempt::new(handler, kind, payload, self.client());
        let client = self.client().with_parent(attempt.about.queue.clone(), attempt.about.job_id);
        TestAttempt { about: crate::worker::context::About { client, ..attempt.about }, ..attempt }
    }

    /// What the bench's clock shows: the time of its making, moved by [`Bench::advance`] only.
    pub fn now(&self) -> Timestamp {
        self.recorder.state().now
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        let mut state = self.recorder.state();
        state.now = state.now.saturating_add(by).unwrap_or(Timestamp::MAX);
    }

    /// Runs what is due, and what comes of it, until nothing is; returns the jobs that ended, in the order of their ends.
    pub async fn drain(&self) -> Vec<EndedJob> {
        let mut ended = Vec::new();
        while let Some(waiting) = self.recorder.take_due() {
            ended.extend(self.recorder.run(&self.client(), waiting).await);
        }
        ended
    }

    /// Every task of this kind that was submitted, in order.
    pub fn submitted<J: Job>(&self) -> Vec<J> {
        let state = self.recorder.state();
        let of_kind = state.submitted.iter().filter(|s| s.task.kind.as_str() == J::KIND);
        of_kind.filter_map(|s| serde_json::from_slice(&s.task.payload).ok()).collect()
    }

    /// Every task that was submitted, with its options.
    pub fn tasks(&self) -> Vec<SubmittedTask> {
        self.recorder.state().submitted.clone()
    }

    /// Whether a task of this kind was submitted for which this holds.
    ///
    /// # Panics
    ///
    /// If none was.
    #[track_caller]
    pub fn assert_submitted<J: Job>(&self, holds: impl Fn(&J) -> bool) {
        let of_kind = self.submitted::<J>();
        assert!(
            of_kind.iter().any(holds),
            "no such task of the kind {} was submitted, of {} of that kind; submitted were: {:?}",
            J::KIND,
            of_kind.len(),
            self.tasks().iter().map(|s| s.task.kind.to_string()).collect::<Vec<_>>(),
        );
    }

    /// Whether no task of this kind was submitted.
    ///
    /// # Panics
    ///
    /// If one was.
    #[track_caller]
    pub fn assert_not_submitted<J: Job>(&self) {
        let count = self.submitted::<J>().len();
        assert!(count == 0, "{count} tasks of the kind {} were submitted", J::KIND);
    }

    /// How a job ended; none if it has not.
    pub fn ended(&self, queue: &QueueName, id: JobId) -> Option<EndedJob> {
        self.recorder.state().ended.get(&(queue.clone(), id)).cloned()
    }
}

// === impl Recorder ===

impl Recorder {
    fn new(handlers: ErasedHandlers, inline: bool) -> Arc<Self> {
        let state = State {
            now: Timestamp::now(),
            submitted: Vec::new(),
            waiting: Vec::new(),
            ended: BTreeMap::new(),
        };
        Arc::new(Self { handlers, inline, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is whole between calls, whoever panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a task; false if its id is there already. Runs it too, where the bench is inline and it is due.
    pub(crate) async fn record(&self, client: &Client, queue: &QueueName, task: Task<Bytes>) -> bool {
        let due = {
            let mut state = self.state();
            if state.submitted.iter().any(|s| s.queue == *queue && s.task.id == task.id) {
                return false;
            }
            let accepted_at = state.now;
            state.submitted.push(SubmittedTask { queue: queue.clone(), task: task.clone() });
            let due_at = task.start.due_at(accepted_at);
            let waiting = Waiting {
                queue: queue.clone(),
                task,
                accepted_at,
                due_at,
                attempts: Vec::new(),
                checkpoint: Bytes::new(),
            };
            if self.inline && due_at <= accepted_at {
                Some(waiting)
            } else {
                state.waiting.push(waiting);
                None
            }
        };
        if let Some(waiting) = due {
            // Boxed: what it runs may submit in turn.
            Box::pin(self.run(client, waiting)).await;
        }
        true
    }

    pub(crate) fn ended(&self, queue: &QueueName, id: JobId) -> Option<Ended> {
        let state = self.state();
        let job = state.ended.get(&(queue.clone(), id))?;
        Some(Ended { state: job.state, result: job.result.clone(), error: job.error.clone() })
    }

    /// The job that is due, or has expired, first.
    fn take_due(&self) -> Option<Waiting> {
        let mut state = self.state();
        let now = state.now;
        let due = state.waiting.iter().enumerate().filter(|(_, w)| w.due_at <= now);
        let first = due.min_by_key(|(index, w)| (w.due_at, *index)).map(|(index, _)| index)?;
        Some(state.waiting.remove(first))
    }

    async fn run(&self, client: &Client, mut waiting: Waiting) -> Option<EndedJob> {
        let now = self.state().now;
        let task = waiting.task.clone();
        if is_expired(&waiting.attempts, waiting.due_at, task.max_wait, now) {
            let error = Failure::new("no attempt began in time").code("expired").terminal().into_error();
            return Some(self.end(waiting, JobState::Expired, Bytes::new(), Some(error)));
        }
        let payload = Payload { bytes: task.payload.clone(), content_type: task.content_type.clone() };
        let handler = self.handlers.get(&task.kind).cloned();
        let policy = task.retry.clone().or_else(|| handler.as_ref().and_then(|h| h.retry.clone()));
        let client = client.with_parent(waiting.queue.clone(), task.id);
        let mut attempt = TestAttempt::new(handler, task.kind.clone(), payload, client);
        let number = windlass_core::attempt::next_number(&waiting.attempts);
        attempt.about.job_id = task.id;
        attempt.about.queue = waiting.queue.clone();
        attempt.about.priority = task.priority;
        attempt.about.attempt = number;
        attempt.about.checkpoint = waiting.checkpoint.clone();
        if let Some(timeout) = task.attempt_timeout {
            attempt.about.timeout = timeout;
        }
        // Boxed: it is large, and may lead here again.
        let Ran { returned, checkpoint, .. } = Box::pin(attempt.run()).await;
        waiting.checkpoint = checkpoint;
        let ended = |outcome, error| Attempt {
            number,
            worker: "bench".to_owned(),
            started_at: Some(now),
            ended_at: now,
            outcome,
            error,
            alone: false,
            failure: 0,
        };
        let failure = match returned {
            Ok(result) => {
                push_bounded(&mut waiting.attempts, ended(Outcome::Succeeded, None));
                return Some(self.end(waiting, JobState::Succeeded, result, None));
            }
            Err(failure) => failure,
        };
        let follows = failure.follows();
        let error = failure.into_error();
        match follows {
            Follows::Snooze(delay) | Follows::Throttle(delay) => {
                push_bounded(&mut waiting.attempts, ended(Outcome::Snoozed, None));
                self.wait(waiting, now, delay);
                None
            }
            Follows::Cancellation => {
                push_bounded(&mut waiting.attempts, ended(Outcome::Cancelled, Some(error.clone())));
                Some(self.end(waiting, JobState::Cancelled, Bytes::new(), Some(error)))
            }
            Follows::Retry | Follows::RetryAfter(_) | Follows::Death => {
                push_bounded(&mut waiting.attempts, ended(Outcome::Failed, Some(error.clone())));
                let failed = Failed {
                    job_id: task.id,
                    attempts: &waiting.attempts,
                    terminal: error.terminal,
                    retry_after: if let Follows::RetryAfter(delay) = follows { Some(delay) } else { None },
                    elapsed: now.duration_since(waiting.accepted_at).unsigned_abs(),
                };
                match after_failure(&policy.unwrap_or_default(), &failed) {
                    AfterFailure::Retry(delay) => {
                        self.wait(waiting, now, delay);
                        None
                    }
                    AfterFailure::Dead(_) => {
                        Some(self.end(waiting, JobState::Dead, Bytes::new(), Some(error)))
                    }
                }
            }
        }
    }

    fn wait(&self, mut waiting: Waiting, now: Timestamp, delay: Duration) {
        waiting.due_at = now.saturating_add(delay).unwrap_or(Timestamp::MAX);
        self.state().waiting.push(waiting);
    }

    fn end(
        &self,
        waiting: Waiting,
        state: JobState,
        result: Bytes,
        error: Option<windlass_core::JobError>,
    ) -> EndedJob {
        let Waiting { queue, task, attempts, .. } = waiting;
        let ended =
            EndedJob { queue: queue.clone(), id: task.id, kind: task.kind, state, result, error, attempts };
        self.state().ended.insert((queue, task.id), ended.clone());
        ended
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds: Vec<_> = self.handlers.keys().collect();
        f.debug_struct("Recorder")
            .field("kinds", &kinds)
            .field("inline", &self.inline)
            .finish_non_exhaustive()
    }
}

/// For a job type whose `KIND` is none: `Handlers::register` refuses it, so there is no handler either.
fn unnamed() -> Kind {
    "unnamed".parse().unwrap_or_else(|_| unreachable!("a word is a kind"))
}
