//! Many messages by one request: a batch of direct reads (NATS' ADR 31), bounded in messages and in bytes.
//!
//! Any replica may answer, and may lack what was stored a moment ago. So a batch is for lists; what is acted upon is
//! read once more from the leader.

use std::time::Duration;

use async_nats::{HeaderMap, Message, StatusCode};
use futures::StreamExt as _;
use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

use crate::connect::{Broker, Error};

/// For a whole batch.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Of one batch, less its last message.
const MAX_BYTES: usize = 2 << 20;

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
    pub(crate) body: bytes::Bytes,
    /// Of a timer: where it publishes.
    pub(crate) target: Option<String>,
    /// Of a job.
    pub(crate) trace: Option<windlass_core::trace::TraceParent>,
}

/// The next messages of a stream under this filter.
pub(crate) async fn read(
    broker: &Broker,
    stream: &str,
    filter: &str,
    start: Start,
    most: usize,
) -> Result<Batch, Error> {
    let until = Instant::now() + TIMEOUT;
    broker.connected(until).await?;
    let subject = broker.api_subject(&format!("DIRECT.GET.{stream}"));
    let mut request = serde_json::json!({ "batch": most, "max_bytes": MAX_BYTES, "next_by_subj": filter });
    match start {
        Start::Sequence(sequence) => request["seq"] = sequence.max(1).into(),
        Start::Time(at) => request["start_time"] = at.to_string().into(),
    }
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
                Some(status) => {
                    let reason = format!("{status} {}", answer.description.as_deref().unwrap_or_default());
                    return Err(Error::Malformed { subject: subject.clone(), reason });
                }
            }
        }
    };
    match broker.unless_denied(&subject, timeout_at(until, reading)).await? {
        Ok(read) => read,
        Err(_) => Err(Error::TimedOut { subject, timeout: TIMEOUT }),
    }
}

fn raw(asked: &str, answer: Message) -> Result<Raw, Error> {
    let headers = answer.headers.as_ref();
    let missing =
        |name: &str| Error::Malformed { subject: asked.to_owned(), reason: format!("has no {name}") };
    Ok(Raw {
        subject: text(headers, "Nats-Subject").ok_or_else(|| missing("subject"))?.to_owned(),
        sequence: number(headers, "Nats-Sequence").ok_or_else(|| missing("sequence"))?,
        stored_at: text(headers, "Nats-Time-Stamp")
            .and_then(|at| at.parse().ok())
            .ok_or_else(|| missing("instant"))?,
        target: text(headers, crate::publish::header::SCHEDULE_TARGET).map(str::to_owned),
        trace: crate::trace::from_headers(headers),
        body: answer.payload,
    })
}

fn text<'a>(headers: Option<&'a HeaderMap>, name: &str) -> Option<&'a str> {
    headers?.get(name).map(async_nats::HeaderValue::as_str)
}

fn number(headers: Option<&HeaderMap>, name: &str) -> Option<u64> {
    text(headers, name)?.parse().ok()
}
