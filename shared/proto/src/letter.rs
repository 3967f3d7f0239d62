//! Dead letters.

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;
use windlass_core::letter::Letter;
use windlass_core::{JobId, Kind, QueueName};

use crate::job::attempts_from_wire;
use crate::{Incoming, headers, read_task, time, v1};

/// Where a letter stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterPlace {
    /// Of its subject.
    pub queue: QueueName,
    /// Of its subject.
    pub job_id: JobId,
    /// In its stream.
    pub sequence: u64,
    /// When it was stored.
    pub stored_at: Timestamp,
}

/// Reads a letter. Anything is one: people must be able to see, and to remove, also what nobody can read. `is_task`
/// says whether a subject is that of the place's tasks.
pub fn read_letter(place: LetterPlace, body: Bytes, is_task: impl FnOnce(&str) -> bool) -> Letter<Bytes> {
    let LetterPlace { queue, job_id, sequence, stored_at } = place;
    let (wire, unreadable) = match v1::DeadLetter::decode(body.clone()) {
        Ok(wire) => (wire, None),
        Err(error) => {
            let reason = format!("the letter cannot be read: {error}");
            let wire = v1::DeadLetter {
                reason: reason.clone(),
                code: "unreadable".to_owned(),
                original_body: body,
                ..v1::DeadLetter::default()
            };
            (wire, Some(reason))
        }
    };
    let lines: Vec<(&str, &str)> =
        wire.original_headers.iter().map(|h| (h.name.as_str(), h.value.as_str())).collect();
    let task = if let Some(reason) = unreadable {
        Err(reason)
    } else if wire.incomplete {
        Err("the letter does not hold all of the task".to_owned())
    } else if is_task(&wire.original_subject) {
        let incoming = Incoming { headers: &lines, body: &wire.original_body, derived_id: &|| job_id };
        read_task(incoming).map_err(|error| format!("it is no valid task: {error}"))
    } else {
        Err("it holds no task".to_owned())
    };
    let named = || lines.iter().find(|(name, _)| name.eq_ignore_ascii_case(headers::KIND));
    let kind = match &task {
        Ok(task) => Some(task.kind.clone()),
        Err(_) => named().and_then(|(_, kind)| kind.parse::<Kind>().ok()),
    };
    let attempts = attempts_from_wire(wire.attempts).unwrap_or_default();
    let in_headers = || lines.iter().find(|(name, _)| name.eq_ignore_ascii_case(headers::TRACEPARENT));
    let trace =
        wire.traceparent.parse().ok().or_else(|| in_headers().and_then(|(_, value)| value.parse().ok()));
    let dead_at = time::optional("dead_at", wire.dead_at).ok().flatten();
    Letter {
        queue,
        job_id,
        claimed_id: wire.claimed_id.parse().ok(),
        sequence,
        dead_at: dead_at.unwrap_or(stored_at),
        code: wire.code,
        reason: wire.reason,
        field: wire.field,
        original_subject: wire.original_subject,
        headers: wire.original_headers.into_iter().map(|h| (h.name, h.value)).collect(),
        body: wire.original_body,
        attempts,
        kind,
        trace,
        task,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(letter: &v1::DeadLetter) -> Letter<Bytes> {
        read_bytes(letter.encode_to_vec().into())
    }

    fn read_bytes(body: Bytes) -> Letter<Bytes> {
        let place = LetterPlace {
            queue: "mail".parse().unwrap(),
            job_id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            sequence: 3,
            stored_at: Timestamp::from_second(9).unwrap(),
        };
        read_letter(place, body, |subject| subject == "task.mail")
    }

    #[test]
    fn only_a_whole_and_valid_task_can_be_started_again() {
        let task = v1::Task { kind: "a.b".to_owned(), payload: "p".into(), ..Default::default() };
        let letter = v1::DeadLetter {
            original_subject: "task.mail".to_owned(),
            original_body: task.encode_to_vec().into(),
            dead_at: Some(crate::instant(Timestamp::from_second(5).unwrap())),
            ..Default::default()
        };
        let good = read(&letter);
        assert_eq!(good.dead_at, Timestamp::from_second(5).unwrap());
        // One that carried no id is the job of the letter.
        assert_eq!(good.task.as_ref().map(|t| (t.id, &t.payload[..])), Ok((good.job_id, &b"p"[..])));
        for (bad, reason) in [
            (v1::DeadLetter { incomplete: true, ..letter.clone() }, "all of the task"),
            (v1::DeadLetter { original_subject: "command.mail.cancel".into(), ..letter.clone() }, "no task"),
            (v1::DeadLetter { original_body: "\u{1}".into(), ..letter.clone() }, "no valid task"),
        ] {
            let error = read(&bad).task.unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_a_letter_too() {
        let letter = read_bytes(Bytes::from_static(b"\xff\xff"));
        assert_eq!((letter.code.as_str(), &letter.body[..]), ("unreadable", &b"\xff\xff"[..]));
        assert_eq!(letter.dead_at, Timestamp::from_second(9).unwrap());
        let header = v1::Header { name: "windlass-kind".to_owned(), value: "a.b".to_owned() };
        let plain = v1::DeadLetter { original_headers: vec![header], ..Default::default() };
        assert_eq!(read(&plain).kind.map(|k| k.to_string()), Some("a.b".to_owned()));
    }

    #[test]
    fn the_trace_is_the_jobs_or_the_publishers() {
        let text = |digit: char| format!("00-{}-{}-01", digit.to_string().repeat(32), "7".repeat(16));
        let header = v1::Header { name: "Traceparent".to_owned(), value: text('a') };
        let published = v1::DeadLetter { original_headers: vec![header], ..Default::default() };
        let accepted = v1::DeadLetter { traceparent: text('b'), ..published.clone() };
        let trace = |letter| read(letter).trace.map(|trace| trace.to_string());
        assert_eq!(trace(&published), Some(text('a')));
        assert_eq!(trace(&accepted), Some(text('b')));
        assert_eq!(trace(&v1::DeadLetter::default()), None);
    }
}
