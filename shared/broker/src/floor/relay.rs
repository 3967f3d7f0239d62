//! A side that reads messages and publishes one for each: what a dispatcher and a worker come to.

use std::time::Duration;

use async_nats::{HeaderMap, Message, Subject};
use bytes::Bytes;
use futures::StreamExt as _;
use windlass_core::{JobId, PoolName, QueueName, RecordKind};

use super::link::Link;
use super::record_subject;
use crate::Names;
use crate::connect::{Broker, Error};
use crate::delivery::Told;
use crate::publish::header;

/// What is read, and what follows.
#[derive(Debug, Clone)]
pub(super) struct Relay {
    /// Streams and durable consumers.
    pub(super) streams: Vec<(String, String)>,
    pub(super) jobs: u64,
    pub(super) window: usize,
    pub(super) then: Then,
}

/// What is published for each message.
#[derive(Debug, Clone)]
pub(super) enum Then {
    /// The next record, and then the acknowledgement.
    Plain { record: RecordKind, pool: PoolName, names: Names, body: Bytes },
    /// On the condition that nothing else moved the job; events, and only then the acknowledgement.
    Protocol {
        record: RecordKind,
        pool: PoolName,
        names: Names,
        body: Bytes,
        ttl: Option<Duration>,
        events: Bytes,
        jobs_in_batch: u64,
        event_subject: String,
    },
}

/// Numbers of publishes from here on are batches of events.
const EVENTS: u64 = 1 << 40;
/// A request for messages lasts longer than any run.
const EXPIRES: Duration = Duration::from_mins(20);

// === impl Relay ===

impl Relay {
    /// Until all jobs have come by and are acknowledged.
    pub(super) async fn run(self, broker: Broker) -> Result<(), Error> {
        let mut link = Link::open(&broker).await?;
        let inbox = broker.client().new_inbox();
        let mut arriving = broker.client().subscribe(inbox.clone()).await.map_err(|_| Error::Closed)?;
        let mut asked = vec![0_usize; self.streams.len()];
        let each = (self.window / self.streams.len()).max(1);
        let mut waiting: Vec<Option<Message>> = Vec::new();
        let mut free: Vec<usize> = Vec::new();
        let mut batch: Vec<Subject> = Vec::new();
        let mut batches: std::collections::HashMap<u64, Vec<Subject>> = std::collections::HashMap::new();
        let (mut acknowledged, mut next_batch) = (0, EVENTS);
        while acknowledged < self.jobs {
            for (at, (stream, consumer)) in self.streams.iter().enumerate() {
                if asked[at] * 2 <= each {
                    self.ask(&broker, &inbox, stream, consumer, each - asked[at]).await?;
                    asked[at] = each;
                }
            }
            tokio::select! {
                biased;
                number = link.answered(), if link.on_their_way() > 0 => {
                    let (number, stored) = number?;
                    if let Some(said) = batches.remove(&number) {
                        for reply in said {
                            acknowledge(&broker, reply).await?;
                            acknowledged += 1;
                        }
                        continue;
                    }
                    let slot = usize::try_from(number).unwrap_or_default();
                    let Some(message) = waiting.get_mut(slot).and_then(Option::take) else { continue };
                    if !stored {
                        let (_, work) = self.place(&message)?;
                        let (subject, headers, body) = self.next(&broker, &message, work)?;
                        waiting[slot] = Some(message);
                        link.publish(number, subject, headers, body).await?;
                        continue;
                    }
                    free.push(slot);
                    let Some(reply) = message.reply else { continue };
                    match &self.then {
                        Then::Plain { .. } => {
                            acknowledge(&broker, reply).await?;
                            acknowledged += 1;
                        }
                        Then::Protocol { events, jobs_in_batch, event_subject, .. } => {
                            batch.push(reply);
                            let full = batch.len() as u64 >= *jobs_in_batch;
                            // The last ones, and whatever a burst leaves: nothing else would send them.
                            if full || free.len() == waiting.len() {
                                let share = events.len() * batch.len() / usize::try_from(*jobs_in_batch).unwrap_or(1);
                                let body = events.slice(..share.min(events.len()));
                                batches.insert(next_batch, std::mem::take(&mut batch));
                                link.publish(next_batch, event_subject.clone(), HeaderMap::new(), body).await?;
                                next_batch += 1;
                            }
                        }
                    }
                }
                message = arriving.next() => {
                    let message = message.ok_or(Error::Closed)?;
                    if message.status.is_some() {
                        continue;
                    }
                    let (at, work) = self.place(&message)?;
                    asked[at] -= 1;
                    let slot = free.pop().unwrap_or_else(|| {
                        waiting.push(None);
                        waiting.len() - 1
                    });
                    let (subject, headers, body) = self.next(&broker, &message, work)?;
                    waiting[slot] = Some(message);
                    link.publish(slot as u64, subject, headers, body).await?;
                }
            }
        }
        Ok(())
    }

    async fn ask(
        &self,
        broker: &Broker,
        inbox: &str,
        stream: &str,
        consumer: &str,
        count: usize,
    ) -> Result<(), Error> {
        let subject = broker.api_subject(&format!("CONSUMER.MSG.NEXT.{stream}.{consumer}"));
        let expires = u64::try_from(EXPIRES.as_nanos()).unwrap_or(u64::MAX);
        let body = serde_json::json!({ "batch": count, "expires": expires }).to_string();
        let asking = broker.client().publish_with_reply(subject, inbox.to_owned(), body.into());
        asking.await.map_err(|_| Error::Closed)
    }

    /// From which consumer a message comes, and its sequence in the stream.
    fn place(&self, message: &Message) -> Result<(usize, u64), Error> {
        let reply = message.reply.as_deref().unwrap_or_default();
        let place = Told::read(reply).and_then(|told| {
            let mut streams = self.streams.iter();
            let at =
                streams.position(|(stream, consumer)| stream == told.stream && consumer == told.consumer)?;
            Some((at, told.sequence))
        });
        place.ok_or_else(|| Error::Malformed {
            subject: reply.to_owned(),
            reason: "is no acknowledgement's subject".to_owned(),
        })
    }

    fn next(
        &self,
        broker: &Broker,
        message: &Message,
        sequence: u64,
    ) -> Result<(String, HeaderMap, Bytes), Error> {
        let (Then::Plain { record, pool, names, body } | Then::Protocol { record, pool, names, body, .. }) =
            &self.then;
        let (queue, id) = job_of(broker, message).ok_or_else(|| Error::Malformed {
            subject: message.subject.to_string(),
            reason: "names no job".to_owned(),
        })?;
        let mut headers = HeaderMap::new();
        if let Then::Protocol { ttl, .. } = &self.then {
            let token = if *record == RecordKind::Ready { 0 } else { sequence };
            headers.insert(header::EXPECTED_SEQUENCE, token.to_string());
            headers.insert(header::EXPECTED_SUBJECT, names.job_filter(pool, &queue, id));
            if let Some(ttl) = ttl {
                headers.insert(header::TTL, ttl.as_secs().max(1).to_string());
            }
        }
        Ok((record_subject(names, pool, *record, &queue, id), headers, body.clone()))
    }
}

/// A task names its job in its message id, a job in its subject.
fn job_of(broker: &Broker, message: &Message) -> Option<(QueueName, JobId)> {
    if let Some(subject) = broker.names().parse_job_subject(&message.subject) {
        return Some((subject.queue, subject.job_id));
    }
    let named = message.headers.as_ref()?.get(header::MESSAGE_ID)?;
    let (queue, id) = named.as_str().rsplit_once('.')?;
    Some((queue.parse().ok()?, id.parse().ok()?))
}

async fn acknowledge(broker: &Broker, reply: Subject) -> Result<(), Error> {
    broker.client().publish(reply, Bytes::from_static(b"+ACK")).await.map_err(|_| Error::Closed)
}
