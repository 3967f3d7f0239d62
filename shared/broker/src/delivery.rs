//! One delivered message, and what can be said back of it.

use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::{HeaderMap, Message, Subject};
use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::Instant;
use windlass_core::protocol;
use windlass_core::trace::TraceParent;
use windlass_core::{JobId, QueueName};

use crate::ahead::Mark;
use crate::batch::Raw;
use crate::connect::{Broker, Error};
use crate::jobs::Jobs;
use crate::publish::header;
use crate::trace;

/// For handing a word to the connection.
const SAY_TIMEOUT: Duration = Duration::from_secs(5);

/// A message that a durable consumer delivered, or that was taken ahead of its delivery.
#[derive(Debug)]
pub struct Delivered {
    /// Where it was published.
    pub subject: String,
    /// What it says.
    pub body: Bytes,
    /// In its stream.
    pub sequence: u64,
    /// How often it was delivered, from 1, as far as the broker remembers.
    pub count: u64,
    /// When the stream stored it.
    pub published_at: Timestamp,
    /// How many messages of the consumer wait behind it.
    pub pending: u64,
    /// A broker that forgot may have made this delivery before: one of the first after a (re)connection, a new leader or a
    /// new durable, of a message that stood in the stream by then.
    pub suspect: bool,
    /// When it arrived here.
    pub received_at: Instant,
    /// Of the connection that brought it.
    epoch: u64,
    headers: Option<HeaderMap>,
    handle: Handle,
}

/// What acknowledges a message, apart from the message.
#[derive(Debug, Clone)]
pub struct Handle {
    broker: Broker,
    settles: Settles,
}

/// How a message is settled.
#[derive(Debug, Clone)]
enum Settles {
    /// By an answer to this subject.
    Delivery(Subject),
    /// By a mark of the task of this place: it will be delivered yet.
    Mark(Jobs, QueueName, u64),
    /// It was only looked at.
    Nothing,
}

/// What the subject that acknowledges a message tells of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told<'a> {
    pub(crate) stream: &'a str,
    pub(crate) consumer: &'a str,
    count: u64,
    pub(crate) sequence: u64,
    consumer_sequence: u64,
    published_at: Timestamp,
    pending: u64,
}

// === impl Told ===

impl<'a> Told<'a> {
    /// Reads `$JS.ACK.<stream>.<consumer>.<count>.<sequence>.<consumer's>.<nanoseconds>.<pending>`, or the longer form with
    /// a domain and an account's hash before the stream and a random word at the end (NATS ADR-15).
    pub(crate) fn read(reply: &'a str) -> Option<Self> {
        let words = reply.strip_prefix("$JS.ACK.")?;
        let skip = match words.split('.').count() {
            7 => 0,
            count if count >= 9 => 2,
            _ => return None,
        };
        let mut words = words.split('.').skip(skip);
        let (stream, consumer) = (words.next()?, words.next()?);
        let mut number = || words.next()?.parse::<u64>().ok();
        Some(Self {
            stream,
            consumer,
            count: number()?,
            sequence: number()?,
            consumer_sequence: number()?,
            published_at: Timestamp::from_nanosecond(number()?.into()).ok()?,
            pending: number()?,
        })
    }
}

// === impl Delivered ===

impl Delivered {
    /// Reads a message; none if it did not come from a consumer. The second value is the consumer's own sequence.
    pub(crate) fn read(broker: &Broker, message: Message) -> Option<(Self, u64)> {
        let reply = message.reply?;
        let Told { count, sequence, consumer_sequence, published_at, pending, .. } = Told::read(&reply)?;
        let delivered = Self {
            subject: message.subject.to_string(),
            body: message.payload,
            sequence,
            count,
            published_at,
            pending,
            suspect: false,
            received_at: Instant::now(),
            epoch: broker.epoch(),
            headers: message.headers,
            handle: Handle { broker: broker.clone(), settles: Settles::Delivery(reply) },
        };
        Some((delivered, consumer_sequence))
    }

    /// A message that was read from its stream. What is known of it may be old, and it may be delivered meanwhile.
    pub(crate) fn ahead(raw: Raw, handle: Handle) -> Self {
        Self {
            subject: raw.subject,
            body: raw.body,
            sequence: raw.sequence,
            count: 1,
            published_at: raw.stored_at,
            pending: 0,
            suspect: true,
            received_at: Instant::now(),
            epoch: handle.broker.epoch(),
            headers: Some(raw.headers),
            handle,
        }
    }

    /// Whether it was taken ahead of its delivery, and so will be delivered yet.
    pub fn is_ahead(&self) -> bool {
        !matches!(self.handle.settles, Settles::Delivery(_))
    }

    /// The id of a message that carries none: the same for each of its deliveries.
    pub fn derived_id(&self) -> JobId {
        JobId::of_message(self.published_at, self.sequence)
    }

    /// As the protocol sees it.
    pub fn delivery(&self) -> protocol::Delivery {
        protocol::Delivery { count: self.count, fired: self.is_fired(), suspect: self.suspect }
    }

    /// Whether it is still ours to claim: within its lease, on the connection that brought it. After that the broker
    /// may have given it to another, and a claim would take it away again.
    pub fn is_fresh(&self, ack_wait: Duration) -> bool {
        let broker = &self.handle.broker;
        self.received_at.elapsed() < ack_wait && broker.is_connected() && broker.epoch() == self.epoch
    }

    /// Whether a timer published it.
    pub fn is_fired(&self) -> bool {
        self.headers.as_ref().is_some_and(|h| h.get(header::SCHEDULER).is_some())
    }

    /// Every header line.
    pub fn header_lines(&self) -> Vec<(&str, &str)> {
        let Some(headers) = &self.headers else { return Vec::new() };
        headers
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |v| (AsRef::<str>::as_ref(name), v.as_str())))
            .collect()
    }

    /// The trace that it belongs to.
    pub fn trace(&self) -> Option<TraceParent> {
        trace::from_headers(self.headers.as_ref())
    }

    /// What acknowledges it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

// === impl Handle ===

impl Handle {
    pub(crate) fn mark(jobs: Jobs, queue: QueueName, sequence: u64) -> Self {
        Self { broker: jobs.broker().clone(), settles: Settles::Mark(jobs, queue, sequence) }
    }

    pub(crate) fn nothing(broker: &Broker) -> Self {
        Self { broker: broker.clone(), settles: Settles::Nothing }
    }

    /// Says that it is done with. Not confirmed where it was delivered: what was lost is delivered again, and finds the
    /// record of its end.
    pub async fn ack(&self) -> Result<(), Error> {
        match &self.settles {
            Settles::Delivery(reply) => self.say(reply, AckKind::Ack).await,
            Settles::Mark(jobs, queue, sequence) => jobs.mark(queue, *sequence, Mark::Taken).await,
            Settles::Nothing => Ok(()),
        }
    }

    /// Gives it back, to be delivered again after this long.
    pub async fn nak(&self, delay: Option<Duration>) -> Result<(), Error> {
        match &self.settles {
            Settles::Delivery(reply) => self.say(reply, AckKind::Nak(delay)).await,
            // Its delivery is to come.
            _ => Ok(()),
        }
    }

    /// Extends the lease, and waits until the broker says that it did.
    pub async fn extend(&self, timeout: Duration) -> Result<(), Error> {
        let Settles::Delivery(reply) = &self.settles else { return Ok(()) };
        let body: Bytes = AckKind::Progress.into();
        self.broker.request(reply.to_string(), None, body, timeout).await.map(|_| ())
    }

    async fn say(&self, reply: &Subject, kind: AckKind) -> Result<(), Error> {
        // Said late, from a buffer, it would move a message that another holder has by then.
        if !self.broker.is_connected() {
            return Err(Error::Disconnected);
        }
        let saying = self.broker.client().publish(reply.clone(), kind.into());
        match tokio::time::timeout(SAY_TIMEOUT, saying).await {
            Ok(said) => said.map_err(|_| Error::Closed),
            Err(_) => Err(Error::TimedOut { subject: reply.to_string(), timeout: SAY_TIMEOUT }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_an_acknowledgement_are_read() {
        let told = Told {
            stream: "JOBS",
            consumer: "worker-a",
            count: 2,
            sequence: 7,
            consumer_sequence: 9,
            published_at: Timestamp::from_nanosecond(1_700_000_000_123_456_789).unwrap(),
            pending: 3,
        };
        let short = "$JS.ACK.JOBS.worker-a.2.7.9.1700000000123456789.3";
        assert_eq!(Told::read(short).as_ref(), Some(&told));
        for long in [
            "$JS.ACK.hub.Ab3dE.JOBS.worker-a.2.7.9.1700000000123456789.3",
            "$JS.ACK._.Ab3dE.JOBS.worker-a.2.7.9.1700000000123456789.3.x9",
        ] {
            assert_eq!(Told::read(long).as_ref(), Some(&told), "{long}");
        }
        for other in ["", "_INBOX.a.b", "$JS.ACK.JOBS.worker-a.2.7.9.3", "$JS.ACK.JOBS.worker-a.two.7.9.1.3"]
        {
            assert_eq!(Told::read(other), None, "{other}");
        }
    }
}
