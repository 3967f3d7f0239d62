//! Publishes on their way on one connection, told apart by the last word of the subject that they are answered on.

use async_nats::{HeaderMap, Subscriber};
use bytes::Bytes;
use futures::StreamExt as _;

use crate::connect::{Broker, Error};
use crate::publish::{self, UNDECIDED};

/// One connection's publishes.
pub(super) struct Link {
    broker: Broker,
    inbox: String,
    answers: Subscriber,
    on_their_way: usize,
}

// === impl Link ===

impl Link {
    pub(super) async fn open(broker: &Broker) -> Result<Self, Error> {
        let inbox = broker.client().new_inbox();
        let answers = broker.client().subscribe(format!("{inbox}.*")).await.map_err(|_| Error::Closed)?;
        Ok(Self { broker: broker.clone(), inbox, answers, on_their_way: 0 })
    }

    pub(super) fn on_their_way(&self) -> usize {
        self.on_their_way
    }

    /// Publishes; the answer will name this number.
    pub(super) async fn publish(
        &mut self,
        number: u64,
        subject: String,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(), Error> {
        let reply = format!("{}.{number}", self.inbox);
        self.on_their_way += 1;
        let publishing = self.broker.client().publish_with_reply_and_headers(subject, reply, headers, body);
        publishing.await.map_err(|_| Error::Closed)
    }

    /// The next answer: which number, and whether it was stored. It was not where another write of the same job is not
    /// in force yet, on several servers; any other refusal is an error.
    pub(super) async fn answered(&mut self) -> Result<(u64, bool), Error> {
        let answer = self.answers.next().await.ok_or(Error::Closed)?;
        self.on_their_way -= 1;
        let subject = answer.subject.to_string();
        let stored = match publish::read(&answer.payload, || subject.clone()) {
            Ok(_) => true,
            Err(Error::Refused { code: UNDECIDED, .. }) => false,
            Err(error) => return Err(error),
        };
        let number = subject.rsplit('.').next().and_then(|word| word.parse().ok());
        number
            .map(|number| (number, stored))
            .ok_or(Error::Malformed { subject, reason: "is no answer of ours".to_owned() })
    }
}
