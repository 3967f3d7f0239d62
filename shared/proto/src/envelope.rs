//! The two forms of a task on `windlass.task.<queue>`: the envelope, and plain headers with any body.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message;
use windlass_core::dependency::parse_list;
use windlass_core::flow::FlowKey;
use windlass_core::labels::Labels;
use windlass_core::task::MAX_POINTS;
use windlass_core::{Encoding, Form, JobId, RetryPolicy, Start, Task, duration};

use crate::{Error, form, plain, task, v1};

/// Of a payload that names none.
pub const DEFAULT_CONTENT_TYPE: &str = "application/octet-stream";

/// The headers of a plain task, as `proto/windlass/v1/task.proto` documents them.
pub mod headers {
    /// Its presence makes a message a plain task.
    pub const KIND: &str = "Windlass-Kind";
    /// The job's id.
    pub const ID: &str = "Windlass-Id";
    /// A priority's word.
    pub const PRIORITY: &str = "Windlass-Priority";
    /// How long to wait.
    pub const DELAY: &str = "Windlass-Delay";
    /// The instant to start at.
    pub const RUN_AT: &str = "Windlass-Run-At";
    /// Failed attempts allowed.
    pub const MAX_ATTEMPTS: &str = "Windlass-Max-Attempts";
    /// Time allowed for one attempt.
    pub const TIMEOUT: &str = "Windlass-Timeout";
    /// Time allowed to wait for the first attempt.
    pub const MAX_WAIT: &str = "Windlass-Max-Wait";
    /// What limits, orders and rates by key count it under.
    pub const KEY: &str = "Windlass-Key";
    /// What it costs where there is a rate.
    pub const POINTS: &str = "Windlass-Points";
    /// Whom it is for.
    pub const TENANT: &str = "Windlass-Tenant";
    /// What its publisher says of it, for people.
    pub const LABELS: &str = "Windlass-Labels";
    /// The jobs that it waits for.
    pub const AFTER: &str = "Windlass-After";
    /// What was done to the payload.
    pub const ENCODING: &str = "Windlass-Encoding";
    /// The key that it was sealed with.
    pub const KEY_ID: &str = "Windlass-Key-Id";
    /// Of the payload.
    pub const CONTENT_TYPE: &str = "Content-Type";
    /// W3C trace context.
    pub const TRACEPARENT: &str = "traceparent";
}

/// The headers of ours that a plain task may have.
const KNOWN: [&str; 15] = [
    headers::KIND,
    headers::ID,
    headers::PRIORITY,
    headers::DELAY,
    headers::RUN_AT,
    headers::MAX_ATTEMPTS,
    headers::TIMEOUT,
    headers::MAX_WAIT,
    headers::KEY,
    headers::POINTS,
    headers::TENANT,
    headers::LABELS,
    headers::AFTER,
    headers::ENCODING,
    headers::KEY_ID,
];

/// The broker's headers that a publisher may set: those of one publish, and those of a batch that is stored all or none.
const ALLOWED_BROKER_HEADERS: [&str; 5] =
    ["Nats-Msg-Id", "Nats-Expected-Stream", "Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit"];

/// A message as it stands on TASKS.
#[derive(Clone, Copy)]
pub struct Incoming<'a> {
    /// Every header line, in order; a name may come twice.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a Bytes,
    /// Makes the id of a task that carries none.
    pub derived_id: &'a dyn Fn() -> JobId,
}

/// Reads a task in either form. Limits are not checked here, as they are the fleet's.
pub fn read_task(incoming: Incoming<'_>) -> Result<Task<Bytes>, Error> {
    for (name, _) in incoming.headers {
        let is_broker = name.get(..5).is_some_and(|p| p.eq_ignore_ascii_case("nats-"));
        if is_broker && !ALLOWED_BROKER_HEADERS.iter().any(|allowed| name.eq_ignore_ascii_case(allowed)) {
            return Err(Error::new(*name, "is a header of the broker's that a task may not carry"));
        }
    }
    let find = |wanted: &str| find(incoming.headers, wanted);
    let Some(kind) = find(headers::KIND)? else {
        if let Some((name, _)) = incoming.headers.iter().find(|(name, _)| is_ours(name)) {
            return Err(Error::new(*name, "goes with the header Windlass-Kind, which is missing"));
        }
        let task = v1::Task::decode(incoming.body.clone())?;
        if !task.origin_id.is_empty() {
            return Err(Error::new("origin_id", "is for dispatchers alone: expected none"));
        }
        return task::from_wire(task, Some(incoming.derived_id));
    };
    if let Some((name, _)) = incoming
        .headers
        .iter()
        .find(|(name, _)| is_ours(name) && !known().any(|k| k.eq_ignore_ascii_case(name)))
    {
        let known = known().collect::<Vec<_>>().join(", ");
        return Err(Error::new(*name, format!("is no known header: expected one of {known}")));
    }
    let start = match (find(headers::DELAY)?, find(headers::RUN_AT)?) {
        (None, None) => Start::Now,
        (Some(delay), None) => Start::After(duration(headers::DELAY, delay)?),
        (None, Some(at)) => Start::At(instant(headers::RUN_AT, at)?),
        (Some(_), Some(_)) => {
            return Err(Error::new(headers::RUN_AT, "stands beside Windlass-Delay: expected one of them"));
        }
    };
    let encoding = encoding(find(headers::ENCODING)?, find(headers::KEY_ID)?)?;
    Ok(Task {
        id: match find(headers::ID)? {
            None if encoding.key_id.is_some() => return Err(form::no_id(headers::ID)),
            None => (incoming.derived_id)(),
            Some(text) => text.parse().map_err(|e| Error::new(headers::ID, e))?,
        },
        kind: kind.parse().map_err(|e| Error::new(headers::KIND, e))?,
        payload: incoming.body.clone(),
        form: Form { encoding, object: None },
        content_type: task::content_type(find(headers::CONTENT_TYPE)?.unwrap_or_default().to_owned())
            .map_err(|e| Error::new(headers::CONTENT_TYPE, e.reason))?,
        priority: match find(headers::PRIORITY)? {
            None => windlass_core::Priority::default(),
            Some(text) => text.parse().map_err(|e| Error::new(headers::PRIORITY, e))?,
        },
        start,
        retry: match find(headers::MAX_ATTEMPTS)? {
            None => None,
            Some(text) => Some(max_attempts(text)?),
        },
        attempt_timeout: match find(headers::TIMEOUT)? {
            None => None,
            Some(text) => Some(duration(headers::TIMEOUT, text)?),
        },
        max_wait: find(headers::MAX_WAIT)?.map(|text| duration(headers::MAX_WAIT, text)).transpose()?,
        parent: None,
        schedule_id: None,
        labels: match find(headers::LABELS)? {
            None => Labels::default(),
            Some(text) => text.parse().map_err(|e| Error::new(headers::LABELS, e))?,
        },
        origin: None,
        key: find(headers::KEY)?.map(|text| key(headers::KEY, text)).transpose()?,
        points: find(headers::POINTS)?.map(points).transpose()?.unwrap_or(1),
        tenant: find(headers::TENANT)?.map(|text| key(headers::TENANT, text)).transpose()?,
        after: match find(headers::AFTER)? {
            None => Vec::new(),
            Some(text) => parse_list(text).map_err(|e| Error::new(headers::AFTER, e))?,
        },
        unique: plain::unique(find)?,
        aggregate: plain::aggregate(find)?,
    })
}

/// The id that a message bears, whatever else is wrong with it; none where none can be read.
pub fn claimed_id(headers: &[(&str, &str)], body: &Bytes) -> Option<JobId> {
    match find(headers, self::headers::ID) {
        Ok(Some(id)) => id.parse().ok(),
        Ok(None) if find(headers, self::headers::KIND) == Ok(None) => {
            v1::Task::decode(body.clone()).ok()?.id.parse().ok()
        }
        _ => None,
    }
}

fn known() -> impl Iterator<Item = &'static str> {
    KNOWN.into_iter().chain(plain::KNOWN)
}

fn encoding(words: Option<&str>, key_id: Option<&str>) -> Result<Encoding, Error> {
    let key_id = key_id.map(|id| id.parse().map_err(|e| Error::new(headers::KEY_ID, e))).transpose()?;
    Encoding::from_words(words.unwrap_or_default(), key_id).map_err(|e| Error::new(headers::ENCODING, e))
}

fn is_ours(name: &str) -> bool {
    name.get(..9).is_some_and(|p| p.eq_ignore_ascii_case("windlass-"))
}

fn find<'a>(lines: &[(&'a str, &'a str)], wanted: &str) -> Result<Option<&'a str>, Error> {
    let mut values =
        lines.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value);
    let first = values.next();
    if values.next().is_some() {
        return Err(Error::new(wanted, "is given twice: expected once"));
    }
    Ok(first)
}

fn duration(field: &str, text: &str) -> Result<Duration, Error> {
    duration::parse(text).ok_or_else(|| Error::new(field, format!("expected {}", duration::EXPECTED)))
}

fn points(text: &str) -> Result<u32, Error> {
    let points = text.parse().ok().filter(|points| (1..=MAX_POINTS).contains(points));
    points.ok_or_else(|| Error::new(headers::POINTS, format!("expected a number from 1 to {MAX_POINTS}")))
}

fn key(field: &str, text: &str) -> Result<FlowKey, Error> {
    text.parse().map_err(|e| Error::new(field, e))
}

fn instant(field: &str, text: &str) -> Result<Timestamp, Error> {
    text.parse().map_err(|_| Error::new(field, "expected an instant with an offset, as 2026-01-31T09:00:00Z"))
}

fn max_attempts(text: &str) -> Result<RetryPolicy, Error> {
    text.parse()
        .ok()
        .and_then(|n| RetryPolicy::default().with_max_attempts(n).ok())
        .ok_or_else(|| Error::new(headers::MAX_ATTEMPTS, "expected a number from 1 to 1000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn read(headers: &[(&str, &str)], body: &[u8]) -> Result<Task<Bytes>, Error> {
        let derived_id = ID.parse().unwrap();
        read_task(Incoming { headers, body: &Bytes::copy_from_slice(body), derived_id: &|| derived_id })
    }

    #[test]
    fn plain_headers() {
        let task = read(
            &[
                ("windlass-kind", "file.digest"),
                ("Windlass-Priority", "high"),
                ("Windlass-Delay", "1h 30m"),
                ("Windlass-Max-Attempts", "7"),
                ("Content-Type", "application/json"),
                ("Nats-Msg-Id", "x"),
                ("traceparent", "anything"),
            ],
            b"{}",
        )
        .unwrap();
        assert_eq!((task.kind.as_str(), task.id.to_string().as_str()), ("file.digest", ID));
        assert_eq!(task.start, Start::After(Duration::from_secs(5400)));
        assert_eq!(task.retry.unwrap().max_attempts(), 7);
    }

    #[test]
    fn the_envelope_reads_back() {
        let task = Task {
            id: ID.parse().unwrap(),
            kind: "a.b".parse().unwrap(),
            payload: Bytes::from_static(b"\0\xff"),
            form: Form {
                encoding: Encoding {
                    compression: windlass_core::Compression::Zstd,
                    key_id: "k1".parse().ok(),
                },
                object: Some(windlass_core::ObjectRef { name: "q/id/x".into(), bytes: 7, sha256: [3; 32] }),
            },
            content_type: "text/plain".into(),
            priority: windlass_core::Priority::Low,
            start: Start::At("2026-01-31T09:00:00.5Z".parse().unwrap()),
            retry: Some(RetryPolicy::default().with_max_attempts(3).unwrap()),
            attempt_timeout: Some(Duration::from_millis(1500)),
            max_wait: Some(Duration::from_secs(7)),
            parent: Some(windlass_core::task::Parent {
                queue: "mail".parse().unwrap(),
                job_id: ID.parse().unwrap(),
                detached: true,
            }),
            schedule_id: "nightly".parse().ok(),
            labels: "env=prod,region=eu".parse().unwrap(),
            origin: None,
            key: Some("account 42".parse().unwrap()),
            tenant: Some("acme".parse().unwrap()),
            points: 7,
            after: parse_list(&format!("{ID};queue=mail;on=continue, {ID};on=ignore")).unwrap(),
            unique: Some(Box::new(windlass_core::unique::Unique {
                states: vec![windlass_core::JobState::Held],
                on_conflict: windlass_core::unique::OnConflict::Replace,
                max_delay: Some(Duration::from_secs(9)),
                ..windlass_core::unique::Unique::key("u".parse().unwrap())
            })),
            aggregate: Some(Box::new(windlass_core::unique::Aggregate {
                key: "g".parse().unwrap(),
                grace: Duration::from_secs(1),
                max_delay: Duration::from_secs(2),
                max_size: 3,
            })),
        };
        assert_eq!(read(&[], &v1::Task::from(&task).encode_to_vec()).unwrap(), task);
    }

    #[test]
    fn the_id_is_read_whatever_else_is_wrong() {
        let envelope =
            |id: &str| v1::Task { id: id.to_owned(), priority: 99, ..v1::Task::default() }.encode_to_vec();
        let (kind, id) = (("Windlass-Kind", "a b"), ("windlass-id", ID));
        for (headers, body, found) in [
            (&[kind, id, ("Windlass-Delay", "soon")][..], &b"x"[..], true),
            (&[id][..], b"x", true),
            (&[], &envelope(ID), true),
            (&[("Windlass-Nonsense", "1")], &envelope(ID), true),
            // A plain task's body is the payload.
            (&[kind], &envelope(ID), false),
            (&[kind, id, id], b"x", false),
            (&[kind, ("Windlass-Id", "7")], b"x", false),
            (&[], &envelope("7"), false),
            (&[], b"\xff", false),
        ] {
            let claimed = claimed_id(headers, &Bytes::copy_from_slice(body));
            assert_eq!(claimed, found.then(|| ID.parse().unwrap()), "{headers:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let kind = ("Windlass-Kind", "k");
        for (headers, body, field) in [
            (&[][..], &b"\xff\xff"[..], "body"),
            (&[], b"", "kind"),
            (&[("Windlass-Id", ID)], b"", "Windlass-Id"),
            (&[("Windlass-Kind", "no kind")], b"", "Windlass-Kind"),
            (&[kind, kind], b"", "Windlass-Kind"),
            (&[kind, ("Windlass-Id", "7")], b"", "Windlass-Id"),
            (&[kind, ("Windlass-Priorty", "low")], b"", "Windlass-Priorty"),
            (&[kind, ("Windlass-Labels", "prod")], b"", "Windlass-Labels"),
            (&[kind, ("Windlass-Priority", "urgent")], b"", "Windlass-Priority"),
            (&[kind, ("Windlass-Delay", "-1s")], b"", "Windlass-Delay"),
            (&[kind, ("Windlass-Delay", "soon")], b"", "Windlass-Delay"),
            (&[kind, ("Windlass-Run-At", "2026-01-31")], b"", "Windlass-Run-At"),
            (
                &[kind, ("Windlass-Delay", "1s"), ("Windlass-Run-At", "2026-01-31T09:00:00Z")],
                b"",
                "Windlass-Run-At",
            ),
            (&[kind, ("Windlass-Max-Attempts", "0")], b"", "Windlass-Max-Attempts"),
            (&[kind, ("Nats-Schedule", "@every 1s")], b"", "Nats-Schedule"),
            (&[kind, ("nats-rollup", "all")], b"", "nats-rollup"),
            (&[kind, ("Content-Type", "a\nb")], b"", "Content-Type"),
            (&[kind, ("Windlass-After", "7")], b"", "Windlass-After"),
            (&[kind, ("Windlass-Encoding", "gzip")], b"", "Windlass-Encoding"),
            (&[kind, ("Windlass-Encoding", "sealed")], b"", "Windlass-Encoding"),
            (&[kind, ("Windlass-Encoding", "sealed"), ("Windlass-Key-Id", "k")], b"", "Windlass-Id"),
            (&[kind, ("Windlass-Encoding", "sealed"), ("Windlass-Key-Id", "a b")], b"", "Windlass-Key-Id"),
        ] {
            assert_eq!(read(headers, body).unwrap_err().field, field, "{headers:?}");
        }
    }

    #[test]
    fn an_encoding_is_read_from_headers() {
        let kind = ("Windlass-Kind", "k");
        let sealed =
            [kind, ("Windlass-Id", ID), ("Windlass-Encoding", "zstd+sealed"), ("windlass-key-id", "k.1")];
        let encoding = read(&sealed, b"x").unwrap().form.encoding;
        assert_eq!((encoding.words(), encoding.key_id.unwrap().as_str()), ("zstd+sealed", "k.1"));
        assert!(read(&[kind], b"x").unwrap().form.is_plain());
    }

    #[test]
    fn an_object_has_a_name_and_a_digest() {
        let wire = |name: &str, sha256: Vec<u8>| {
            let object = v1::ObjectRef { name: name.into(), bytes: 1, sha256: sha256.into() };
            let task = v1::Task { kind: "k".into(), payload_object: Some(object), ..Default::default() };
            read(&[], &task.encode_to_vec()).map_err(|e| e.field)
        };
        assert!(wire("a", vec![1; 32]).is_ok());
        assert_eq!(wire("", vec![1; 32]).unwrap_err(), "payload_object.name");
        assert_eq!(wire("a", vec![1; 31]).unwrap_err(), "payload_object.sha256");
    }

    #[test]
    fn unknown_enum_values_are_refused() {
        let wire = v1::Task { kind: "k".into(), priority: 9, ..Default::default() };
        assert_eq!(read(&[], &wire.encode_to_vec()).unwrap_err().field, "priority");
    }
}
