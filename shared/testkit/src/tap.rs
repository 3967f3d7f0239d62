//! Hearing events as they are said.

use anyhow::{Result, bail};
use bytes::Bytes;
use futures::StreamExt as _;
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::timeout;
use windlass_core::{Event, JobId, QueueName, Transition};
use windlass_proto::v1;

use crate::broker::{Client, Servers};
use crate::process::PATIENCE;

/// Collects every event from its opening on, in the order of their arrival. What is said while its own connection is
/// lost it does not hear: see [`stored_events`].
pub struct Tap {
    events: watch::Receiver<Vec<Event>>,
    listening: tokio::task::JoinHandle<()>,
}

/// Every event that is stored, each as often as it was said.
pub async fn stored_events(client: &Client) -> Result<Vec<Event>> {
    let messages = client.messages("EVENTS").await?;
    Ok(messages.into_iter().flat_map(|(subject, body)| read(&subject, body)).collect())
}

/// Every event that is stored, read as it comes.
#[derive(Debug, Default)]
pub struct EventLog {
    next: u64,
    events: Vec<Event>,
}

/// The events of one message; none if it is something else.
fn read(subject: &str, body: Bytes) -> Vec<Event> {
    let queue: QueueName = subject.split('.').nth(2).and_then(|q| q.parse().ok()).unwrap_or_default();
    let Ok(batch) = v1::EventBatch::decode(body) else { return Vec::new() };
    batch.events.into_iter().filter_map(|e| e.into_domain(&queue).ok()).collect()
}

// === impl EventLog ===

impl EventLog {
    /// Reads what was stored since the last time; fails while the stream has no leader.
    pub async fn catch_up(&mut self, client: &Client) -> Result<&[Event]> {
        let (messages, next) = client.messages_from("EVENTS", self.next).await?;
        self.events.extend(messages.into_iter().flat_map(|(subject, body)| read(&subject, body)));
        self.next = next;
        Ok(&self.events)
    }

    /// What was read so far.
    pub fn events(&self) -> &[Event] {
        &self.events
    }
}

// === impl Tap ===

impl Tap {
    /// Listens with the rights of an administrator, who may hear everything.
    pub async fn open(broker: &impl Servers) -> Result<Self> {
        let client = Client::connect(broker.options("admin")).await?;
        let mut arriving = client.nats().subscribe("windlass.event.>").await?;
        let (heard, events) = watch::channel(Vec::new());
        let listening = tokio::spawn(async move {
            let _client = client;
            while let Some(message) = arriving.next().await {
                let events = read(&message.subject, message.payload);
                heard.send_modify(|all| all.extend(events));
            }
        });
        Ok(Self { events, listening })
    }

    /// Waits until what was heard satisfies this.
    pub async fn until(&self, what: &str, holds: impl Fn(&[Event]) -> bool) -> Result<Vec<Event>> {
        let mut events = self.events.clone();
        let Ok(waited) = timeout(PATIENCE, events.wait_for(|all| holds(all))).await else {
            bail!("not heard: {what}; heard: {:#?}", *self.events.borrow());
        };
        Ok(waited?.clone())
    }

    /// Waits for a transition of a job.
    pub async fn heard(&self, id: JobId, transition: Transition) -> Result<Event> {
        let of = |e: &&Event| e.job_id == id && e.transition == transition;
        let all = self.until(&format!("{transition} of {id}"), |all| all.iter().any(|e| of(&e))).await?;
        all.into_iter().find(|e| of(&e)).ok_or_else(|| anyhow::anyhow!("an event went away"))
    }

    /// What was heard of a job so far, each transition of an attempt once: its acceptance first. That is told by another
    /// service than the rest, and may be heard after the start, or even after the end; who compares waits for it.
    pub fn of(&self, id: JobId) -> Vec<(Transition, u32)> {
        let mut seen = Vec::new();
        for event in self.events.borrow().iter().filter(|e| e.job_id == id) {
            let transition = (event.transition, event.attempt);
            if !seen.contains(&transition) {
                seen.push(transition);
            }
        }
        seen.sort_by_key(|(transition, _)| *transition != Transition::Accepted);
        seen
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.listening.abort();
    }
}
