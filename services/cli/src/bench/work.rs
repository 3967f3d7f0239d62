//! The queues of a measurement, and the writes of a job that does nothing.

use bytes::Bytes;
use jiff::Timestamp;
use windlass::Job as _;
use windlass_broker::floor;
use windlass_core::{Attempt, JobId, JobState, Kind, Outcome, Priority, QueueName, Task, Transition};
use windlass_proto::{Done, Teller, v1};

use super::kinds::Nothing;
use super::settings::Settings;

/// Events in one message, as services write them.
const EVENTS_IN_BATCH: u64 = 50;
/// Publishes on their way, of each side of a floor.
const WINDOW: usize = 1000;

/// The queues of a measurement: the default one, which every fleet has, and more.
pub(super) fn queues(count: usize) -> Vec<QueueName> {
    let more = (1..count).filter_map(|number| format!("bench-{number}").parse().ok());
    std::iter::once(QueueName::default()).chain(more).collect()
}

/// The writes of such a job, for a floor.
pub(super) fn floor(settings: &Settings, jobs: u64) -> floor::Work {
    let payload: Bytes = serde_json::to_vec(&Nothing::of(settings.payload)).unwrap_or_default().into();
    let now = Timestamp::now();
    let id = JobId::from_parts(now, rand::random());
    let queues = queues(settings.queues);
    let queue = queues.first().cloned().unwrap_or_default();
    let kind = Kind::try_from(Nothing::KIND.to_owned()).unwrap_or_else(|error| unreachable!("{error}"));
    let task = Task { content_type: "application/json".to_owned(), ..Task::new(id, kind.clone(), payload) };
    let nonce = windlass_broker::jobs::nonce();
    let attempt = Attempt {
        number: 1,
        worker: "worker-host-12345-0123abcd".to_owned(),
        started_at: Some(now),
        ended_at: now,
        outcome: Outcome::Succeeded,
        error: None,
        alone: false,
        failure: 0,
    };
    let done = Done {
        kind: kind.clone(),
        state: JobState::Succeeded,
        attempts: vec![attempt],
        result: Bytes::from_static(b"null"),
        result_form: windlass_core::payload::Form::default(),
        result_content_type: String::new(),
        error: None,
        accepted_at: now,
        ended_at: now,
        nonce: nonce.clone(),
        other_id: None,
    };
    let teller = Teller {
        queue: &queue,
        job_id: id,
        priority: Priority::default(),
        kind: &kind,
        accepted_at: now,
        trace: None,
    };
    let started = teller.event(Transition::Started, 1, now);
    let events = (0..EVENTS_IN_BATCH)
        .map(|number| v1::Event::from(if number % 2 == 0 { started.clone() } else { teller.ended(&done) }));
    let events = v1::EventBatch { events: events.collect(), ..v1::EventBatch::default() };
    floor::Work {
        jobs,
        task: prost::Message::encode_to_vec(&v1::Task::from(&task)).into(),
        ready: windlass_proto::Job::new(task, now, now, nonce).encode(),
        done: done.encode(),
        events: prost::Message::encode_to_vec(&events).into(),
        events_in_batch: EVENTS_IN_BATCH,
        horizon: settings.outcome_ttl,
        window: WINDOW,
        queues,
    }
}
