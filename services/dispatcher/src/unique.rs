//! Tasks that share a key: one of them gets a job, or they become one (`windlass_core::unique`).
//!
//! A marker beside the jobs' messages names the job of a key. Whoever makes a job for a key writes both at once, on the
//! condition of the marker that it has read, so of rivals exactly one wins, wherever they are. What a marker's job still
//! counts for is read from the job itself. A task that gets no job has its end written under its own id, with the other
//! job's, so that whoever waits for it is told.
//!
//! Each of these writes has the condition that the task's id is unknown. So a task that is delivered again finds what it
//! has come to, and only what follows is done again (`finish.rs`).

mod finish;
mod group;
mod key;
mod line;
mod standing;
mod tidy;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::Instant;
use windlass_broker::delivery::Delivered;
use windlass_broker::failpoint::{Point, hit};
use windlass_broker::jobs::{Address, Change, Jobs, Verdict, nonce};
use windlass_broker::names::MarkerOf;
use windlass_core::admission::kept_for;
use windlass_core::task::Parent;
use windlass_core::trace::TraceParent;
use windlass_core::unique::{Instead, Of, Unique, group_token};
use windlass_core::{Event, Form, JobError, JobId, JobState, RecordKind, Task};
use windlass_proto::{Done, Teller};

pub(crate) use self::group::{is_open, let_go};
pub(crate) use self::line::Lines;
pub(crate) use self::tidy::tidy;
use crate::admit;
use crate::objects;
use crate::shared::Shared;

/// A task that shares a key with others.
#[derive(Debug)]
pub(crate) struct Entrant {
    /// Of its job, if it gets one.
    pub(crate) address: Address,
    pub(crate) task: Task<Bytes>,
    pub(crate) accepted_at: Timestamp,
    pub(crate) due_at: Timestamp,
    pub(crate) trace: TraceParent,
    /// Past it, another dispatcher may have the task.
    pub(crate) deadline: Instant,
    /// For the event of its acceptance.
    pub(crate) note: String,
}

/// What a task has come to: the events to be said before it is acknowledged.
#[derive(Debug)]
struct Outcome {
    events: Vec<Event>,
}

/// Deals with a task that shares a key; it is acknowledged once its outcome is stored and said.
pub(crate) async fn admit(
    shared: &Shared,
    delivered: &Delivered,
    mut entrant: Entrant,
    parent: Option<&Parent>,
) {
    let of = match (&entrant.task.aggregate, &entrant.task.unique) {
        (Some(aggregate), _) => MarkerOf::Group(group_token(&entrant.task.kind, &aggregate.key)),
        (None, Some(unique)) => match unique.resolve(&entrant.task) {
            Ok(key) => {
                let token = key.token();
                entrant.task.unique = Some(Box::new(Unique { of: Of::Key(key), ..(**unique).clone() }));
                MarkerOf::Unique(token)
            }
            // It was checked.
            Err(error) => {
                tracing::error!(job_id = %entrant.address.job_id, %error, "a task without a key; it is delivered again");
                return;
            }
        },
        (None, None) => return,
    };
    let address = entrant.address.clone();
    let Some(outcome) = shared.lines.enter(shared, &address.queue, of, entrant).await else {
        tracing::debug!(job_id = %address.job_id, "a task that shares a key is open; it is delivered again");
        return;
    };
    if shared.events.record_all(outcome.events).await.is_ok() && admit::follow(shared, parent, &address).await
    {
        hit(Point::AcceptedSaid).await;
        let _ = delivered.handle().ack().await;
        hit(Point::TaskAcked).await;
    }
}

// === impl Entrant ===

impl Entrant {
    fn id(&self) -> JobId {
        self.address.job_id
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    fn teller(&self) -> Teller<'_> {
        Teller {
            queue: &self.address.queue,
            job_id: self.address.job_id,
            priority: self.address.priority,
            kind: &self.task.kind,
            accepted_at: self.accepted_at,
            trace: Some(self.trace),
        }
    }

    fn accepted(&self, due_at: Timestamp) -> Event {
        Event { note: self.note.clone(), ..self.teller().accepted(due_at).of_task(&self.task) }
    }

    /// Its end in favour of another job.
    fn done(&self, shared: &Shared, instead: Instead, other: JobId) -> Done {
        Done {
            kind: self.task.kind.clone(),
            state: JobState::Cancelled,
            attempts: Vec::new(),
            result: Bytes::new(),
            result_form: Form::default(),
            result_content_type: String::new(),
            error: Some(error(instead, other)),
            accepted_at: self.accepted_at,
            ended_at: shared.broker.now().max(self.accepted_at),
            nonce: nonce(),
            other_id: Some(other),
        }
    }

    /// The write of that end: nothing may be known of its id.
    fn end<'a>(&'a self, shared: &Shared, done: &'a Done) -> Change<'a> {
        Change {
            address: &self.address,
            token: 0,
            record: RecordKind::Done,
            body: done.encode(),
            nonce: &done.nonce,
            trace: Some(self.trace),
            ttl: Some(kept_for(shared.layout.horizon)),
            timer: None,
            purge: None,
        }
    }

    /// What follows that end.
    async fn ended(&self, shared: &Shared, done: &Done) -> Outcome {
        let code = done.error.as_ref().map_or("", |error| error.code.as_str());
        self.count(match Instead::from_code(code) {
            Some(Instead::Refused) | None => "refused",
            Some(Instead::Merged | Instead::Replaced) => "merged",
        });
        hit(Point::JobCreated).await;
        objects::remove_of(shared, &self.address.queue, &self.task).await;
        Outcome { events: vec![self.accepted(self.due_at), self.teller().ended(done)] }
    }

    fn count(&self, outcome: &'static str) {
        let queue = self.address.queue.to_string();
        metrics::counter!("windlass_unique_total", "queue" => queue, "outcome" => outcome).increment(1);
    }
}

fn error(instead: Instead, other: JobId) -> JobError {
    let message = format!("{} {other}", instead.words());
    JobError { message, code: instead.code().to_owned(), terminal: true }
}

/// Ends a task that gets no job, whatever else happens; none if it stays open.
async fn end_alone(
    shared: &Shared,
    jobs: &Jobs,
    entrant: &Entrant,
    instead: Instead,
    other: JobId,
) -> Option<Outcome> {
    let done = entrant.done(shared, instead, other);
    match jobs.write(entrant.end(shared, &done), entrant.deadline).await {
        Ok(Verdict::Won(_)) => Some(entrant.ended(shared, &done).await),
        Ok(Verdict::Lost) => finish::find(shared, jobs, entrant).await.ok().flatten(),
        Ok(Verdict::Undecided) => None,
        Err(error) => {
            let error = anyhow::Error::new(error);
            tracing::error!(job_id = %entrant.id(), %error, "the end of a task was not written");
            None
        }
    }
}
