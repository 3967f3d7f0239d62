//! Many messages by one request: a batch of direct reads (NATS' ADR 31), bounded in messages and in bytes.
//!
//! Any replica may answer, and may lack what was stored a moment ago. So a batch is for lists; what is acted upon is
//! read once more from the leader.

mod reading;

use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use async_nats::{HeaderMap, Message, StatusCode};
use futures::StreamExt as _;
use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

pub use self::reading::Reading;
use crate::connect::{Broker, Error};

/// For a whole batch.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Of one batch, less its last message.
const MAX_BYTES: usize = 2 << 20;

/// Subjects that the broker looks for in one request.
const MOST_SUBJECTS: usize = 1024;

/// Where a batch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// At this sequence, or after it.
    Sequence(u64),
    /// With what was stored at this instant, or after it.
    Time(Timestamp),
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// In the order of storing.
    pub(crate) messages: Vec<Raw>,
    /// Whether more follow.
    pub(crate) more: bool,
    /// How many.
    pub(crate) pending: u64,
}

/// A message as it stands in the stream.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) subject: String,
    pub(crate) sequence: u64,
    pub(crate) stored_at: Timestamp,
    pub(crate) headers: HeaderMap,
    pub(crate) body: bytes::Bytes,
}

/// The next messages of a stream under this filter.
pub(crate) async fn read(
    broker: &Broker,
    stream: &str,
    filter: &str,
    start: Start,
    most: usize,
) -> Result<Batch, Error> {
    let mut request = serde_json::json!({ "batch": most, "max_bytes": MAX_BYTES, "next_by_subj": filter });
    match start {
        Start::Sequence(sequence) => request["seq"] = sequence.max(1).into(),
        Start::Time(at) => request["start_time"] = at.to_string().into(),
    }
    ask(broker, stream, &request).await
}

/// The last messages of these subjects, at most 1000, by one request; those that a batch has no room for are missing, as
/// are those that the replica which answers does not have yet.
pub(crate) async fn read_last(broker: &Broker, stream: &str, subjects: &[String]) -> Result<Batch, Error> {
    let request =
        serde_json::json!({ "multi_last": subjects, "batch": subjects.len(), "max_bytes": MAX_BYTES });
    ask(broker, stream, &request).await
}

/// The last messages of all subjects under this filter, as many as a batch has room for.
pub(crate) async fn read_last_under(broker: &Broker, stream: &str, filter: &str) -> Result<Batch, Error> {
    let request =
        serde_json::json!({ "multi_last": [filter], "batch": MOST_SUBJECTS, "max_bytes": MAX_BYTES });
    ask(broker, stream, &request).await
}

async fn ask(broker: &Broker, stream: &str, request: &serde_json::Value) -> Result<Batch, Error> {
    let until = Instant::now() + TIMEOUT;
    broker.connected(until).await?;
    let subject = broker.api_subject(&format!("DIRECT.GET.{stream}"));
    let reading = async {
        let inbox = broker.client().new_inbox();
        let mut answers = broker.client().subscribe(inbox.clone()).await.map_err(|_| Error::Closed)?;
        let body = request.to_string().into();
        broker.client().publish_with_reply(subject.clone(), inbox, body).await.map_err(|_| Error::Closed)?;
        let mut batch = Batch::default();
        loop {
            let answer = answers.next().await.ok_or(Error::Closed)?;
            match answer.status {
                None => batch.messages.push(raw(&subject, answer)?),
                // The end, or nothing there.
                Some(status) if status.as_u16() == 204 => {
                    batch.pending = number(answer.headers.as_ref(), "Nats-Num-Pending").unwrap_or(0);
                    batch.more = batch.pending > 0;
                    return Ok(batch);
                }
                Some(StatusCode::NOT_FOUND) => return Ok(batch),
                Some(StatusCode::NO_RESPONDERS) => return Err(Error::NoResponders(subject.clone())),
                Some(status) => return Err(unexpected(&subject, status, &answer)),
            }
        }
    };
    match broker.unless_denied(&subject, timeout_at(until, reading)).await? {
        Ok(read) => read,
        Err(_) => Err(Error::TimedOut { subject, timeout: TIMEOUT }),
    }
}

impl From<StreamMessage> for Raw {
    fn from(message: StreamMessage) -> Self {
        Self {
            subject: message.subject.into_string(),
            sequence: message.sequence,
            stored_at: Timestamp::from_nanosecond(message.time.unix_timestamp_nanos())
                .unwrap_or(Timestamp::MIN),
            headers: message.headers,
            body: message.payload,
        }
    }
}

/// An answer that says neither a message nor that there is none.
fn unexpected(asked: &str, status: StatusCode, answer: &Message) -> Error {
    let reason = format!("{status} {}", answer.description.as_deref().unwrap_or_default());
    Error::Malformed { subject: asked.to_owned(), reason }
}

fn raw(asked: &str, answer: Message) -> Result<Raw, Error> {
    let headers = answer.headers.as_ref();
    let missing =
        |name: &str| Error::Malformed { subject: asked.to_owned(), reason: format!("has no {name}") };
    let subject = text(headers, "Nats-Subject").ok_or_else(|| missing("subject"))?.to_owned();
    let sequence = number(headers, "Nats-Sequence").ok_or_else(|| missing("sequence"))?;
    let stored_at = text(headers, "Nats-Time-Stamp").and_then(|at| at.parse().ok());
    Ok(Raw {
        subject,
        sequence,
        stored_at: stored_at.ok_or_else(|| missing("instant"))?,
        headers: answer.headers.unwrap_or_default(),
        body: answer.payload,
    })
}

fn text<'a>(headers: Option<&'a HeaderMap>, name: &str) -> Option<&'a str> {
    headers?.get(name).map(async_nats::HeaderValue::as_str)
}

fn number(headers: Option<&HeaderMap>, name: &str) -> Option<u64> {
    text(headers, name)?.parse().ok()
}
