//! Events.

use bytes::Bytes;
use windlass_core::relations::Relations;
use windlass_core::{Event, QueueName, Transition};

use crate::job::{error_from_wire, error_to_wire, outcome_from_wire, outcome_to_wire};
use crate::{Error, form, task, time, v1};

const TRANSITIONS: [(Transition, v1::Transition); 17] = [
    (Transition::Accepted, v1::Transition::Accepted),
    (Transition::Released, v1::Transition::Released),
    (Transition::Started, v1::Transition::Started),
    (Transition::Crashed, v1::Transition::Crashed),
    (Transition::HandedBack, v1::Transition::HandedBack),
    (Transition::Retried, v1::Transition::Retried),
    (Transition::Snoozed, v1::Transition::Snoozed),
    (Transition::Succeeded, v1::Transition::Succeeded),
    (Transition::Dead, v1::Transition::Dead),
    (Transition::Cancelled, v1::Transition::Cancelled),
    (Transition::Expired, v1::Transition::Expired),
    (Transition::Refused, v1::Transition::Refused),
    (Transition::Rejected, v1::Transition::Rejected),
    (Transition::Redriven, v1::Transition::Redriven),
    (Transition::Discarded, v1::Transition::Discarded),
    (Transition::Held, v1::Transition::Held),
    (Transition::Queued, v1::Transition::Queued),
];

impl From<Event> for v1::Event {
    fn from(event: Event) -> Self {
        let transition = TRANSITIONS
            .iter()
            .find(|(domain, _)| *domain == event.transition)
            .map_or(v1::Transition::Unspecified, |(_, wire)| *wire);
        let (result_encoding, result_object) = form::to_wire(&event.result_form);
        let relations = event.relations.map(|relations| *relations).unwrap_or_default();
        Self {
            job_id: event.job_id.to_string(),
            kind: event.kind.map(String::from).unwrap_or_default(),
            transition: transition.into(),
            attempt: event.attempt,
            at: Some(time::to_wire(event.at)),
            worker: event.worker,
            outcome: outcome_to_wire(event.outcome),
            error: event.error.map(error_to_wire),
            result: event.result.map(Bytes::from).unwrap_or_default(),
            result_content_type: event.result_content_type,
            due_at: event.due_at.map(time::to_wire),
            accepted_at: event.accepted_at.map(time::to_wire),
            priority: v1::Priority::from(event.priority).into(),
            traceparent: event.traceparent,
            note: event.note,
            started_at: event.started_at.map(time::to_wire),
            result_encoding,
            result_object,
            alone: event.alone,
            claimed_id: event.claimed_id.map(|id| id.to_string()).unwrap_or_default(),
            key: event.key.map(String::from).unwrap_or_default(),
            tenant: event.tenant.map(String::from).unwrap_or_default(),
            other_id: event.other_id.map(|id| id.to_string()).unwrap_or_default(),
            schedule_id: relations.schedule_id.map(String::from).unwrap_or_default(),
            parent: relations.parent.as_ref().map(Into::into),
            after: relations.after.iter().map(Into::into).collect(),
            after_count: relations.after_count,
            labels: event.labels.into(),
        }
    }
}

impl v1::Event {
    /// Reads an event of this queue.
    pub fn into_domain(self, queue: &QueueName) -> Result<Event, Error> {
        let transition = v1::Transition::try_from(self.transition)
            .map_err(|_| Error::unknown("transition", self.transition, "one of Transition"))
            .and_then(|t| {
                let known = TRANSITIONS.iter().find(|(_, wire)| *wire == t).map(|(domain, _)| *domain);
                known.ok_or_else(|| Error::missing("transition"))
            })?;
        // For people: what cannot be read leads nowhere.
        let relations = Relations {
            schedule_id: self.schedule_id.parse().ok(),
            parent: self.parent.as_ref().and_then(|parent| task::parent(parent).ok()),
            after: self.after.iter().filter_map(|on| task::dependency(on).ok()).collect(),
            after_count: self.after_count,
        };
        Ok(Event {
            job_id: self.job_id.parse().map_err(|e| Error::new("job_id", e))?,
            queue: queue.clone(),
            kind: match self.kind.as_str() {
                "" => None,
                kind => Some(kind.parse().map_err(|e| Error::new("kind", e))?),
            },
            transition,
            attempt: self.attempt,
            at: time::required("at", self.at)?,
            worker: self.worker,
            outcome: outcome_from_wire(self.outcome),
            error: self.error.map(error_from_wire),
            result: (transition == Transition::Succeeded).then(|| self.result.to_vec()),
            result_content_type: self.result_content_type,
            result_form: form::from_wire("result", self.result_encoding, self.result_object)?,
            due_at: time::optional("due_at", self.due_at)?,
            accepted_at: time::optional("accepted_at", self.accepted_at)?,
            priority: task::priority(self.priority)?,
            traceparent: self.traceparent,
            note: self.note,
            started_at: time::optional("started_at", self.started_at)?,
            alone: self.alone,
            // For people: what cannot be read leads nowhere.
            claimed_id: self.claimed_id.parse().ok(),
            key: self.key.parse().ok(),
            tenant: self.tenant.parse().ok(),
            other_id: self.other_id.parse().ok(),
            relations: (relations != Relations::default()).then(|| Box::new(relations)),
            labels: self.labels.try_into().unwrap_or_default(),
        })
    }
}
