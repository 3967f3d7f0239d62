//! Publishes into one stream, gathered: while some are on their way, what comes goes together, as one batch.
//!
//! The broker answers a batch a few times, not each message, and a client waits for it once. Each message is checked and
//! stored on its own, as if it had been published alone (NATS ADR-50, "fast-ingest", with gaps allowed).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, Message};
use futures::StreamExt as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::TRY_TIMEOUT;
use super::flight::{Flight, Heard, Outcome, Outgoing, Waits};
use crate::connect::{Broker, Status};
use crate::silence::Silence;

/// The streams that a connection publishes into.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    streams: Mutex<HashMap<String, mpsc::Sender<Waiting>>>,
}

/// A message, when it came, and whoever waits for it.
type Waiting = (Instant, Outgoing, Waits);

/// How many may wait to be sent before their publishers wait too.
const BUFFER: usize = 4096;
/// The most that go together. The broker's own bound on what it acknowledges at a time is 500.
const MESSAGES: usize = 256;
/// The largest message that is gathered.
const BYTES: usize = 64 * 1024;
/// How many batches may be on their way at a time; with more, each is smaller.
const IN_FLIGHT: usize = 2;
/// How often it is looked whether an answer has not come in time.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// A stream that takes no batches is not asked again before this.
const WITHOUT_BATCHES: Duration = Duration::from_mins(1);

// === impl Gathered ===

impl Broker {
    /// Publishes into this stream once, together with what others publish, and says what became of it. Whoever needs
    /// the sequence publishes alone.
    pub(crate) async fn publish_gathered(&self, stream: &str, message: Outgoing) -> Outcome {
        // Through a service import the broker keeps a place for the answer to each message, and most have none. What is
        // large gains nothing.
        if !self.is_in_account_of_streams() || message.body.len() > BYTES {
            return Outcome::NotTried;
        }
        let (waits, outcome) = oneshot::channel();
        if self.gathering(stream).send((Instant::now(), message, waits)).await.is_err() {
            return Outcome::NotTried;
        }
        outcome.await.unwrap_or(Outcome::Silent)
    }

    fn gathering(&self, stream: &str) -> mpsc::Sender<Waiting> {
        let mut streams = self.gathered().streams.lock().unwrap_or_else(PoisonError::into_inner);
        // Its runtime may have ended.
        if let Some(sender) = streams.get(stream).filter(|sender| !sender.is_closed()) {
            return sender.clone();
        }
        let (sender, waiting) = mpsc::channel(BUFFER);
        tokio::spawn(Publisher::new(self).run(waiting));
        streams.insert(stream.to_owned(), sender.clone());
        sender
    }
}

/// Publishes into one stream.
struct Publisher {
    client: Client,
    /// The stream said that it takes no batches; not asked again before this.
    alone_until: Option<Instant>,
    status: watch::Receiver<Status>,
    silence: Arc<Silence>,
    /// Where answers come.
    inbox: String,
    /// Tells our batches from those of others, together with their numbers.
    name: String,
    flights: HashMap<u64, Flight>,
    /// Flights so far.
    sent: u64,
}

// === impl Publisher ===

impl Publisher {
    fn new(broker: &Broker) -> Self {
        Self {
            client: broker.client().clone(),
            alone_until: None,
            status: broker.status(),
            silence: Arc::clone(broker.silence()),
            inbox: broker.client().new_inbox(),
            name: format!("{:x}", rand::random::<u64>()),
            flights: HashMap::new(),
            sent: 0,
        }
    }

    /// Until nobody publishes any more, or the client is closed.
    async fn run(mut self, mut waiting: mpsc::Receiver<Waiting>) {
        let Ok(mut answers) = self.client.subscribe(format!("{}.>", self.inbox)).await else { return };
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut epoch = self.status.borrow_and_update().epoch;
        let mut received = Vec::new();
        loop {
            tokio::select! {
                biased;
                answer = answers.next() => match answer {
                    Some(answer) => self.heard(&answer),
                    None => return,
                },
                changed = self.status.changed() => {
                    let status = *self.status.borrow_and_update();
                    // What was on its way is not answered any more.
                    if !status.connected || status.epoch != epoch {
                        self.flights.drain().for_each(|(_, mut flight)| flight.end(|| Outcome::Silent));
                    }
                    epoch = status.epoch;
                    if changed.is_err() || status.closed {
                        return;
                    }
                }
                count = waiting.recv_many(&mut received, MESSAGES), if self.flights.len() < IN_FLIGHT => {
                    if count == 0 {
                        return;
                    }
                    self.send(received.drain(..)).await;
                }
                _ = look.tick(), if !self.flights.is_empty() => self.end_late(),
            }
        }
    }

    async fn send(&mut self, received: impl Iterator<Item = Waiting>) {
        let (mut messages, mut waits) = (Vec::new(), Vec::new());
        for (came_at, message, waits_for_it) in received {
            // Nothing is sent late: whoever has given up does not want it any more, and who still waits has no time for
            // more than another try of its own (`has_time`).
            if came_at.elapsed() > TRY_TIMEOUT {
                let _ = waits_for_it.send(Outcome::NotTried);
            } else if !waits_for_it.is_closed() {
                messages.push(message);
                waits.push(waits_for_it);
            }
        }
        let count = messages.len();
        let is_alone = self.alone_until.is_some_and(|until| Instant::now() < until);
        let mut flight = Flight::new(waits);
        if !self.status.borrow().connected || (is_alone && count > 1) {
            return flight.end(|| Outcome::NotTried);
        }
        let number = self.sent;
        self.sent += 1;
        let Self { client, inbox, name, .. } = &*self;
        let sending = async {
            for (place, Outgoing { subject, headers, body }) in (1..).zip(messages) {
                let reply = match (count, place) {
                    (1, _) => format!("{inbox}.{name}-{number}"),
                    // <where to>.<batch>.<messages between acknowledgements>.<gaps allowed>.<message>.<begin|go on|end>
                    (_, 1) => format!("{inbox}.{name}-{number}.{MESSAGES}.ok.1.0.$FI"),
                    (_, _) if place == count => {
                        format!("{inbox}.{name}-{number}.{MESSAGES}.ok.{place}.2.$FI")
                    }
                    _ => format!("{inbox}.{name}-{number}.{MESSAGES}.ok.{place}.1.$FI"),
                };
                client.publish_with_reply_and_headers(subject, reply, headers, body).await?;
            }
            Ok::<_, async_nats::PublishError>(())
        };
        match timeout(TRY_TIMEOUT, sending).await {
            Ok(Ok(())) if count > 0 => drop(self.flights.insert(number, flight)),
            // Some of them may have gone out.
            _ => flight.end(|| Outcome::Silent),
        }
    }

    /// Answers come to `<inbox>.<name>-<number>`, followed by what a batch's subject has there.
    fn heard(&mut self, answer: &Message) {
        self.silence.answered();
        let mut words = answer.subject.get(self.inbox.len() + 1..).unwrap_or_default().split('.');
        let batch = words.next().and_then(|word| word.rsplit_once('-')?.1.parse().ok());
        let place = words.nth(2).map_or(Some(1), |word| word.parse().ok());
        let (Some(batch), Some(place)) = (batch, place) else { return };
        // It may have been given up.
        let Some(flight) = self.flights.get_mut(&batch) else { return };
        // Nobody has it: the stream has no leader just now.
        let heard = match answer.status {
            Some(_) => flight.unheard(place),
            None => flight.heard(place, &answer.payload),
        };
        match heard {
            Heard::More => return,
            Heard::Disabled => {
                self.alone_until = Some(Instant::now() + WITHOUT_BATCHES);
                return;
            }
            Heard::Landed => {}
        }
        self.flights.remove(&batch);
    }

    /// Gives up on what was not answered in time.
    fn end_late(&mut self) {
        let silence = &self.silence;
        self.flights.retain(|_, flight| {
            let is_late = flight.sent_at.elapsed() >= TRY_TIMEOUT;
            if is_late {
                silence.unanswered(flight.sent_at);
                flight.end(|| Outcome::Silent);
            }
            !is_late
        });
    }
}
