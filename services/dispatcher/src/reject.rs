//! A message that is no valid task: kept as a dead letter with its reason, and said.

use bytes::Bytes;
use jiff::Timestamp;
use windlass_broker::dead;
use windlass_broker::delivery::Delivered;
use windlass_core::settle::DeadCause;
use windlass_core::trace::TraceParent;
use windlass_core::{Event, JobError, JobId, Kind, Priority, QueueName, Task, Transition};
use windlass_proto::v1;

use crate::shared::Shared;

/// A message of TASKS.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) subject: &'a str,
    pub(crate) headers: Vec<(&'a str, &'a str)>,
    pub(crate) body: &'a Bytes,
    pub(crate) published_at: Timestamp,
    /// Of a task that carries none.
    pub(crate) derived_id: JobId,
    pub(crate) trace: Option<TraceParent>,
}

/// Why a message is not admitted, and what is known of it.
#[derive(Debug)]
pub(crate) struct Rejection {
    code: &'static str,
    field: String,
    reason: String,
    queue: Option<QueueName>,
    task: Option<(JobId, Kind, Priority)>,
}

// === impl Rejection ===

impl Rejection {
    /// A field is not what it must be.
    pub(crate) fn invalid(field: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self {
            code: "invalid_task",
            field: field.into(),
            reason: reason.to_string(),
            queue: None,
            task: None,
        }
    }

    /// It may have run already, and been forgotten since.
    pub(crate) fn outcome_unknown() -> Self {
        Self {
            code: "outcome_unknown",
            field: String::new(),
            reason:
                "no dispatcher was there for longer than ends of jobs are remembered: the job may have run \
                     before that, so it is not run again unasked"
                    .to_owned(),
            queue: None,
            task: None,
        }
    }

    /// No dispatcher has dealt with it, as often as it was delivered, and none gets it any more.
    pub(crate) fn left_behind() -> Self {
        let reason = "it was delivered as often as the dispatchers' consumer allows, and never admitted";
        let code = DeadCause::MaxDeliveries.as_str();
        Self { code, field: String::new(), reason: reason.to_owned(), queue: None, task: None }
    }

    pub(crate) fn of_queue(mut self, queue: &QueueName) -> Self {
        self.queue = Some(queue.clone());
        self
    }

    pub(crate) fn of_task(mut self, task: &Task<bytes::Bytes>) -> Self {
        self.task = Some((task.id, task.kind.clone(), task.priority));
        self
    }
}

/// Stores the letter, says the event, then acknowledges.
pub(crate) async fn reject(shared: &Shared, delivered: &Delivered, rejection: Rejection) {
    let message = Message {
        subject: &delivered.subject,
        headers: delivered.header_lines(),
        body: &delivered.body,
        published_at: delivered.published_at,
        derived_id: delivered.derived_id(),
        trace: delivered.trace(),
    };
    if keep(shared, message, rejection).await {
        let _ = delivered.handle().ack().await;
    }
}

/// Stores the letter, and says the event; true once both are stored.
pub(crate) async fn keep(shared: &Shared, message: Message<'_>, rejection: Rejection) -> bool {
    let Rejection { code, field, reason, queue, task } = rejection;
    metrics::counter!("windlass_tasks_rejected_total", "code" => code).increment(1);
    tracing::warn!(subject = message.subject, code, field, reason, "not a valid task");
    let queue = queue.unwrap_or_else(dead::unknown_queue);
    // Where its own id could not be read, or is taken by a valid job perhaps, the message's place names it: neither the
    // history nor the letter of a job may be touched by a message that merely bears its id.
    let job_id = match &task {
        Some((id, ..)) if code != "invalid_task" => *id,
        _ => message.derived_id,
    };
    let claimed_id = windlass_proto::claimed_id(&message.headers, message.body).filter(|id| *id != job_id);
    let now = shared.broker.now();
    let header = |(name, value): (&str, &str)| v1::Header { name: name.to_owned(), value: value.to_owned() };
    let letter = v1::DeadLetter {
        reason: reason.clone(),
        code: code.to_owned(),
        field: field.clone(),
        original_subject: message.subject.to_owned(),
        original_headers: message.headers.into_iter().map(header).collect(),
        original_body: message.body.clone(),
        dead_at: Some(windlass_proto::instant(now)),
        claimed_id: claimed_id.map(|id| id.to_string()).unwrap_or_default(),
        ..v1::DeadLetter::default()
    };
    if let Err(error) = dead::publish(&shared.broker, &queue, job_id, letter).await {
        tracing::error!(%error, "a dead letter was not stored; the message is dealt with again");
        return false;
    }
    let kind = task.as_ref().map(|(_, kind, _)| kind.clone());
    let mut event = Event::new(queue, job_id, kind, Transition::Rejected, 0, now);
    event.accepted_at = Some(message.published_at);
    event.claimed_id = claimed_id;
    event.priority = task.map(|(_, _, priority)| priority).unwrap_or_default();
    event.traceparent = message.trace.map(|t| t.to_string()).unwrap_or_default();
    let message = if field.is_empty() { reason } else { format!("{field}: {reason}") };
    event.error = Some(JobError { message, code: code.to_owned(), terminal: true });
    shared.events.record(event).await.is_ok()
}
