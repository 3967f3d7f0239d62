//! Histories as bytes: the wire form of their events.
//!
//! The id, the kind and the trace are almost always those of the first event. Where they are, an event leaves all three
//! out, which shows by its missing id: that is a third of the bytes.

use prost::Message as _;
use prost::bytes::Bytes;
use windlass_core::QueueName;
use windlass_core::history::History;
use windlass_proto::v1;

use super::Error;

/// What is stored of a history.
pub(super) fn encode(history: &History) -> Vec<u8> {
    let mut events: Vec<v1::Event> = history.events().cloned().map(v1::Event::from).collect();
    if let Some((first, others)) = events.split_first_mut() {
        for event in others {
            if event.job_id == first.job_id
                && event.kind == first.kind
                && event.traceparent == first.traceparent
            {
                event.job_id.clear();
                event.kind.clear();
                event.traceparent.clear();
            }
        }
    }
    v1::EventBatch { events, ..v1::EventBatch::default() }.encode_to_vec()
}

/// Reads what is stored of a job of this queue.
pub(super) fn decode(queue: &QueueName, bytes: Vec<u8>) -> Result<History, Error> {
    let unread = |error: &dyn std::fmt::Display| Error::Row { what: "history", text: error.to_string() };
    let mut batch = v1::EventBatch::decode(Bytes::from(bytes)).map_err(|error| unread(&error))?;
    if let Some((first, others)) = batch.events.split_first_mut() {
        for event in others.iter_mut().filter(|event| event.job_id.is_empty()) {
            event.job_id.clone_from(&first.job_id);
            event.kind.clone_from(&first.kind);
            event.traceparent.clone_from(&first.traceparent);
        }
    }
    let mut history = History::default();
    for event in batch.events {
        history.record(event.into_domain(queue).map_err(|error| unread(&error))?);
    }
    Ok(history)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use windlass_core::{Event, JobId, Transition};

    use super::*;

    fn event(transition: Transition, attempt: u32, kind: Option<&str>, traceparent: &str) -> Event {
        let id = JobId::from_parts(Timestamp::UNIX_EPOCH, [7; 10]);
        let kind = kind.and_then(|kind| kind.parse().ok());
        let event = Event::new(QueueName::default(), id, kind, transition, attempt, Timestamp::UNIX_EPOCH);
        Event { traceparent: traceparent.to_owned(), ..event }
    }

    #[test]
    fn what_is_stored_reads_back() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for events in [
            vec![],
            vec![
                event(Transition::Accepted, 0, Some("a.b"), trace),
                event(Transition::Started, 1, Some("a.b"), trace),
            ],
            // What another event lacks is not made up.
            vec![
                event(Transition::Accepted, 0, Some("a.b"), trace),
                event(Transition::Started, 1, Some("a.b"), ""),
            ],
            vec![event(Transition::Accepted, 0, None, ""), event(Transition::Started, 1, Some("a.b"), trace)],
        ] {
            let history = events.into_iter().collect::<History>();
            assert_eq!(decode(&QueueName::default(), encode(&history)).unwrap(), history);
        }
    }

    #[test]
    fn what_is_the_same_is_stored_once() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let of = |count| {
            let events = (1..=count).map(|attempt| event(Transition::Started, attempt, Some("a.b"), trace));
            encode(&events.collect::<History>()).len()
        };
        assert!(of(2) - of(1) < 30, "{} {}", of(1), of(2));
    }
}
