//! Messages from a durable consumer, no more at a time than were asked for.
//!
//! The library's own stream prefetches, and a prefetched message's lease runs while it waits. Here the caller asks for
//! as many as it has room for. Every request ends by itself and is renewed, and a silence of the broker is noticed by
//! missing heartbeats, so that a consumer that is alive and gets nothing cannot last (the complaint of every user of
//! such systems).

mod suspicion;

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::{StatusCode, Subscriber};
use futures::StreamExt as _;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::connect::{Broker, Denials, Error, Status};
use crate::delivery::Delivered;
use suspicion::Suspicion;

/// How long the broker holds a request.
const EXPIRES: Duration = Duration::from_secs(30);
/// How often the broker says that it still holds one.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How much later than its own end the broker's word of it may come.
const EXPIRY_SLACK: Duration = Duration::from_secs(2);
/// Before asking again where the broker would not have it, or cannot be asked.
const PAUSE: Duration = Duration::from_millis(500);
/// For what is on its way when a consumer is given up.
const REST_TIMEOUT: Duration = Duration::from_secs(2);
/// For other calls.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A place where a consumer's messages arrive.
pub struct Puller {
    broker: Broker,
    stream: String,
    consumer: String,
    inbox: String,
    arriving: Subscriber,
    /// Of a replicated consumer: a new leader may have forgotten what the old one delivered.
    elections: watch::Receiver<u64>,
    status: watch::Receiver<Status>,
    /// Oldest first.
    requests: VecDeque<Request>,
    heard_at: Instant,
    suspicion: Suspicion,
    last_consumer_sequence: u64,
    ack_wait: Duration,
    out_at_first: u64,
    pause_until: Option<Instant>,
}

/// What was asked for and has not come.
struct Request {
    left: usize,
    /// A consumer's leader that died has told nobody that it forgot.
    ends_at: Instant,
}

/// What came.
#[derive(Debug)]
pub enum Arrival {
    /// A message.
    Message(Box<Delivered>),
    /// Nothing, but what was asked for may have ended: ask again for as much as there is room for.
    Renew,
    /// The consumer does not exist, or not now.
    Missing,
}

#[derive(serde::Deserialize)]
struct ConsumerInfo {
    ts: Timestamp,
    config: ConsumerConfig,
    #[serde(default)]
    num_ack_pending: u64,
}

#[derive(serde::Deserialize)]
struct ConsumerConfig {
    #[serde(default)]
    max_ack_pending: i64,
    /// In nanoseconds.
    #[serde(default)]
    ack_wait: u64,
}

// === impl Puller ===

impl Puller {
    /// Prepares to receive from a durable consumer, which must exist.
    pub async fn open(broker: &Broker, stream: String, consumer: String) -> Result<Self, Error> {
        let asked = std::time::Instant::now();
        let info: ConsumerInfo = broker
            .api(&format!("CONSUMER.INFO.{stream}.{consumer}"), &serde_json::json!({}), CALL_TIMEOUT)
            .await?;
        // Before the first message is judged by it.
        broker.learn_time(asked, info.ts);
        let max_ack_pending = u64::try_from(info.config.max_ack_pending).unwrap_or(1000);
        let inbox = broker.client().new_inbox();
        let elections = broker.elections(&stream, &consumer).await?;
        let arriving = subscribe(broker, inbox.clone()).await?;
        let mut status = broker.status();
        status.mark_unchanged();
        let suspicion = Suspicion::new(broker, &stream, max_ack_pending);
        Ok(Self {
            broker: broker.clone(),
            stream,
            consumer,
            inbox,
            arriving,
            elections,
            status,
            requests: VecDeque::new(),
            heard_at: Instant::now(),
            suspicion,
            last_consumer_sequence: 0,
            ack_wait: Duration::from_nanos(info.config.ack_wait),
            out_at_first: info.num_ack_pending,
            pause_until: None,
        })
    }

    /// How many messages were asked for and have not come.
    pub fn outstanding(&self) -> usize {
        self.requests.iter().map(|request| request.left).sum()
    }

    /// How long a delivered message is leased.
    pub fn ack_wait(&self) -> Duration {
        self.ack_wait
    }

    /// How many messages others had, unacknowledged, when this began.
    pub fn out_at_first(&self) -> u64 {
        self.out_at_first
    }

    /// Gives up what was asked for, and returns what had already come. Nothing comes afterwards.
    pub async fn rest(&mut self) -> Vec<Delivered> {
        let mut rest = Vec::new();
        let collecting = async {
            if self.arriving.drain().await.is_err() {
                tracing::debug!(consumer = self.consumer, "the subscription had ended");
            }
            while let Some(message) = self.arriving.next().await {
                if let Some(Arrival::Message(delivered)) = self.read(message) {
                    rest.push(*delivered);
                }
            }
        };
        // With the broker away its word that it has stopped does not come.
        if timeout(REST_TIMEOUT, collecting).await.is_err() {
            tracing::debug!(consumer = self.consumer, "the broker did not confirm the end of a subscription");
        }
        rest
    }

    /// The broker's refusals of what is asked for: it says them beside the requests, which are never answered.
    pub fn denials(&self) -> Denials {
        self.broker.denials(&self.subject())
    }

    fn subject(&self) -> String {
        self.broker.api_subject(&format!("CONSUMER.MSG.NEXT.{}.{}", self.stream, self.consumer))
    }

    /// Asks for this many more.
    pub async fn request(&mut self, count: usize) -> Result<(), Error> {
        if count == 0 {
            return Ok(());
        }
        if let Some(until) = self.pause_until.take() {
            sleep_until(until).await;
        }
        // A request in the buffer of a lost connection would be one too many when it is back.
        if let Err(error) = self.broker.connected(Instant::now() + PAUSE).await {
            return if matches!(error, Error::Disconnected) { Ok(()) } else { Err(error) };
        }
        let body = serde_json::json!({
            "batch": count,
            "expires": u64::try_from(EXPIRES.as_nanos()).unwrap_or(u64::MAX),
            "idle_heartbeat": u64::try_from(HEARTBEAT.as_nanos()).unwrap_or(u64::MAX),
        });
        let subject = self.subject();
        if self.requests.is_empty() {
            self.heard_at = Instant::now();
        }
        let asking =
            self.broker.client().publish_with_reply(subject, self.inbox.clone(), body.to_string().into());
        match timeout(CALL_TIMEOUT, asking).await {
            Ok(asked) => asked.map_err(|_| Error::Closed)?,
            Err(_) => return Ok(()),
        }
        self.requests.push_back(Request { left: count, ends_at: Instant::now() + EXPIRES + EXPIRY_SLACK });
        Ok(())
    }

    /// Waits for what comes next. Cancel-safe.
    pub async fn next(&mut self) -> Result<Arrival, Error> {
        loop {
            let silent = self.heard_at + HEARTBEAT * 3;
            let over = sleep_until(self.requests.front().map_or(silent, |oldest| oldest.ends_at.min(silent)));
            tokio::select! {
                biased;
                changed = self.status.changed() => {
                    if changed.is_err() {
                        return Err(Error::Closed);
                    }
                    let status = *self.status.borrow_and_update();
                    if status.closed {
                        return Err(Error::Closed);
                    }
                    if status.connected {
                        // The broker forgot our requests with the connection, and maybe, if it died, its deliveries.
                        self.forget();
                        self.suspicion.arise();
                        return Ok(Arrival::Renew);
                    }
                }
                Ok(()) = self.elections.changed() => {
                    tracing::info!(consumer = self.consumer, "the consumer has a new leader");
                    self.suspicion.arise();
                    // It knows nothing of what the old one was asked for. Without this, nothing would be asked for
                    // again before the old one's silence is noticed.
                    self.forget();
                    return Ok(Arrival::Renew);
                }
                message = self.arriving.next() => {
                    let Some(message) = message else { return Err(Error::Closed) };
                    self.heard_at = Instant::now();
                    if let Some(arrival) = self.read(message) {
                        return Ok(arrival);
                    }
                }
                () = over, if !self.requests.is_empty() => {
                    metrics::counter!("windlass_pull_silences_total").increment(1);
                    if Instant::now() >= silent {
                        tracing::warn!(consumer = self.consumer, "no sign from the broker; asking again");
                        self.broker.heard_nothing();
                        self.forget();
                    } else {
                        tracing::warn!(consumer = self.consumer, "a request was forgotten; asking again");
                        self.requests.pop_front();
                    }
                    // Its leader may have changed, and forgotten what it delivered.
                    self.suspicion.arise();
                    return Ok(Arrival::Renew);
                }
            }
        }
    }

    fn forget(&mut self) {
        self.requests.clear();
        self.heard_at = Instant::now();
    }

    /// So many of those that were asked for have come, or will not.
    fn settle(&mut self, mut count: usize) {
        while count > 0
            && let Some(oldest) = self.requests.front_mut()
        {
            let settled = oldest.left.min(count);
            oldest.left -= settled;
            count -= settled;
            if oldest.left == 0 {
                self.requests.pop_front();
            }
        }
    }

    fn read(&mut self, message: async_nats::Message) -> Option<Arrival> {
        let Some(status) = message.status else {
            self.settle(1);
            let Some((mut delivered, consumer_sequence)) = Delivered::read(&self.broker, message) else {
                tracing::error!(consumer = self.consumer, "a message without a reply subject was delivered");
                return None;
            };
            if consumer_sequence <= self.last_consumer_sequence {
                // The durable is a new one, or its broker lost some of its memory.
                self.suspicion.arise();
            }
            delivered.suspect = self.suspicion.falls_on(delivered.sequence);
            self.last_consumer_sequence = consumer_sequence;
            return Some(Arrival::Message(Box::new(delivered)));
        };
        if status == StatusCode::IDLE_HEARTBEAT {
            return None;
        }
        if status == StatusCode::NO_RESPONDERS {
            self.requests.clear();
            // It may come back as another one.
            self.suspicion.arise();
            return Some(Arrival::Missing);
        }
        // 408: the request's time is up; 404: nothing there; 409: the consumer changed, or a limit was met. Each ends
        // one request and says how much of it was not delivered.
        let undelivered = message
            .headers
            .as_ref()
            .and_then(|h| h.get("Nats-Pending-Messages"))
            .and_then(|v| v.as_str().parse::<usize>().ok());
        if let Some(count) = undelivered {
            self.settle(count);
        } else {
            // Refused as a whole, without a count: not again at once.
            self.requests.clear();
            self.pause_until = Some(Instant::now() + PAUSE);
        }
        if status.as_u16() == 409 {
            let description = message.description.as_deref().unwrap_or_default();
            tracing::debug!(consumer = self.consumer, description, "the broker ended a request");
            // Leadership changed, or the server shuts down: deliveries may be forgotten.
            self.suspicion.arise();
            if description.contains("Consumer Deleted") {
                self.requests.clear();
                return Some(Arrival::Missing);
            }
        }
        Some(Arrival::Renew)
    }
}

async fn subscribe(broker: &Broker, subject: String) -> Result<Subscriber, Error> {
    timeout(CALL_TIMEOUT, broker.client().subscribe(subject.clone()))
        .await
        .map_err(|_| Error::TimedOut { subject, timeout: CALL_TIMEOUT })?
        .map_err(|_| Error::Closed)
}
